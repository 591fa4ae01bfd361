//! The program as a plugin of the `docker` command, when it is called `docker-shiplap`.
//!
//! Docker asks for `docker-cli-plugin-metadata`, and then runs the plugin with its own whole command line: `docker -D shiplap build .`
//! becomes `docker-shiplap -D shiplap build .`.

use std::ffi::OsString;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::{Path, PathBuf};

use tokio::io::AsyncReadExt;

/// What the file has to be called, in one of the folders where docker looks for plugins.
const FILE: &str = "docker-shiplap";
/// The word that the user types after `docker`.
const VERB: &str = "shiplap";
/// What docker calls the plugin with to learn what it is.
const METADATA: &str = "docker-cli-plugin-metadata";
/// The socket that docker closes when the plugin should end.
const SOCKET: &str = "DOCKER_CLI_PLUGIN_SOCKET";

/// Docker's own flags that take a value. Without them a value could be taken for the verb.
const LONG: [&str; 7] = ["config", "context", "host", "log-level", "tlscacert", "tlscert", "tlskey"];
const SHORT: [(char, &str); 3] = [('c', "context"), ('H', "host"), ('l', "log-level")];

/// What docker wants of its plugin.
#[derive(Debug, PartialEq, Eq)]
pub enum Call {
    /// To say what it is.
    Metadata,
    /// To run a command.
    Command {
        /// The words after `docker shiplap`.
        args: Vec<OsString>,
        docker: Docker,
    },
}

/// The docker that called, as far as it matters here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Docker {
    /// The folder of `docker --config`.
    pub config: Option<PathBuf>,
    /// The name of `docker --context`.
    pub context: Option<String>,
    /// The address of `docker --host`.
    pub host: Option<String>,
}

/// What docker wants, if it is docker who calls with these words, the program's name first.
pub fn call(words: &[OsString]) -> Option<Call> {
    let (program, words) = words.split_first()?;
    if Path::new(program).file_name()? != FILE {
        return None;
    }
    if words.first().is_some_and(|word| word == METADATA) {
        return Some(Call::Metadata);
    }
    let (mut docker, mut help) = (Docker::default(), false);
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        match word.to_str() {
            Some(VERB) => {
                let help = help.then(|| OsString::from("help"));
                return Some(Call::Command { args: help.into_iter().chain(rest.cloned()).collect(), docker });
            }
            // `docker help shiplap build` and `docker --help shiplap build`.
            Some("help" | "--help" | "-h") => help = true,
            Some(flag) if flag.starts_with('-') => {
                let (name, value) = split(flag);
                let value = match value {
                    Value::None => None,
                    Value::Attached(text) => Some(OsString::from(text)),
                    Value::Next => rest.next().cloned(),
                };
                let text = |value: Option<OsString>| value.map(|text| text.to_string_lossy().into_owned());
                match name {
                    "config" => docker.config = value.map(PathBuf::from),
                    "context" => docker.context = text(value),
                    "host" => docker.host = text(value),
                    _ => {}
                }
            }
            // Nobody's plugin: somebody typed the name of the file.
            _ => return None,
        }
    }
    None
}

enum Value<'a> {
    None,
    Attached(&'a str),
    Next,
}

/// A flag's name, and where its value is. Of short flags in one word (`-Dc name`) the first with a value counts.
fn split(flag: &str) -> (&str, Value<'_>) {
    if let Some(long) = flag.strip_prefix("--") {
        return match long.split_once('=') {
            Some((name, value)) => (name, Value::Attached(value)),
            None => (long, if LONG.contains(&long) { Value::Next } else { Value::None }),
        };
    }
    let Some((at, (_, name))) =
        flag.char_indices().find_map(|(at, c)| Some((at, *SHORT.iter().find(|(short, _)| *short == c)?)))
    else {
        return ("", Value::None);
    };
    match &flag[at + 1..] {
        "" => (name, Value::Next),
        value => (name, Value::Attached(value)),
    }
}

/// What docker lists in `docker help` and `docker info`.
pub fn metadata() -> serde_json::Value {
    serde_json::json!({
        "SchemaVersion": "0.1.0",
        "Vendor": "Shiplap",
        "Version": concat!("v", env!("CARGO_PKG_VERSION")),
        "ShortDescription": env!("CARGO_PKG_DESCRIPTION"),
        "URL": env!("CARGO_PKG_REPOSITORY"),
    })
}

impl Docker {
    /// Comes to an end when docker wants us to end. On a terminal Ctrl-C reaches us both; else docker, who gets the signal, closes
    /// its socket, as it does when it dies.
    pub async fn gone(&self) {
        if let Some(mut stream) = connect() {
            // Nothing is ever sent.
            while matches!(stream.read(&mut [0; 64]).await, Ok(read) if read > 0) {}
        } else {
            std::future::pending::<()>().await;
        }
    }
}

fn connect() -> Option<tokio::net::UnixStream> {
    let name = std::env::var_os(SOCKET)?;
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&name),
    };
    let stream = UnixStream::connect_addr(&address.ok()?).ok()?;
    stream.set_nonblocking(true).ok()?;
    tokio::net::UnixStream::from_std(stream).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Option<Call> {
        call(&line.split(' ').map(OsString::from).collect::<Vec<_>>())
    }

    /// The words that are left, and `--config`.
    fn left(line: &str) -> Option<(String, Option<String>)> {
        let Call::Command { args, docker } = called(line)? else { panic!("{line}: metadata") };
        let words: Vec<_> = args.into_iter().map(|word| word.into_string().unwrap()).collect();
        Some((words.join(" "), docker.config.map(|path| path.display().to_string())))
    }

    #[test]
    fn docker_passes_its_own_flags_first() {
        let plain = |line: &str| left(line).map(|(words, config)| (words, config.is_some()));
        let build = Some(("build .".to_owned(), false));
        for line in [
            "/x/docker-shiplap shiplap build .",
            "docker-shiplap -D shiplap build .",
            "docker-shiplap --context shiplap shiplap build .",
            "docker-shiplap --context=shiplap shiplap build .",
            "docker-shiplap -c shiplap --tls shiplap build .",
            "docker-shiplap -cshiplap -H tcp://x shiplap build .",
            "docker-shiplap -Dl debug --log-level info shiplap build .",
        ] {
            assert_eq!(plain(line), build, "{line}");
        }
        assert_eq!(left("docker-shiplap shiplap"), Some((String::new(), None)));
        // What follows is ours, whatever it looks like.
        assert_eq!(left("docker-shiplap shiplap shiplap -D"), Some(("shiplap -D".to_owned(), None)));
        for line in ["docker-shiplap --config /a shiplap images", "docker-shiplap --config=/a shiplap images"] {
            assert_eq!(left(line), Some(("images".to_owned(), Some("/a".to_owned()))), "{line}");
        }
    }

    #[test]
    fn the_engine_that_docker_talks_to_is_ours_too() {
        let engine = |line: &str| match called(line) {
            Some(Call::Command { docker, .. }) => (docker.context, docker.host),
            other => panic!("{line}: {other:?}"),
        };
        let (far, tcp) = (Some("far".to_owned()), Some("tcp://x".to_owned()));
        for line in ["--context far", "--context=far", "-c far", "-cfar", "-Dcfar"] {
            assert_eq!(engine(&format!("docker-shiplap {line} shiplap build .")), (far.clone(), None), "{line}");
        }
        for line in ["--host tcp://x", "-H tcp://x", "-Htcp://x"] {
            assert_eq!(engine(&format!("docker-shiplap {line} shiplap build .")), (None, tcp.clone()), "{line}");
        }
        assert_eq!(engine("docker-shiplap -l debug shiplap build ."), (None, None));
    }

    #[test]
    fn help_may_come_before_the_verb() {
        for line in ["docker-shiplap help shiplap build", "docker-shiplap --help shiplap build"] {
            assert_eq!(left(line), Some(("help build".to_owned(), None)), "{line}");
        }
    }

    #[test]
    fn only_a_file_of_that_name_is_a_plugin() {
        assert_eq!(called("docker-shiplap docker-cli-plugin-metadata"), Some(Call::Metadata));
        assert_eq!(called("shiplap docker-cli-plugin-metadata"), None);
        assert_eq!(called("shiplap shiplap build"), None);
        assert_eq!(called("docker-shiplap build ."), None);
        assert_eq!(called("docker-shiplap"), None);
    }
}
