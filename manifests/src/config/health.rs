//! `[instance.NAME.health]`: how a deploy and a rollback find out whether the site is well.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Age;

/// `[instance.NAME.health]`. One of `exec` and `http` says what is asked; it is asked again until it is well or the deadline has come.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Health {
    /// A program and its arguments, run in the folder of `shiplap.toml`: well is exit code 0.
    #[serde(default)]
    pub exec: Vec<String>,
    /// An address: well is an answer with the status and the text that are expected.
    pub http: Option<String>,
    /// The status that is expected. Left out: 200 to 299.
    pub expect_status: Option<u16>,
    /// A text that the answer must hold.
    pub expect_body: Option<String>,
    /// The pause between two tries. Left out: five seconds.
    pub interval: Option<Age>,
    /// How long to go on trying. Left out: two minutes.
    pub deadline: Option<Age>,
    /// How often to try at most. Left out: until the deadline.
    pub retries: Option<u32>,
    /// How long one try may take. Left out: ten seconds.
    pub timeout: Option<Age>,
    /// Whether any certificate is taken.
    #[serde(default)]
    pub insecure: bool,
    /// Certificates of authorities to trust too, in PEM, relative to the folder of `shiplap.toml`.
    pub ca: Option<PathBuf>,
}

impl Health {
    /// The pause between two tries.
    pub fn interval(&self) -> Duration {
        self.interval.map_or(Duration::from_secs(5), |age| age.0)
    }

    /// How long to go on.
    pub fn deadline(&self) -> Duration {
        self.deadline.map_or(Duration::from_secs(120), |age| age.0)
    }

    /// How long one try may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.map_or(Duration::from_secs(10), |age| age.0)
    }

    /// What makes no sense about it, if anything.
    pub(super) fn problem(&self) -> Option<&'static str> {
        let of_http = self.expect_status.is_some() || self.expect_body.is_some() || self.insecure || self.ca.is_some();
        match (&self.http, self.exec.is_empty()) {
            (None, true) => Some("it asks nothing: say `http = \"https://...\"` or `exec = [...]`"),
            (Some(_), false) => Some("it has `http` and `exec`: it is one or the other"),
            (None, false) if of_http => {
                Some("`expect-status`, `expect-body`, `insecure` and `ca` are for `http`, and it has `exec`")
            }
            (Some(url), _) if !url.starts_with("http://") && !url.starts_with("https://") => {
                Some("`http` is no address that begins with http:// or https://")
            }
            _ if self.retries == Some(0) => Some("`retries = 0` would never ask: leave it out, or use --no-health"),
            _ => None,
        }
    }
}
