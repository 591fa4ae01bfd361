//! `--engine`: a build in a container.

use std::path::{Path, PathBuf};

use super::Args;
use super::flags::BaseFrom;
use crate::failure::{Failure, Kind, Result};

/// Where the build happens.
#[derive(Debug, clap::Args)]
pub struct EngineFlags {
    /// Build in a container of an engine, which is sent what changed: docker, or docker=ADDRESS; docs/docker.md says what differs
    #[arg(long, value_name = "docker[=ADDRESS]")]
    engine: Option<String>,
    /// The program for that container, a static one, where the engine's machine is of another architecture [default: this program]
    #[arg(long, value_name = "FILE", requires = "engine")]
    engine_program: Option<PathBuf>,
}

impl Args {
    /// The engine to build in.
    pub fn engine(&self) -> Option<&str> {
        self.elsewhere.engine.as_deref()
    }

    /// The program to build with there.
    pub fn engine_program(&self) -> Option<&Path> {
        self.elsewhere.engine_program.as_deref()
    }

    /// Whether the build itself has to speak with an engine.
    pub fn uses_engine(&self) -> bool {
        self.outputs.uses_engine() || self.flags.base_from == BaseFrom::Engine
    }

    /// Refuses what a container cannot have of this machine.
    pub fn refuse_for_engine(&self) -> Result<()> {
        let is_stdin = |text: Option<&str>| text == Some("-");
        let stdin = is_stdin(self.what.as_deref()) || is_stdin(self.flags.file.as_deref().and_then(Path::to_str));
        let refused = match self.outputs.written_file()? {
            Some(flag) => Some((
                flag,
                "writes a file, and the container's files are its own: `--output ...,dest=-` writes to standard output",
            )),
            None if stdin => {
                Some(("-".to_owned(), "is standard input, which speaks with the container: name a folder"))
            }
            None if !self.flags.ssh.is_empty() => {
                Some(("--ssh".to_owned(), "is a socket of this machine, which the container does not see"))
            }
            None => None,
        };
        match refused {
            None => Ok(()),
            Some((what, why)) => {
                Err(Failure::new(Kind::Usage, format!("{what} does not go with --engine")).hint(format!("it {why}")))
            }
        }
    }
}
