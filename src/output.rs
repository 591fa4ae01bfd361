//! Results on standard output.

use std::io::Write;
use std::sync::OnceLock;

use serde::Serialize;

use crate::failure::Result;

/// Prints a result as JSON.
pub fn json(value: &impl Serialize) -> Result<()> {
    line(&serde_json::to_string_pretty(value)?);
    Ok(())
}

/// Prints a line. Nobody reading any more, as with `| head`, is no error.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    if let Err(error) = writeln!(out, "{text}").and_then(|()| out.flush())
        && error.kind() != std::io::ErrorKind::BrokenPipe
    {
        // The work is done; that its result was not told is said at the end.
        let _ = LOST.set(error.to_string());
    }
}

/// Why not all results could be printed, if so.
pub fn lost() -> Option<&'static str> {
    LOST.get().map(String::as_str)
}

static LOST: OnceLock<String> = OnceLock::new();

/// Text from an image for a terminal, in one line: what would move the cursor or end the line is replaced.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Bytes for people, in powers of 1000 as Docker has them.
pub fn size(bytes: u64) -> String {
    indicatif::DecimalBytes(bytes).to_string()
}

/// Milliseconds for people.
pub fn duration(millis: u64) -> String {
    let seconds = millis as f64 / 1000.0;
    match millis {
        0..60_000 => format!("{seconds:.1}s"),
        _ => format!("{}m{:02.0}s", millis / 60_000, seconds % 60.0),
    }
}
