//! What can be wrong with `shiplap.toml`.

use std::path::{Path, PathBuf};

use crate::names::InstanceName;

/// What is wrong with `shiplap.toml`, and where.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not TOML, or has a key or value that Shiplap does not know.
    #[error("{}:{line}:{column}: {message}{}", path.display(), suggestion.as_ref().map(|s| format!("; did you mean `{s}`?")).unwrap_or_default())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong.
        message: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// Each value is fine, but not together with the others.
    #[error("{}: {place}: {what}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The table.
        place: String,
        /// What is wrong and what to do.
        what: String,
    },
    /// No such instance.
    #[error("{} has no instance `{name}`{}", path.display(), others(known, suggestion.as_deref()))]
    UnknownInstance {
        /// The file.
        path: PathBuf,
        /// The name asked for.
        name: String,
        /// The instances that there are.
        known: Vec<InstanceName>,
        /// What was probably meant.
        suggestion: Option<String>,
    },
}

fn others(known: &[InstanceName], suggestion: Option<&str>) -> String {
    if known.is_empty() {
        return ": it names none; add [instance.NAME], or run `shiplap init`".to_owned();
    }
    let known: Vec<_> = known.iter().map(InstanceName::as_str).collect();
    let hint = suggestion.map(|s| format!("; did you mean `{s}`?")).unwrap_or_default();
    format!(": it has {}{hint}", known.join(", "))
}

impl ConfigError {
    /// Places an error of the TOML reader.
    pub(super) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let at = error.span().map_or(0, |span| span.start.min(text.len()));
        let before = text.get(..at).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |i| i + 1);
        Self::Syntax {
            path: path.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            suggestion: meant(error.message()),
            message: error.message().to_owned(),
        }
    }
}

/// What was meant by an unknown key: serde says "unknown field `x`, expected one of `a`, `b`".
fn meant(message: &str) -> Option<String> {
    let rest = message.strip_prefix("unknown field ").or_else(|| message.strip_prefix("unknown variant "))?;
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let given = quoted.next()?;
    suggest(given, quoted)
}

/// The known name that is nearest to `given`, if any is near.
pub fn suggest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    known
        .map(|name| (strsim::jaro_winkler(given, name), name))
        .filter(|(nearness, _)| *nearness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name.to_owned())
}
