//! The log of a server, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// The form of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// A line for people
    Text,
    /// A JSON object a line
    Json,
}

/// What we say, and what libraries find alarming.
const WHAT: &str = "warn,shiplap=info";

/// Begins to write it.
pub fn begin(format: LogFormat) {
    let log = tracing_subscriber::fmt().with_writer(std::io::stderr).with_env_filter(EnvFilter::new(WHAT));
    // One that is there already is as good.
    let _ = match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    };
}
