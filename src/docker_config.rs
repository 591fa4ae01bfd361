//! What Docker's `config.json` says of builds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::Deserialize;

use crate::failure::{Failure, Kind, Result};

#[derive(Debug, Default, Deserialize)]
struct ConfigFile {
    /// By the address of an engine; `default` is for all others, us among them.
    #[serde(default)]
    proxies: BTreeMap<String, Proxies>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Proxies {
    http_proxy: String,
    https_proxy: String,
    ftp_proxy: String,
    no_proxy: String,
    all_proxy: String,
}

/// The folder of `docker --config`, which goes before the environment.
static FOLDER: OnceLock<PathBuf> = OnceLock::new();

/// Takes the file from a folder that docker was told to take it from.
pub fn set_folder(folder: PathBuf) {
    let _ = FOLDER.set(folder);
}

/// `config.json`, in the folder that Docker takes too.
pub fn path() -> Option<PathBuf> {
    let folder = FOLDER.get().cloned().or_else(|| std::env::var_os("DOCKER_CONFIG").map(PathBuf::from));
    Some(folder.or_else(|| Some(dirs::home_dir()?.join(".docker")))?.join("config.json"))
}

/// Adds the proxies of the file to build arguments, as the `docker` command does: what is given goes first.
pub fn add_proxies(args: &mut BTreeMap<String, String>) -> Result<()> {
    let Some(path) = path() else { return Ok(()) };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(broken(&path, &e)),
    };
    let file: ConfigFile = serde_json::from_slice(&text).map_err(|e| broken(&path, &e))?;
    let Some(proxies) = file.proxies.get("default") else { return Ok(()) };
    for (name, value) in [
        ("HTTP_PROXY", &proxies.http_proxy),
        ("HTTPS_PROXY", &proxies.https_proxy),
        ("FTP_PROXY", &proxies.ftp_proxy),
        ("NO_PROXY", &proxies.no_proxy),
        ("ALL_PROXY", &proxies.all_proxy),
    ] {
        let given = args.keys().any(|given| given.eq_ignore_ascii_case(name));
        if !value.is_empty() && !given {
            args.insert(name.to_owned(), value.clone());
        }
    }
    Ok(())
}

fn broken(path: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::new(Kind::Usage, format!("cannot read the proxies for builds in {}: {why}", path.display()))
}
