//! An image as the store knows it: configuration and layers, packed or not.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use shiplap_cache::{Digest, ImageId, LayerId};

use crate::{Error, Platform, Result};

/// One line of an image's history (image-spec, config.md, *history*).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, as RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created: Option<String>,
    /// The instruction.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub created_by: Option<String>,
    /// Who.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub author: Option<String>,
    /// Anything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub comment: Option<String>,
    /// The instruction made no layer.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub empty_layer: bool,
}

/// An image, before or after it is packed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The config file of OCI and Docker, all of it, except `rootfs` and `history`.
    pub config: Map<String, Value>,
    /// What made it, oldest first.
    pub history: Vec<History>,
    /// Its layers, bottom first.
    pub layers: Vec<LayerId>,
}

impl Image {
    /// The image's name: BLAKE3 of all of it.
    pub fn id(&self) -> ImageId {
        ImageId::of(&self.to_bytes())
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let value = serde_json::to_value(self).unwrap_or_default();
        canonical(value)
    }

    /// What the image runs on.
    pub fn platform(&self) -> Option<Platform> {
        let text = |key: &str| self.config.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Platform { os: text("os")?, architecture: text("architecture")?, variant: text("variant") })
    }

    /// The config file of the packed image.
    pub(crate) fn config_file(&self, diff_ids: &[Digest]) -> Vec<u8> {
        let mut config = self.config.clone();
        let diff_ids: Vec<String> = diff_ids.iter().map(ToString::to_string).collect();
        config.insert("rootfs".into(), serde_json::json!({"type": "layers", "diff_ids": diff_ids}));
        if !self.history.is_empty() {
            config.insert("history".into(), serde_json::to_value(&self.history).unwrap_or_default());
        }
        canonical(Value::Object(config))
    }
}

/// A config file taken apart.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub config: Map<String, Value>,
    pub history: Vec<History>,
    pub diff_ids: Vec<Digest>,
}

impl ConfigFile {
    pub(crate) fn parse(bytes: &[u8], digest: Digest) -> Result<Self> {
        let bad = |why: String| Error::BadDocument { what: "config", digest, why };
        let mut config: Map<String, Value> = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        let rootfs = config.remove("rootfs").ok_or_else(|| bad("it has no `rootfs`; is it an image?".into()))?;
        let diff_ids = rootfs.get("diff_ids").cloned().unwrap_or(Value::Array(Vec::new()));
        // Docker writes `null` for lists without elements.
        let diff_ids: Option<Vec<Digest>> =
            serde_json::from_value(diff_ids).map_err(|e| bad(format!("diff_ids: {e}")))?;
        let history = config.remove("history").unwrap_or(Value::Null);
        let history: Option<Vec<History>> =
            serde_json::from_value(history).map_err(|e| bad(format!("history: {e}")))?;
        Ok(Self { config, history: history.unwrap_or_default(), diff_ids: diff_ids.unwrap_or_default() })
    }
}

/// JSON without blanks, keys sorted, whatever features `serde_json` was built with.
pub(crate) fn canonical(value: Value) -> Vec<u8> {
    fn sort(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let sorted: std::collections::BTreeMap<String, Value> = map.into_iter().collect();
                Value::Object(sorted.into_iter().map(|(k, v)| (k, sort(v))).collect())
            }
            Value::Array(items) => Value::Array(items.into_iter().map(sort).collect()),
            other => other,
        }
    }
    sort(value).to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_file_comes_back_with_every_field_that_nobody_here_knows() {
        let file = br#"{"zeta":{"b":1,"a":[true,null]},"architecture":"amd64","os":"linux","config":{"Env":["A=1"]},
            "rootfs":{"type":"layers","diff_ids":["sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]},
            "history":[{"created_by":"RUN x","empty_layer":true}]}"#;
        let read = ConfigFile::parse(file, Digest::of(file)).unwrap();
        let image = Image { config: read.config, history: read.history, layers: Vec::new() };
        let again: Value = serde_json::from_slice(&image.config_file(&read.diff_ids)).unwrap();
        assert_eq!(again, serde_json::from_slice::<Value>(file).unwrap());
        assert_eq!(image.platform().unwrap().to_string(), "linux/amd64");
    }

    #[test]
    fn the_order_of_keys_does_not_name_an_image() {
        let config = |text: &str| Image { config: serde_json::from_str(text).unwrap(), ..Image::default() }.id();
        assert_eq!(config(r#"{"a":1,"b":{"c":2,"d":3}}"#), config(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(config(r#"{"a":1}"#), config(r#"{"a":2}"#));
    }
}
