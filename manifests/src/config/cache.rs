//! `cache = [...]`: the tiers of the step cache.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Age, Size};
use crate::names::Repository;

/// What is written in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    r#type: String,
    r#ref: Option<Repository>,
    url: Option<String>,
    settings: Option<BTreeMap<String, String>>,
    path: Option<PathBuf>,
    read: Option<bool>,
    write: Option<bool>,
    #[serde(default)]
    mode: CacheMode,
    max_size: Option<Size>,
    keep: Option<Age>,
    mounts: Option<Size>,
}

/// A place that keeps what builds made, for other machines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct CacheTier {
    /// Where it is.
    #[serde(flatten)]
    pub place: CachePlace,
    /// Whether results are taken from it.
    pub read: bool,
    /// Whether it is told what builds learn. `SHIPLAP_CACHE_READ_ONLY` overrides it.
    pub write: bool,
    /// Which layers it gets.
    pub mode: CacheMode,
    /// How large it may be; above that, what was used longest ago is taken away. Left out: any size.
    pub max_size: Option<Size>,
    /// What nobody used for so long is taken away. Left out: 30 days. No less than 14 days.
    pub keep: Option<Age>,
    /// How large one `RUN --mount=type=cache` may be that travels; none do with `0B`. Left out: 1 GB.
    pub mounts: Option<Size>,
}

/// Where a tier is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum CachePlace {
    /// A repository of an OCI registry, `type = "registry"`.
    Registry {
        /// The repository.
        #[serde(rename = "ref")]
        repository: Repository,
    },
    /// An object store, `type = "object"`.
    Object {
        /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
        url: String,
        /// Settings that are no secrets, such as `aws_endpoint_url` and `aws_region`. Keys come from the environment.
        settings: BTreeMap<String, String>,
    },
    /// A directory, perhaps on a file system that machines share, `type = "local"`.
    Local {
        /// Relative to the file.
        path: PathBuf,
    },
}

impl CacheTier {
    /// A tier with nothing special about it.
    pub fn plain(place: CachePlace) -> Self {
        let (mode, max_size, keep, mounts) = (CacheMode::Max, None, None, None);
        Self { place, read: true, write: true, mode, max_size, keep, mounts }
    }
}

/// Settings whose values are secrets: they stand in no file.
const SECRETS: [&str; 6] = ["secret", "password", "token", "account_key", "service_account_key", "access_key_id"];

impl TryFrom<Written> for CacheTier {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let Written { r#type, r#ref, url, settings, path, read, write, mode, max_size, keep, mounts } = written;
        let needs = |key: &str| format!("a cache of type `{type}` needs `{key}`");
        let place = match (r#type.as_str(), &r#ref, &url, &settings, &path) {
            ("registry", _, None, None, None) => {
                CachePlace::Registry { repository: r#ref.ok_or_else(|| needs("ref"))? }
            }
            ("object", None, _, _, None) => {
                let settings = settings.unwrap_or_default();
                let is_secret = |key: &&String| SECRETS.iter().any(|word| key.to_lowercase().contains(word));
                if let Some(key) = settings.keys().find(is_secret) {
                    return Err(format!(
                        "`{key}` is a secret, and this file holds none: give it in the environment, as {}",
                        key.to_uppercase()
                    ));
                }
                CachePlace::Object { url: url.ok_or_else(|| needs("url"))?, settings }
            }
            ("local", None, None, None, _) => CachePlace::Local { path: path.ok_or_else(|| needs("path"))? },
            ("registry" | "object" | "local", ..) => {
                return Err("`ref` goes with type `registry`, `url` and `settings` with `object`, `path` with `local`"
                    .to_owned());
            }
            (other, ..) => return Err(format!("`{other}` is no type of cache: it is `registry`, `object` or `local`")),
        };
        let shortest = Age(std::time::Duration::from_secs(14 * 24 * 60 * 60));
        if keep.is_some_and(|keep| keep.0 < shortest.0) {
            return Err(
                "`keep` is 14d or more: a build tells a cache only every week that it still uses something".to_owned()
            );
        }
        let (read, write) = (read.unwrap_or(true), write.unwrap_or(true));
        Ok(Self { place, read, write, mode, max_size, keep, mounts })
    }
}

/// Which layers a tier gets; the words are those of `docker buildx build --cache-to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CacheMode {
    /// Those of every step.
    #[default]
    Max,
    /// Those of the final image.
    Min,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<CacheTier>, String> {
        #[derive(Deserialize)]
        struct File {
            cache: Vec<CacheTier>,
        }
        toml::from_str::<File>(text).map(|file| file.cache).map_err(|e| e.message().to_owned())
    }

    #[test]
    fn places_come_in_their_order() {
        let tiers = read(
            r#"cache = [
                { type = "local", path = "../shared" },
                { type = "registry", ref = "registry.example.com/openedx/cache", write = false, mode = "min", keep = "60d" },
                { type = "object", url = "s3://bucket/x", settings = { aws_region = "eu-central-1" }, max-size = "20GB", mounts = "0B" },
            ]"#,
        )
        .unwrap();
        assert_eq!(tiers[0], CacheTier::plain(CachePlace::Local { path: "../shared".into() }));
        assert!(!tiers[1].write && tiers[1].read && tiers[1].mode == CacheMode::Min);
        assert_eq!((tiers[2].max_size, tiers[2].mounts), (Some(Size(20_000_000_000)), Some(Size(0))));
    }

    #[test]
    fn what_cannot_be_is_said() {
        for (line, why) in [
            (r#"{ type = "registry" }"#, "needs `ref`"),
            (r#"{ type = "local", ref = "a/b" }"#, "`path` with `local`"),
            (r#"{ type = "gha" }"#, "no type of cache"),
            (r#"{ type = "local", path = "x", keep = "2d" }"#, "14d"),
            (r#"{ type = "local", path = "x", size = 3 }"#, "unknown field"),
            (
                r#"{ type = "object", url = "s3://b", settings = { aws_secret_access_key = "x" } }"#,
                "AWS_SECRET_ACCESS_KEY",
            ),
        ] {
            let error = read(&format!("cache = [{line}]")).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
