//! Errors as people meet them: what, where, what to do, and an exit code.

mod place;

use std::fmt;
use std::io::IsTerminal;
use std::process::ExitCode;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode, SourceSpan};
use shiplap_builder::build::{BuildError, StepError};
use shiplap_builder::dockerfile::DockerfileError;
use shiplap_builder::sandbox::{SandboxError, UserNamespaceError};

/// What the command's functions return.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What went wrong, as far as a script must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Failed = 1,
    Usage = 2,
    Refused = 3,
    Missing = 4,
    Network = 5,
    Store = 6,
    Unhealthy = 7,
    Cancelled = 130,
}

impl Kind {
    /// The word for it in a table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "wrong",
            Self::Refused => "refused",
            Self::Missing => "missing",
            Self::Network => "network",
            Self::Store => "store",
            Self::Unhealthy => "not well",
            Self::Cancelled => "cancelled",
        }
    }
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

    /// What went wrong, as far as a script must know.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What to do, if that is known.
    pub fn advice(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The beginning of its message, for a line of a table.
    pub fn in_short(&self) -> String {
        const MOST: usize = 90;
        let line = self.0.message.lines().next().unwrap_or_default();
        match line.char_indices().nth(MOST) {
            Some((end, _)) => format!("{}...", &line[..end]),
            None => line.to_owned(),
        }
    }

    /// Whether it says what to do.
    pub fn has_hint(&self) -> bool {
        self.0.hint.is_some()
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
        let hint = disk_advice(kind, &message);
        let mut failure = Self::new(kind, message);
        failure.0.hint = hint.map(str::to_owned);
        failure
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
            // Digests and names are copied from messages: they are not broken, and logs have no width.
            let width = std::io::stderr().is_terminal();
            let handler = move || miette::MietteHandlerOpts::new().wrap_lines(width).break_words(false).build();
            // It fails where a hook is set already, which is then as good.
            let _ = miette::set_hook(Box::new(move |_| Box::new(handler())));
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
        match error {
            E::WrongDigest { expected, .. } => failure.hint(damaged_blob(&expected)),
            _ => failure,
        }
    }
}

/// What to do about a blob whose bytes are others.
fn damaged_blob(digest: &shiplap_cache::Digest) -> String {
    format!(
        "remove blobs/sha256/{} from the store: the next release, build or pull that needs it makes it anew",
        digest.hex()
    )
}

impl From<shiplap_registry::Error> for Failure {
    fn from(error: shiplap_registry::Error) -> Self {
        use shiplap_registry::Error as E;
        let kind = match error {
            E::Store(error) => return error.into(),
            E::Remote(_) | E::Auth(_) => Kind::Network,
            E::TagExists { .. } | E::NameTaken { .. } => Kind::Refused,
            E::NoImage(_) => Kind::Missing,
            E::NotWhole { .. } | E::DamagedLayer { .. } => Kind::Store,
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
        let failure = Self::of(crate::names::kind_of(&error), &error);
        match crate::names::advice(&error) {
            Some(advice) => failure.hint(advice),
            None => failure,
        }
    }
}

impl From<shiplap_manifests::config::ConfigError> for Failure {
    fn from(error: shiplap_manifests::config::ConfigError) -> Self {
        use shiplap_manifests::config::ConfigError as E;
        let kind =
            if matches!(error, E::UnknownInstance { .. } | E::Read { .. }) { Kind::Missing } else { Kind::Usage };
        Self::of(kind, &error)
    }
}

impl From<UserNamespaceError> for Failure {
    fn from(error: UserNamespaceError) -> Self {
        Self::of(Kind::Failed, &error).hint("`shiplap doctor` says what this machine lacks; `shiplap build --engine docker` builds in a container of an engine")
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::of(Kind::Failed, &error)
    }
}

/// What to do about a disk that is full. Such an error comes out of files, archives, SQLite and sandboxes, each with its own type;
/// the system's words for it are the same in all.
fn disk_advice(kind: Kind, message: &str) -> Option<&'static str> {
    let full = ["No space left on device", "Disk quota exceeded", "database or disk is full"];
    if kind == Kind::Network {
        return None;
    }
    if full.iter().any(|words| message.contains(words)) {
        return Some(
            "the disk is full: free some space, or set SHIPLAP_HOME to a folder on another disk; nothing is lost",
        );
    }
    // SQLite says so when there is no room for its shared memory.
    message.contains("disk I/O error").then_some("is the disk full, or failing?")
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
        BuildError::Dockerfile(DockerfileError::Option { message, hint }) => {
            let failure = Failure::new(Kind::Usage, message);
            match hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        BuildError::Dockerfile(DockerfileError::Checks { message, .. }) => Failure::new(Kind::Failed, message)
            .hint("the warnings say what to change; `# check=error=true` in the Dockerfile makes them errors"),
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
        BuildError::Image { image, why } => {
            let mut failure = match why.downcast::<shiplap_registry::Error>() {
                Ok(error) => Failure::from(*error),
                Err(why) => Failure::new(Kind::Failed, why.to_string()),
            };
            failure.0.message = format!("cannot get the image {image}: {failure}");
            let failure = place::of_image(failure, &image, &name, text);
            match failure.kind() {
                Kind::Network if !failure.has_hint() => {
                    failure.hint("an image that the container engine has is taken from there with --base-from engine")
                }
                _ => failure,
            }
        }
        BuildError::Fetch(error) => Failure::of(Kind::Network, &error),
        BuildError::Read { path, source } if path == dockerfile && source.kind() == std::io::ErrorKind::NotFound => {
            Failure::new(Kind::Missing, format!("there is no Dockerfile {name}"))
                .hint("--file names another; for an instance `dockerfile` in shiplap.toml does")
        }
        error @ (BuildError::Read { .. } | BuildError::Context(_)) => Failure::of(Kind::Missing, &error),
        error => Failure::of(Kind::Usage, &error),
    }
}

fn step_failure(why: &StepError) -> (Kind, &'static str, Option<String>) {
    match why {
        StepError::Exit { .. } | StepError::NotStarted { .. } => (Kind::Failed, "this step failed", None),
        StepError::Missing { .. } => (Kind::Usage, "nothing to copy", None),
        StepError::Fetch(_) => (Kind::Network, "not fetched", None),
        StepError::Sandbox(SandboxError::Cancelled) => (Kind::Cancelled, "cancelled", None),
        // The parts of a step's user are looked up when its sandbox is set up.
        StepError::Sandbox(SandboxError::SetUp { action, .. }) if action.starts_with("looking up USER") => {
            (Kind::Usage, "this step is wrong", None)
        }
        StepError::Sandbox(_)
        | StepError::Store(_)
        | StepError::Layout(_)
        | StepError::Io { .. }
        | StepError::Archive { .. } => (Kind::Failed, "this step failed", None),
        _ => (Kind::Usage, "this step is wrong", None),
    }
}
