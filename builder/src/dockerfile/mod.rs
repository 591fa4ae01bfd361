//! From the text of a Dockerfile to a [`Plan`](crate::plan::Plan), with the semantics of BuildKit's Dockerfile frontend.
//!
//! Three phases: [`parse`] looks at the text alone; [`Dockerfile::resolve`] finds which stages the target needs and
//! which images those start from; [`Graph::lower`] expands every variable, for which it needs the configuration of those
//! images (their `ENV` is in scope). Nothing here reads files, the network or the environment.

mod args;
mod directives;
mod error;
mod expand;
mod flags;
pub(crate) mod git;
mod heredoc;
mod history;
mod instruction;
mod lex;
mod lines;
mod lower;
mod mount;
pub(crate) mod path;
mod pattern;
mod ports;
mod resolve;
mod rules;
pub(crate) mod units;
mod warn;
mod words;

use directives::Directives;
use instruction::{From, Instruction, Node};

pub use error::{DockerfileError, Located};
#[doc(hidden)]
pub use expand::fuzz_expansion;
pub use resolve::{BuildOptions, Graph, ImageUse};
pub use rules::Rule;

use crate::plan::{Location, Warning};
use error::Fault;

/// A Dockerfile that has been read, with nothing expanded yet.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    name: String,
    lines: Vec<String>,
    directives: Directives,
    args: Vec<Node>,
    stages: Vec<StageNode>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Clone)]
struct StageNode {
    from: From,
    /// `FROM`, as written.
    keyword: String,
    /// What the comment above it says of it.
    description: Option<String>,
    at: Location,
    body: Vec<Node>,
}

/// A stage that a build can have as its target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its name; none has to be the last one to be built.
    pub name: Option<String>,
    /// Whether it is built where no target is given.
    pub default: bool,
    /// The comment above it that begins with its name, without that.
    pub description: Option<String>,
    /// What it starts from, as written.
    pub base: String,
    /// `--platform`, as written.
    pub platform: Option<String>,
    /// Where it is.
    pub at: Location,
}

/// Reads a Dockerfile; `name` is for messages.
pub fn parse(name: &str, text: &str) -> Result<Dockerfile, DockerfileError> {
    let mut file = Dockerfile {
        name: name.to_owned(),
        lines: text.lines().map(str::to_owned).collect(),
        directives: Directives::default(),
        args: Vec::new(),
        stages: Vec::new(),
        warnings: Vec::new(),
    };
    let (raws, escape) = lines::read(text).map_err(|(line, fault)| file.locate(line, fault))?;
    file.directives = directives::read(text).map_err(|(line, fault)| file.locate(line, fault))?;
    warn::lines(&mut file.warnings, &raws);
    for raw in &raws {
        let node = instruction::parse(raw, escape).map_err(|fault| file.locate(raw.at.line_start, fault))?;
        warn::instruction(&mut file.warnings, raw, &node);
        match (node.instruction, file.stages.last_mut()) {
            (Instruction::From(from), _) => {
                file.stages.push(StageNode {
                    description: described(raw, from.name.as_deref()),
                    from,
                    keyword: node.keyword,
                    at: node.at,
                    body: Vec::new(),
                });
            }
            (instruction, Some(stage)) => stage.body.push(Node { instruction, ..node }),
            (instruction @ Instruction::Arg(_), None) => file.args.push(Node { instruction, ..node }),
            (_, None) => {
                let fault = Fault::new("no build stage yet").hint("put FROM before it; only ARG may come earlier");
                return Err(file.locate(raw.at.line_start, fault));
            }
        }
    }
    if file.stages.is_empty() {
        let fault = Fault::new("the Dockerfile has no FROM").hint("begin with FROM and an image, or FROM scratch");
        return Err(file.locate(file.lines.len().max(1), fault));
    }
    warn::stages(&mut file.warnings, &file.stages);
    Ok(file)
}

/// `# name what it is`
fn described(raw: &lines::Raw, name: Option<&str>) -> Option<String> {
    let name = format!("{} ", name?);
    raw.comments.iter().find_map(|comment| comment.strip_prefix(&name)).map(str::to_owned)
}

impl Dockerfile {
    /// The names of the stages in order, for `--target`; those without a name are left out.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.from.name.as_deref())
    }

    /// The stages, for a person who asks which there are.
    pub fn targets(&self) -> Vec<Target> {
        let last = self.stages.len() - 1;
        let target = |(index, stage): (usize, &StageNode)| Target {
            name: stage.from.name.clone(),
            default: index == last,
            description: stage.description.clone(),
            base: stage.from.base.clone(),
            platform: stage.from.platform.clone(),
            at: stage.at,
        };
        self.stages.iter().enumerate().map(target).collect()
    }

    fn locate(&self, line: usize, fault: Fault) -> DockerfileError {
        Box::new(Located {
            file: self.name.clone(),
            line,
            text: self.lines.get(line.saturating_sub(1)).map_or(String::new(), |l| l.trim().to_owned()),
            message: fault.message,
            hint: fault.hint,
        })
        .into()
    }
}
