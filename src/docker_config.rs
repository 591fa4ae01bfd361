//! What Docker's `config.json` says of builds and of engines.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::OnceLock;

use serde::Deserialize;

use crate::failure::{Failure, Kind, Result};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConfigFile {
    /// By the address of an engine; `default` is for all others, us among them.
    proxies: BTreeMap<String, Proxies>,
    /// The context that `docker context use` chose.
    current_context: String,
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
    let file = read("the proxies for builds")?;
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

/// The context that is in use, if one was chosen.
pub fn current_context() -> Result<Option<String>> {
    let file = read("the context of the engine")?;
    Ok(Some(file.current_context).filter(|name| !name.is_empty()))
}

/// Reads the file; without one, nothing is set.
fn read(what: &str) -> Result<ConfigFile> {
    let Some(path) = path() else { return Ok(ConfigFile::default()) };
    let broken = |why: &dyn std::fmt::Display| {
        Failure::new(Kind::Usage, format!("cannot read {what} in {}: {why}", path.display()))
    };
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|e| broken(&e)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(ConfigFile::default()),
        Err(e) => Err(broken(&e)),
    }
}
