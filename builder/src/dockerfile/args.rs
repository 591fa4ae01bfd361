//! Arguments that exist without being declared.

use std::collections::BTreeMap;

use crate::plan::{Env, Platform};

const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// The platform arguments of the global scope.
pub(crate) fn platform_args(target: &Platform, build: &Platform, stage: &str, given: &BTreeMap<String, String>) -> Env {
    let mut env = Env::default();
    for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
        env.set(format!("{prefix}PLATFORM"), platform.to_string());
        env.set(format!("{prefix}OS"), platform.os.clone());
        env.set(format!("{prefix}OSVERSION"), "");
        env.set(format!("{prefix}ARCH"), platform.arch.clone());
        env.set(format!("{prefix}VARIANT"), platform.variant.clone().unwrap_or_default());
    }
    env.set("TARGETSTAGE", if stage.is_empty() { "default" } else { stage });
    let names: Vec<String> = env.iter().map(|(name, _)| name.to_owned()).collect();
    for name in names {
        if let Some(value) = given.get(&name) {
            env.set(name, value.clone());
        }
    }
    env
}

/// The proxy settings among the build arguments, in both spellings as BuildKit's executor sets them.
pub(crate) fn proxies(given: &BTreeMap<String, String>) -> Env {
    let mut env = Env::default();
    for name in PROXIES {
        let value =
            given.iter().filter(|(k, v)| k.eq_ignore_ascii_case(name) && !v.is_empty()).map(|(_, v)| v).next_back();
        if let Some(value) = value {
            env.set(name, value.clone());
            env.set(name.to_lowercase(), value.clone());
        }
    }
    env
}

/// Whether BuildKit keeps an argument to itself: steps and variables do not see it.
pub(crate) fn is_hidden(name: &str) -> bool {
    matches!(name, "BUILDKIT_SBOM_SCAN_CONTEXT" | "BUILDKIT_SBOM_SCAN_STAGE")
}

/// Whether an argument needs no `ARG` to be of use.
pub(crate) fn is_predefined(name: &str) -> bool {
    PROXIES.iter().any(|p| p.eq_ignore_ascii_case(name)) || name.starts_with("BUILDKIT_") || name == "SOURCE_DATE_EPOCH"
}
