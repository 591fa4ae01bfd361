use std::fmt;

use crate::plan::{ImageRef, Warning};

/// Why a Dockerfile cannot be read or planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerfileError {
    /// Something in the file.
    #[error(transparent)]
    Located(#[from] Box<Located>),
    /// Something in the options of the build.
    #[error("{message}{}", hint_line(.hint))]
    Option {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// `# check=error=true` is set, and there are findings.
    #[error("{message}")]
    Checks {
        /// Which checks found something.
        message: String,
        /// What they found.
        warnings: Vec<Warning>,
    },
    /// [`lower`](super::Graph::lower) needs the configuration of these images: get them and call it again.
    #[error("the configuration of {} is needed to plan the build", list(.0))]
    MissingImages(Vec<ImageRef>),
}

/// An error with its place in the Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The name of the Dockerfile.
    pub file: String,
    /// The line, counted from one.
    pub line: usize,
    /// The text of that line.
    pub text: String,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

impl fmt::Display for Located {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}\n  | {}{}", self.file, self.line, self.message, self.text, hint_line(&self.hint))
    }
}

impl std::error::Error for Located {}

fn hint_line(hint: &Option<String>) -> String {
    hint.as_ref().map_or_else(String::new, |hint| format!("\nhint: {hint}"))
}

fn list(images: &[ImageRef]) -> String {
    let names: Vec<String> = images.iter().map(ImageRef::to_string).collect();
    names.join(", ")
}

/// An error that does not know its place yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Fault {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Fault { message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds "did you mean" when one of `known` is close to `word`.
    pub(crate) fn suggest<'a>(self, word: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        match closest(word, known) {
            Some(near) => self.hint(format!("did you mean {near}?")),
            None => self,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.message, hint_line(&self.hint))
    }
}

/// The known word that differs from `word` in at most a third of its letters.
pub(crate) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = word.to_lowercase();
    known
        .into_iter()
        .map(|k| (strsim::osa_distance(&wanted, &k.to_lowercase()), k))
        .filter(|(distance, k)| *distance <= (k.len().max(3) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
