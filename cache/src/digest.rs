//! Names for content.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// A digest that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a digest: expected {1} lower-case hexadecimal characters")]
pub struct ParseDigestError(String, &'static str);

/// A SHA-256 digest as OCI writes it, `sha256:<64 hex>` (image-spec, descriptor.md, *Digests*).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha2::Sha256::digest(bytes).into())
    }

    /// A digest from its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 64 hexadecimal characters, without `sha256:`.
    pub fn hex(&self) -> String {
        hex::encode(self.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let bad = || ParseDigestError(s.to_owned(), "`sha256:` and 64");
        // The grammar wants lower case: two spellings of one digest would be two names.
        let digits = s.strip_prefix("sha256:").ok_or_else(bad)?;
        parse_hex(digits).map(Self).ok_or_else(bad)
    }
}

impl TryFrom<String> for Digest {
    type Error = ParseDigestError;

    fn try_from(s: String) -> Result<Self, Self::Error> {
        s.parse()
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

fn parse_hex(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || digits.bytes().any(|b| b.is_ascii_uppercase()) {
        return None;
    }
    let mut bytes = [0; 32];
    hex::decode_to_slice(digits, &mut bytes).ok()?;
    Some(bytes)
}

macro_rules! blake3_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The name of some bytes.
            pub fn of(bytes: &[u8]) -> Self {
                Self(*blake3::hash(bytes).as_bytes())
            }

            /// A name from its 32 bytes.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// All 64 hexadecimal characters.
            pub fn hex(&self) -> String {
                hex::encode(self.0)
            }

            /// The first 12 hexadecimal characters, for people.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..6])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(s: &str) -> Result<Self, Self::Err> {
                parse_hex(s).map(Self).ok_or_else(|| ParseDigestError(s.to_owned(), "64"))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

blake3_id!(
    /// BLAKE3 of a regular file's bytes.
    ContentHash
);
blake3_id!(
    /// BLAKE3 of a layer's index without its times: what a layer *is*. Two runs of a step that leave the same
    /// files have the same layer, whenever they ran.
    LayerId
);
blake3_id!(
    /// A stack of layers, as a chain: BLAKE3 of the tree below and the layer on top.
    TreeId
);
blake3_id!(
    /// BLAKE3 of a step with everything that can change its result except its parent (BuildXL's weak
    /// fingerprint).
    StepKey
);
blake3_id!(
    /// BLAKE3 of a step key and the value of each of its observations (BuildXL's strong fingerprint).
    InputKey
);
blake3_id!(
    /// BLAKE3 of a path set.
    PathSetId
);
blake3_id!(
    /// A built image before it is packed: BLAKE3 of its configuration and its layers.
    ImageId
);

impl TreeId {
    /// The empty tree, `FROM scratch`.
    pub fn empty() -> Self {
        Self::of(b"shiplap.tree/1")
    }

    /// This tree with one more layer on top.
    pub fn with(self, layer: LayerId) -> Self {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.0);
        bytes[32..].copy_from_slice(layer.as_bytes());
        Self::of(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_reads_back_what_it_wrote() {
        let digest = Digest::of(b"shiplap");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&digest).unwrap()).unwrap(), digest);
    }

    #[test]
    fn a_digest_in_upper_case_or_cut_short_is_refused() {
        let text = Digest::of(b"x").to_string();
        for bad in [text.to_uppercase(), text.replace("sha256:", "SHA256:"), text[..70].to_owned(), String::new()] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_order_of_layers_makes_another_tree() {
        let (a, b) = (LayerId::of(b"a"), LayerId::of(b"b"));
        assert_ne!(TreeId::empty().with(a).with(b), TreeId::empty().with(b).with(a));
    }
}
