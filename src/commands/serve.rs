//! `shiplap serve`

mod flags;
mod log;
mod token;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;

use shiplap_registry::front::{Front, FrontError, raise_file_limit};
use shiplap_registry::server::Server;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use self::flags::Flags;
use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;

/// Serve the store as a registry, for docker, containerd, skopeo and all the others
///
/// What was released or pushed here can be pulled, and what is pushed is kept beside it. Tags of releases, and those that --immutable names, never
/// move. On loopback it asks nobody who they are. On any other address it needs a certificate (--tls-cert, --tls-key), or --behind-proxy where a proxy
/// has one, and users (--htpasswd, --tokens), and does not start without.
///
/// When it answers it prints `ready URL` on standard output; --listen 127.0.0.1:0 takes a port that is free. The log goes to standard error, a line a
/// request. It ends on SIGTERM or Ctrl-C when the requests that run are done. Passwords, grants, tokens and certificates are read again when
/// their files change, or on SIGHUP. docs/registry.md is about running it for a team.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Action>,
    #[command(flatten)]
    flags: Flags,
}

/// What else there is to do.
#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Tokens that last, for CI servers: what they log in with instead of a password
    #[command(subcommand)]
    Token(token::Action),
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    match &args.command {
        Some(Action::Token(action)) => token::run(app, action),
        None => serve(app, &args.flags).await,
    }
}

async fn serve(app: &App, flags: &Flags) -> Result<ExitCode> {
    flags.check()?;
    raise_file_limit();
    let images = app.images_as_service()?;
    let home = images.store().home().to_owned();
    let server = Server::new(images, flags.server()?);
    log::begin(flags.log_format);
    let front = Front::new(server, flags.front())?;
    let (listener, address) = bind(flags.listen, "--listen").await?;
    let metrics = match flags.metrics_listen {
        Some(address) => Some(bind(address, "--metrics-listen").await?),
        None => None,
    };
    let mut hangups = signal(SignalKind::hangup()).map_err(|e| Failure::of(Kind::Failed, &e))?;
    let told = front.clone();
    let refresher = tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let front = told.clone();
            let _ = tokio::task::spawn_blocking(move || front.refresh()).await;
        }
    });
    let url = flags.url.clone().unwrap_or_else(|| format!("{}://{address}", flags.scheme()));
    let metrics_url = metrics.as_ref().map(|(_, address)| format!("http://{address}/metrics"));
    if app.has_words {
        eprintln!("serving {} at {url}", home.display());
        flags.protections().iter().for_each(|line| eprintln!("  {line}"));
        metrics_url.iter().for_each(|url| eprintln!("  metrics at {url}"));
    }
    if app.global.json {
        let ready = serde_json::json!({
            "ready": url, "address": address, "store": home, "tls": flags.has_tls(), "login": flags.has_login(),
            "anonymous_pull": flags.anonymous_pull, "metrics": metrics_url,
        });
        // In one line, for whoever reads lines from a pipe.
        output::line(&ready.to_string());
    } else {
        output::line(&format!("ready {url}"));
    }
    let metrics = metrics.map(|(listener, _)| {
        let (front, ending) = (front.clone(), app.ending());
        tokio::spawn(async move { front.serve_metrics(listener, ending).await })
    });
    let cut = front.serve(listener, app.ending()).await;
    refresher.abort();
    if let Some(metrics) = metrics {
        metrics.abort();
    }
    match cut {
        0 => tracing::info!("stopped, all requests done"),
        cut => tracing::warn!("stopped, {cut} connections cut off that were not done in time: --drain gives them more"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn bind(address: SocketAddr, flag: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await;
    let bound = listener.and_then(|listener| listener.local_addr().map(|address| (listener, address)));
    bound.map_err(|error| {
        let failure = Failure::new(Kind::Failed, format!("cannot listen on {address}: {error}"));
        match error.kind() {
            ErrorKind::AddrInUse => failure.hint(format!(
                "another program listens there, perhaps another `shiplap serve`; {flag} takes another port, and 0 any that is free"
            )),
            ErrorKind::PermissionDenied => {
                failure.hint(format!("ports below 1024 are root's; {flag} takes another, or systemd gives CAP_NET_BIND_SERVICE"))
            }
            ErrorKind::AddrNotAvailable => failure.hint("this machine has no such address; 0.0.0.0 and [::] are all that it has"),
            _ => failure,
        }
    })
}

impl From<FrontError> for Failure {
    fn from(error: FrontError) -> Self {
        let kind = match error {
            FrontError::TokenExists(_) => Kind::Refused,
            FrontError::NoToken(_) => Kind::Missing,
            FrontError::Random => Kind::Failed,
            FrontError::Io { .. } | FrontError::Line { .. } | FrontError::File { .. } | FrontError::TokenName(_) => {
                Kind::Usage
            }
        };
        Self::of(kind, &error)
    }
}
