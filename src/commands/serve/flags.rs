//! The flags of `shiplap serve`, and what they come to.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use shiplap_manifests::config::{Age, Size};
use shiplap_registry::front::{FrontOptions, Limits, LoginOptions, TlsFiles};
use shiplap_registry::server::{Immutable, ServerOptions};

use super::log::LogFormat;
use crate::failure::{Failure, Kind, Result};

#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Where to listen
    #[arg(long, env = "SHIPLAP_SERVE_LISTEN", value_name = "ADDRESS:PORT", default_value = "127.0.0.1:5000", value_parser = address)]
    pub listen: SocketAddr,
    /// Tags that never move, besides those of releases: REPOSITORY:TAG with `*`, which fits no `/`, and `**`, which does, as in 'campus/*:v*'
    #[arg(long, env = "SHIPLAP_SERVE_IMMUTABLE", value_name = "PATTERN", value_delimiter = ' ')]
    immutable: Vec<String>,
    /// Let tags that never move be deleted, by who may delete
    #[arg(long, env = "SHIPLAP_SERVE_DELETE_IMMUTABLE")]
    delete_immutable: bool,

    /// Users and the bcrypt hashes of their passwords, as `htpasswd -B` writes them
    #[arg(long, env = "SHIPLAP_SERVE_HTPASSWD", value_name = "FILE", help_heading = "Who is let in")]
    htpasswd: Option<PathBuf>,
    /// Let in who has a token of `shiplap serve token create`; with --htpasswd that is so anyway
    #[arg(long, env = "SHIPLAP_SERVE_TOKENS", help_heading = "Who is let in")]
    tokens: bool,
    /// What users may do, in TOML [default: all pull and push, nobody deletes]
    #[arg(long, env = "SHIPLAP_SERVE_ACCESS", value_name = "FILE", help_heading = "Who is let in")]
    access: Option<PathBuf>,
    /// Let anybody read
    #[arg(long, env = "SHIPLAP_SERVE_ANONYMOUS_PULL", help_heading = "Who is let in")]
    pub anonymous_pull: bool,

    /// The certificate, and those between it and its authority, in PEM
    #[arg(long, env = "SHIPLAP_SERVE_TLS_CERT", value_name = "FILE", requires = "tls_key", help_heading = "TLS")]
    tls_cert: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, env = "SHIPLAP_SERVE_TLS_KEY", value_name = "FILE", requires = "tls_cert", help_heading = "TLS")]
    tls_key: Option<PathBuf>,
    /// A proxy stands before it that has the certificate and says in X-Forwarded-For and X-Forwarded-Proto whom it speaks for; nobody else
    /// may reach the port
    #[arg(long, env = "SHIPLAP_SERVE_BEHIND_PROXY", help_heading = "TLS")]
    behind_proxy: bool,
    /// How clients call it, as in https://registry.example.org [default: as they do]
    #[arg(long, env = "SHIPLAP_SERVE_URL", value_name = "URL", value_parser = url, help_heading = "TLS")]
    pub url: Option<String>,

    /// Open connections; more wait
    #[arg(long, env = "SHIPLAP_SERVE_MAX_CONNECTIONS", value_name = "NUMBER", default_value_t = 512, value_parser = at_least_one, help_heading = "Limits")]
    max_connections: usize,
    /// Requests at once; more wait 15 seconds and are told to come back
    #[arg(long, env = "SHIPLAP_SERVE_MAX_REQUESTS", value_name = "NUMBER", default_value_t = 256, value_parser = at_least_one, help_heading = "Limits")]
    max_requests: usize,
    /// Open uploads
    #[arg(long, env = "SHIPLAP_SERVE_MAX_UPLOADS", value_name = "NUMBER", default_value_t = 256, value_parser = at_least_one, help_heading = "Limits")]
    max_uploads: usize,
    /// The largest blob
    #[arg(long, env = "SHIPLAP_SERVE_MAX_BLOB", value_name = "SIZE", default_value = "64GB", help_heading = "Limits")]
    max_blob: Size,
    /// After how long without a byte an upload is forgotten
    #[arg(
        long,
        env = "SHIPLAP_SERVE_UPLOAD_EXPIRY",
        value_name = "TIME",
        default_value = "1h",
        help_heading = "Limits"
    )]
    upload_expiry: Age,
    /// How long the headers of a request may take, and a connection of HTTP/1.1 may do nothing
    #[arg(
        long,
        env = "SHIPLAP_SERVE_HEADER_TIMEOUT",
        value_name = "TIME",
        default_value = "30s",
        help_heading = "Limits"
    )]
    header_timeout: Age,
    /// How long a client may keep a body waiting, in all; each kilobyte that moves gives a second back
    #[arg(
        long,
        env = "SHIPLAP_SERVE_BODY_TIMEOUT",
        value_name = "TIME",
        default_value = "60s",
        help_heading = "Limits"
    )]
    body_timeout: Age,
    /// How long requests that run may go on after SIGTERM
    #[arg(long, env = "SHIPLAP_SERVE_DRAIN", value_name = "TIME", default_value = "30s", help_heading = "Limits")]
    drain: Age,

    /// Answer /metrics here, without TLS and login, and nowhere else [default: where everything is, to who may list the repositories]
    #[arg(long, env = "SHIPLAP_SERVE_METRICS_LISTEN", value_name = "ADDRESS:PORT", value_parser = address, help_heading = "Watching it")]
    pub metrics_listen: Option<SocketAddr>,
    /// The form of the log
    #[arg(
        long,
        env = "SHIPLAP_SERVE_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Watching it"
    )]
    pub log_format: LogFormat,
}

impl Flags {
    /// Refuses what would be open to everybody, or would do something else than it says.
    pub fn check(&self) -> Result<()> {
        let wrong = |message: &str, hint: &str| Err(Failure::new(Kind::Usage, message).hint(hint));
        for (flag, time) in [("--header-timeout", self.header_timeout), ("--body-timeout", self.body_timeout)] {
            if time.0.is_zero() {
                return wrong(&format!("{flag} 0s leaves nobody the time to say anything"), "as in 30s or 2m");
            }
        }
        if self.access.is_some() && self.htpasswd.is_none() {
            return wrong(
                "--access says what users may do, and there are none",
                "name their passwords with --htpasswd; what a token may do is said when it is made",
            );
        }
        if self.anonymous_pull && !self.has_login() {
            return wrong(
                "--anonymous-pull lets anybody read, and here anybody may do everything",
                "say who may write with --htpasswd or --tokens",
            );
        }
        let far = !self.listen.ip().is_loopback();
        let whence = if far {
            format!("{} can be reached from other machines", self.listen)
        } else {
            "a proxy lets others in".to_owned()
        };
        if far && !self.has_tls() && !self.behind_proxy {
            return Err(Failure::new(Kind::Refused, format!("{whence}, and passwords would travel for all to read"))
                .hint("give a certificate with --tls-cert and --tls-key, or say --behind-proxy if a proxy has one; on 127.0.0.1 neither is needed"));
        }
        if (far || self.behind_proxy) && !self.has_login() {
            return Err(Failure::new(Kind::Refused, format!("{whence}, and anybody could push and delete"))
                .hint("say who is let in: with --htpasswd FILE (made by `htpasswd -Bc FILE USER`), with --tokens, or with both"));
        }
        Ok(())
    }

    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    pub fn has_login(&self) -> bool {
        self.htpasswd.is_some() || self.tokens
    }

    pub fn scheme(&self) -> &'static str {
        if self.has_tls() { "https" } else { "http" }
    }

    /// What the registry itself is told.
    pub fn server(&self) -> Result<ServerOptions> {
        let patterns = self.immutable.iter().map(String::as_str);
        Ok(ServerOptions {
            immutable: Immutable::new(patterns).map_err(|e| Failure::of(Kind::Usage, &e))?,
            delete_immutable: self.delete_immutable,
            max_uploads: self.max_uploads,
            upload_expiry: self.upload_expiry.0,
            max_blob: self.max_blob.0,
        })
    }

    /// What stands before it.
    pub fn front(&self) -> FrontOptions {
        let login = self.has_login().then(|| LoginOptions {
            htpasswd: self.htpasswd.clone(),
            access: self.access.clone(),
            anonymous_pull: self.anonymous_pull,
        });
        let files = self.tls_cert.clone().zip(self.tls_key.clone());
        FrontOptions {
            login,
            tls: files.map(|(certificate, key)| TlsFiles { certificate, key }),
            behind_proxy: self.behind_proxy,
            url: self.url.clone(),
            metrics_apart: self.metrics_listen.is_some(),
            limits: Limits {
                connections: self.max_connections,
                requests: self.max_requests,
                header: self.header_timeout.0,
                patience: self.body_timeout.0,
                drain: self.drain.0,
                ..Limits::default()
            },
        }
    }

    /// For people: what protects it.
    pub fn protections(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.push(match (self.has_tls(), self.behind_proxy) {
            (true, _) => "TLS: yes".to_owned(),
            (false, true) => "TLS: by the proxy; nobody else may reach this port".to_owned(),
            (false, false) => "TLS: no; only this machine reaches it".to_owned(),
        });
        let mut who = match (&self.htpasswd, self.has_login()) {
            (_, false) => "everybody may do everything".to_owned(),
            (Some(file), true) => format!("users of {}, and tokens", file.display()),
            (None, true) => "tokens".to_owned(),
        };
        if self.anonymous_pull {
            who.push_str("; anybody reads");
        }
        lines.push(format!("login: {who}"));
        let patterns =
            if self.immutable.is_empty() { String::new() } else { format!(", {}", self.immutable.join(", ")) };
        lines.push(format!("tags that never move: those of releases{patterns}"));
        lines
    }
}

fn address(text: &str) -> std::result::Result<SocketAddr, String> {
    if let Some(port) = text.strip_prefix("localhost:") {
        let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse().map_err(|_| "write an address and a port, as in 127.0.0.1:5000, 0.0.0.0:443 or [::]:443".to_owned())
}

fn url(text: &str) -> std::result::Result<String, String> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let plain =
        |host: &str| !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    match host {
        Some(host) if plain(host) => Ok(text.to_owned()),
        _ => Err("write it as https://registry.example.org, without a path: registries have none".to_owned()),
    }
}

fn at_least_one(text: &str) -> std::result::Result<usize, String> {
    // More than the semaphores of tokio count is no bound anyway.
    let number = text.parse().ok().filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| "expected a number from 1 to 1000000".to_owned())
}
