//! Tutor, as far as it is installed here: its program, its folders, and what it says about the images of a project.

pub mod answer;
pub mod plugin;

use std::ffi::OsStr;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::{Failure, Kind, Result};

/// What its own Python is asked.
const ASK: &str = include_str!("tutor/ask.py");

/// The installed program.
#[derive(Debug, Clone)]
pub struct Tutor {
    program: PathBuf,
}

impl Tutor {
    /// The one that was named, else the one in `PATH`.
    pub fn find(named: Option<&Path>) -> Result<Option<Self>> {
        if let Some(program) = named {
            if !program.is_file() {
                let why = format!("there is no program {}", program.display());
                return Err(Failure::new(Kind::Missing, why).hint("--tutor names the program `tutor`"));
            }
            return Ok(Some(Self { program: program.to_owned() }));
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join("tutor")).find(|program| program.is_file());
        Ok(found.map(|program| Self { program }))
    }

    /// Runs it and gives what it prints.
    pub fn run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Result<String> {
        let mut command = Command::new(&self.program);
        output(command.args(args), "tutor")
    }

    /// Runs it with another folder of plugins.
    pub fn run_with_plugins<A: AsRef<OsStr>>(
        &self,
        folder: &Path,
        args: impl IntoIterator<Item = A>,
    ) -> Result<String> {
        let mut command = Command::new(&self.program);
        output(command.args(args).env("TUTOR_PLUGINS_ROOT", folder), "tutor")
    }

    /// Where plugins that are one file are.
    pub fn plugins_root(&self) -> Result<PathBuf> {
        self.run(["plugins", "printroot"]).map(PathBuf::from)
    }

    /// The images of a project, and how Tutor builds them. None where Tutor has no Python that could be asked: it comes as one
    /// binary too.
    pub fn ask(&self, root: &Path) -> Result<Option<answer::Answer>> {
        let Some(mut python) = self.python() else { return Ok(None) };
        let text = output(python.arg("-c").arg(ASK).arg(root), "Tutor's Python")?;
        serde_json::from_str(&text).map(Some).map_err(|e| {
            Failure::new(Kind::Failed, format!("Tutor's Python gave an answer that cannot be read: {e}"))
                .hint("--no-tutor does without it")
        })
    }

    /// The tag of an image, as `tutor images printtag` says it.
    pub fn tag(&self, root: &Path, image: &str) -> Option<String> {
        let words = ["--root".as_ref(), root.as_os_str(), "images".as_ref(), "printtag".as_ref(), image.as_ref()];
        self.run(words).ok().filter(|tag| !tag.is_empty())
    }

    /// The interpreter that the script names in its first line.
    fn python(&self) -> Option<Command> {
        let mut head = Vec::new();
        std::fs::File::open(&self.program).ok()?.take(1024).read_to_end(&mut head).ok()?;
        let words = interpreter(&String::from_utf8_lossy(&head))?;
        let (program, args) = words.split_first()?;
        let mut command = Command::new(program);
        command.args(args);
        Some(command)
    }
}

/// The Python of a script: behind `#!`, or in the second line where pip and pipx had a path that is too long for the first one or has a
/// blank in it (`distlib/scripts.py`).
fn interpreter(head: &str) -> Option<Vec<String>> {
    let mut lines = head.lines();
    let first = lines.next()?.strip_prefix("#!")?.trim();
    let line = if first == "/bin/sh" { lines.next()?.strip_prefix("'''exec' ")? } else { first };
    let words: Vec<String> = match line.strip_prefix('"') {
        Some(quoted) => vec![quoted.split('"').next()?.to_owned()],
        None if first == "/bin/sh" => vec![line.split(' ').next()?.to_owned()],
        None => line.split_whitespace().map(str::to_owned).collect(),
    };
    words.iter().any(|word| word.contains("python")).then_some(words)
}

/// The root of the project: the one that was named, else Tutor's own answer, else its variable, else its default.
pub fn root(named: Option<&Path>, tutor: Option<&Tutor>) -> Option<PathBuf> {
    if let Some(root) = named {
        return Some(root.to_owned());
    }
    let printed = tutor.and_then(|tutor| tutor.run(["config", "printroot"]).ok()).filter(|root| !root.is_empty());
    printed
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("TUTOR_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from))
        .or_else(|| Some(dirs::data_dir()?.join("tutor")))
}

/// Runs a program that must end well.
fn output(command: &mut Command, name: &str) -> Result<String> {
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|e| Failure::new(Kind::Failed, format!("cannot run {name}: {e}")))?;
    if ran.status.success() {
        return Ok(String::from_utf8_lossy(&ran.stdout).trim().to_owned());
    }
    // Its last words; a traceback says more than anybody wants to know.
    let said = String::from_utf8_lossy(&ran.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    Err(Failure::new(Kind::Failed, format!("{name} ended with {}: {}", ran.status, last.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_python_of_a_script_is_found() {
        let words = |head: &str| interpreter(head).unwrap_or_default().join("|");
        assert_eq!(words("#!/venv/bin/python3.11\nimport x\n"), "/venv/bin/python3.11");
        assert_eq!(words("#!/usr/bin/env python3\n"), "/usr/bin/env|python3");
        assert_eq!(words("#!/bin/sh\n'''exec' \"/my venv/bin/python\" \"$0\" \"$@\"\n' '''\n"), "/my venv/bin/python");
        assert_eq!(words("#!/bin/sh\n'''exec' /long/bin/python \"$0\" \"$@\"\n' '''\n"), "/long/bin/python");
        for other in ["\u{7f}ELF", "#!/bin/sh\nexec docker run tutor\n", ""] {
            assert_eq!(interpreter(other), None, "{other}");
        }
    }
}
