//! What somebody worked out of an image and does not want to work out again. It goes with the image.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use shiplap_cache::{Digest, ImageId};

use crate::{Images, Result};

/// The space. A name is [`Of`] and what it is about; the value is compressed, and Base64 because names stand for text.
pub(crate) const KEPT: &str = "worked-out";

/// zstd's own choice: these are written once, while somebody waits.
const LEVEL: i32 = 3;

/// What something was worked out of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    /// An image as the store knows it.
    Image(ImageId),
    /// A packed image.
    Manifest(Digest),
}

impl Of {
    fn name(&self, about: &str) -> String {
        match self {
            Self::Image(id) => format!("image/{}/{about}", id.hex()),
            Self::Manifest(digest) => format!("manifest/{}/{about}", digest.hex()),
        }
    }

    /// What a name is of.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (kind, rest) = name.split_once('/')?;
        let hex = rest.split_once('/')?.0;
        match kind {
            "image" => hex.parse().ok().map(Self::Image),
            "manifest" => format!("sha256:{hex}").parse().ok().map(Self::Manifest),
            _ => None,
        }
    }
}

impl Images {
    /// What was kept; none if there is nothing, or nothing that can be read.
    ///
    /// # Errors
    /// The database fails.
    pub fn worked_out(&self, of: &Of, about: &str) -> Result<Option<Vec<u8>>> {
        let text = self.store().name(KEPT, &of.name(about))?;
        let packed = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
        Ok(packed.and_then(|packed| zstd::decode_all(packed.as_slice()).ok()))
    }

    /// Keeps bytes as long as what they were worked out of is here. What was kept before under this name goes.
    ///
    /// # Errors
    /// The database fails.
    pub fn keep_worked_out(&self, of: &Of, about: &str, bytes: &[u8]) -> Result<()> {
        // Of bytes in memory this cannot fail; if it did, they would be worked out again the next time.
        let Ok(packed) = zstd::encode_all(bytes, LEVEL) else { return Ok(()) };
        Ok(self.store().set_name(KEPT, &of.name(about), &BASE64_STANDARD.encode(packed))?)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shiplap_cache::Store;

    use super::*;

    #[test]
    fn what_is_kept_comes_back_and_what_is_damaged_is_nothing() {
        let home = tempfile::tempdir().unwrap();
        let images = Images::new(Arc::new(Store::open(home.path()).unwrap()));
        for of in [Of::Image(ImageId::of(b"x")), Of::Manifest(Digest::of(b"x"))] {
            assert_eq!(Of::of_name(&of.name("all")), Some(of));
            assert_eq!(images.worked_out(&of, "all").unwrap(), None);
            images.keep_worked_out(&of, "all", b"bytes").unwrap();
            images.keep_worked_out(&of, "else", b"others").unwrap();
            assert_eq!(images.worked_out(&of, "all").unwrap().as_deref(), Some(&b"bytes"[..]));
            images.store().set_name(KEPT, &of.name("all"), "no Base64!").unwrap();
            assert_eq!(images.worked_out(&of, "all").unwrap(), None);
        }
    }
}
