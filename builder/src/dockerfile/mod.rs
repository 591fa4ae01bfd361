//! From the text of a Dockerfile to a [`Plan`](crate::plan::Plan), with the semantics of BuildKit's Dockerfile frontend.
//!
//! Three phases: [`parse`] looks at the text alone; [`Dockerfile::resolve`] finds which stages the target needs and
//! which images those start from; [`Graph::lower`] expands every variable, for which it needs the configuration of those
//! images (their `ENV` is in scope). Nothing here reads files, the network or the environment.

mod args;
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
pub(crate) mod units;
mod warn;
mod words;

use instruction::{From, Instruction, Node};

pub use error::{DockerfileError, Located};
pub use resolve::{BuildOptions, Graph, ImageUse};

use crate::plan::{Location, Warning};
use error::Fault;

/// A Dockerfile that has been read, with nothing expanded yet.
#[derive(Debug, Clone)]
pub struct Dockerfile {
    name: String,
    lines: Vec<String>,
    escape: char,
    args: Vec<Node>,
    stages: Vec<StageNode>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Clone)]
struct StageNode {
    from: From,
    at: Location,
    body: Vec<Node>,
}

/// Reads a Dockerfile; `name` is for messages.
pub fn parse(name: &str, text: &str) -> Result<Dockerfile, DockerfileError> {
    let mut file = Dockerfile {
        name: name.to_owned(),
        lines: text.lines().map(str::to_owned).collect(),
        escape: '\\',
        args: Vec::new(),
        stages: Vec::new(),
        warnings: Vec::new(),
    };
    let (raws, escape) = lines::read(text).map_err(|(line, fault)| file.locate(line, fault))?;
    file.escape = escape;
    for raw in &raws {
        let node = instruction::parse(raw, escape).map_err(|fault| file.locate(raw.at.line_start, fault))?;
        warn::instruction(&mut file.warnings, raw, &node);
        match (node.instruction, file.stages.last_mut()) {
            (Instruction::From(from), _) => file.stages.push(StageNode { from, at: node.at, body: Vec::new() }),
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
    warn::stages(&mut file);
    Ok(file)
}

impl Dockerfile {
    /// The names of the stages in order, for `--target`; those without a name are left out.
    pub fn stage_names(&self) -> impl Iterator<Item = &str> {
        self.stages.iter().filter_map(|stage| stage.from.name.as_deref())
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
