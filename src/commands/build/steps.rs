//! What steps find around them: agents, hosts, sizes and limits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use shiplap_builder::plan::ByteSize;
use shiplap_builder::sandbox::Ulimit;

use super::fields::words;
use super::flags::wrong;
use crate::failure::{Failure, Kind, Result};

/// Docker's word for the address of the machine that builds.
const HOST_GATEWAY: &str = "host-gateway";

/// `--ssh`: agent sockets by id.
pub fn agents(given: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    let mut agents = BTreeMap::new();
    for text in given {
        let (id, paths) = text.split_once('=').unwrap_or((text.as_str(), ""));
        let sockets: Vec<&str> = paths.split(',').filter(|path| !path.is_empty()).collect();
        let socket = match sockets.as_slice() {
            [] => {
                PathBuf::from(std::env::var_os("SSH_AUTH_SOCK").filter(|path| !path.is_empty()).ok_or_else(|| {
                    Failure::new(Kind::Missing, format!("--ssh {text}: SSH_AUTH_SOCK is not set"))
                        .hint("start an agent: `eval $(ssh-agent)`, then `ssh-add`")
                })?)
            }
            [one] => PathBuf::from(one),
            [first, ..] => return Err(no_socket(text, Path::new(first))),
        };
        let found = std::fs::metadata(&socket)
            .map_err(|e| Failure::new(Kind::Missing, format!("--ssh {text}: cannot use {}: {e}", socket.display())))?;
        if !found.file_type().is_socket() {
            return Err(no_socket(text, &socket));
        }
        // A step is set up in another folder.
        let socket = std::path::absolute(&socket)
            .map_err(|e| Failure::new(Kind::Failed, format!("--ssh {text}: {}: {e}", socket.display())))?;
        agents.insert(id.to_owned(), socket);
    }
    Ok(agents)
}

fn no_socket(text: &str, path: &Path) -> Failure {
    let path = path.display();
    Failure::new(Kind::Usage, format!("--ssh {text}: {path} is not the socket of an agent, and keys are not read here"))
        .hint(format!("give the key to an agent: `eval $(ssh-agent)`, `ssh-add {path}`, then `--ssh default`"))
}

/// `--add-host`: names and addresses.
pub fn hosts(given: &[String]) -> Result<Vec<(String, String)>> {
    let mut hosts = Vec::new();
    for text in given {
        for entry in words("--add-host", text)? {
            hosts.push(host(&entry).ok_or_else(|| wrong("--add-host", &entry, "NAME=ADDRESS, an IP address"))?);
        }
    }
    Ok(hosts)
}

fn host(entry: &str) -> Option<(String, String)> {
    // The older form has a colon, and the address may have more of them.
    let (name, address) = entry.split_once('=').or_else(|| entry.split_once(':'))?;
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let address = match bare {
        // Steps are on the network of this machine, so it is at their own loopback address.
        HOST_GATEWAY => "127.0.0.1".to_owned(),
        _ => bare.parse::<IpAddr>().ok().map(|_| bare.to_owned())?,
    };
    (!name.is_empty()).then(|| (name.to_owned(), address))
}

/// `--shm-size`.
pub fn shm_size(text: &str) -> Result<u64> {
    let size: ByteSize = text.parse().map_err(|_| wrong("--shm-size", text, "a size, as in 64m"))?;
    Ok(size.0)
}

/// `--ulimit`: of limits of one name the last counts.
pub fn ulimits(given: &[Ulimit]) -> Vec<Ulimit> {
    let by_name: BTreeMap<&str, &Ulimit> = given.iter().map(|limit| (limit.name.as_str(), limit)).collect();
    by_name.into_values().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_in_every_form() {
        let given = ["a:1.2.3.4", "b=::1", "c:[fe80::1]", "d=[1.2.3.4]", "e:host-gateway", "f=1.1.1.1,g=2.2.2.2"];
        let hosts = hosts(&given.map(str::to_owned)).unwrap();
        let hosts: Vec<_> = hosts.iter().map(|(name, address)| (name.as_str(), address.as_str())).collect();
        let expected = [
            ("a", "1.2.3.4"),
            ("b", "::1"),
            ("c", "fe80::1"),
            ("d", "1.2.3.4"),
            ("e", "127.0.0.1"),
            ("f", "1.1.1.1"),
            ("g", "2.2.2.2"),
        ];
        assert_eq!(hosts, expected);
        for text in ["a", "a:", ":1.2.3.4", "a:b", "a=1.2.3", "a=[::1"] {
            assert!(super::hosts(&[text.to_owned()]).is_err(), "{text}");
        }
    }

    #[test]
    fn the_last_limit_of_a_name_counts() {
        let given: Vec<Ulimit> = ["nofile=1", "core=0", "nofile=2:3"].map(|text| text.parse().unwrap()).into();
        let limits = ulimits(&given);
        let limits: Vec<_> = limits.iter().map(|limit| (limit.name.as_str(), limit.soft, limit.hard)).collect();
        assert_eq!(limits, [("core", Some(0), Some(0)), ("nofile", Some(2), Some(3))]);
    }
}
