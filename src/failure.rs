//! Errors as people meet them: what, where, what to do, and an exit code.

use std::fmt;
use std::process::ExitCode;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use shiplap_builder::build::{BuildError, StepError};
use shiplap_builder::dockerfile::DockerfileError;
use shiplap_builder::sandbox::{SandboxError, UserNamespaceError};

/// What the command's functions return.
pub type Result<T> = std::result::Result<T, Failure>;

/// What went wrong, as far as a script must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed = 1,
    Usage = 2,
    Refused = 3,
    Missing = 4,
    Network = 5,
    Store = 6,
    Cancelled = 130,
}

/// An error on its way to a person.
#[derive(Debug)]
pub struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    message: String,
    hint: Option<String>,
    source: Option<(NamedSource<String>, SourceSpan, String)>,
}

impl Failure {
    /// A failure with a message.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, message: message.into(), hint: None, source: None }))
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// A failure that says all that an error and its causes say.
    pub fn of(kind: Kind, error: &dyn std::error::Error) -> Self {
        let mut message = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            // Some errors repeat their cause.
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            next = cause.source();
        }
        Self::new(kind, message)
    }

    /// Shows lines of a file with a remark on them.
    #[must_use]
    pub fn at(mut self, name: &str, text: &str, lines: (usize, usize), remark: &str) -> Self {
        let mut start = 0;
        let mut length = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if number + 1 < lines.0 {
                start += line.len();
            } else if number < lines.1 {
                length += line.len();
            }
        }
        let length = text.get(start..start + length).map_or(0, |t| t.trim_end().len());
        let source = NamedSource::new(name, text.to_owned()).with_language("Dockerfile");
        self.0.source = Some((source, (start, length).into(), remark.to_owned()));
        self
    }

    /// Shows the error and gives the exit code.
    pub fn report(self) -> ExitCode {
        let code = self.0.kind as u8;
        if self.0.kind == Kind::Cancelled {
            eprintln!("cancelled");
        } else {
            eprintln!("{:?}", miette::Report::new(self));
        }
        ExitCode::from(code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Failure {}

impl Diagnostic for Failure {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.0.hint.as_ref().map(|hint| Box::new(hint) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.0.source.as_ref().map(|(source, _, _)| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let (_, span, remark) = self.0.source.as_ref()?;
        Some(Box::new(std::iter::once(LabeledSpan::new_with_span(Some(remark.clone()), *span))))
    }
}

impl From<shiplap_cache::Error> for Failure {
    fn from(error: shiplap_cache::Error) -> Self {
        use shiplap_cache::Error as E;
        let kind = match &error {
            E::NewerStore { .. } | E::OtherPrivilege { .. } | E::Database { .. } | E::DamagedIndex { .. } => {
                Kind::Store
            }
            E::MissingBlob(_) | E::MissingLayer(_) | E::WrongDigest { .. } | E::Record(_) => Kind::Store,
            _ => Kind::Failed,
        };
        let failure = Self::of(kind, &error);
        match &error {
            E::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => failure.hint(
                "the disk is full: free some space, or set SHIPLAP_HOME to a folder on another disk; nothing is lost",
            ),
            _ => failure,
        }
    }
}

impl From<shiplap_registry::Error> for Failure {
    fn from(error: shiplap_registry::Error) -> Self {
        use shiplap_registry::Error as E;
        let kind = match error {
            E::Store(error) => return error.into(),
            E::Remote(_) | E::Auth(_) => Kind::Network,
            E::TagExists { .. } | E::NameTaken { .. } => Kind::Refused,
            E::NoImage(_) => Kind::Missing,
            E::NotWhole { .. } => Kind::Store,
            E::BadTag { .. } => Kind::Usage,
            _ => Kind::Failed,
        };
        Self::of(kind, &error)
    }
}

impl From<shiplap_registry::ReferenceError> for Failure {
    fn from(error: shiplap_registry::ReferenceError) -> Self {
        Self::of(Kind::Usage, &error)
    }
}

impl From<shiplap_manifests::Error> for Failure {
    fn from(error: shiplap_manifests::Error) -> Self {
        let kind = crate::names::kind_of(&error);
        Self::of(kind, &error)
    }
}

impl From<shiplap_manifests::config::ConfigError> for Failure {
    fn from(error: shiplap_manifests::config::ConfigError) -> Self {
        use shiplap_manifests::config::ConfigError as E;
        let kind = if matches!(error, E::UnknownInstance { .. }) { Kind::Missing } else { Kind::Usage };
        Self::of(kind, &error)
    }
}

impl From<UserNamespaceError> for Failure {
    fn from(error: UserNamespaceError) -> Self {
        Self::of(Kind::Failed, &error).hint("`shiplap doctor` says what this machine lacks")
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::of(Kind::Failed, &error)
    }
}

/// A build's error, shown at its place in the Dockerfile.
pub fn build_failure(error: BuildError, dockerfile: &std::path::Path, text: &str) -> Failure {
    let name = dockerfile.display().to_string();
    match error {
        BuildError::Dockerfile(DockerfileError::Located(located)) => {
            let failure = Failure::new(Kind::Usage, located.message.clone());
            let failure = match located.hint.clone() {
                Some(hint) => failure.hint(hint),
                None => failure,
            };
            failure.at(&name, text, (located.line, located.line), "here")
        }
        BuildError::Dockerfile(other) => Failure::of(Kind::Usage, &other),
        BuildError::Step { at, why, stage, text: step } => {
            let (kind, remark, hint) = step_failure(&why);
            let mut failure = Failure::of(kind, &why);
            if let Some(hint) = hint {
                failure = failure.hint(hint);
            }
            if at.line_start == 0 {
                return Failure::new(kind, format!("{step} of stage {stage}: {why}"));
            }
            failure.at(&name, text, (at.line_start, at.line_end), &format!("{remark} in stage {stage}"))
        }
        BuildError::Store(error) => error.into(),
        BuildError::Cancelled => Failure::new(Kind::Cancelled, "cancelled"),
        BuildError::Image { image, why } => match why.downcast::<shiplap_registry::Error>() {
            Ok(error) => {
                let failure = Failure::from(*error);
                Failure::new(failure.0.kind, format!("cannot get the image {image}: {failure}"))
            }
            Err(why) => Failure::new(Kind::Failed, format!("cannot get the image {image}: {why}")),
        },
        BuildError::Fetch(error) => Failure::of(Kind::Network, &error),
        error @ BuildError::Read { .. } => Failure::of(Kind::Missing, &error),
        error => Failure::of(Kind::Usage, &error),
    }
}

fn step_failure(why: &StepError) -> (Kind, &'static str, Option<String>) {
    match why {
        StepError::Exit { .. } | StepError::NotStarted { .. } => (Kind::Failed, "this step failed", None),
        StepError::Missing { .. } => (Kind::Usage, "nothing to copy", None),
        StepError::Fetch(_) => (Kind::Network, "not fetched", None),
        StepError::Sandbox(SandboxError::Cancelled) => (Kind::Cancelled, "cancelled", None),
        StepError::Store(shiplap_cache::Error::Io { source, .. })
            if source.kind() == std::io::ErrorKind::StorageFull =>
        {
            (
                Kind::Failed,
                "this step failed",
                Some("the disk is full: free some space, or set SHIPLAP_HOME to a folder on another disk".into()),
            )
        }
        StepError::Sandbox(_)
        | StepError::Store(_)
        | StepError::Layout(_)
        | StepError::Io { .. }
        | StepError::Archive { .. } => (Kind::Failed, "this step failed", None),
        _ => (Kind::Usage, "this step is wrong", None),
    }
}
