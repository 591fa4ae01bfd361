use super::State;
use crate::dockerfile::error::Fault;
use crate::dockerfile::instruction::{CommandLine, Run};
use crate::dockerfile::{heredoc, history, mount};
use crate::plan::{InlineFile, Location, MountKind, Op, RunOp};

/// Where a here-document with a `#!` line is shown to the step.
const PIPES: &str = "/dev/pipes";

impl State<'_> {
    pub(super) fn run(&mut self, run: &Run, at: Location) -> Result<(Op, Option<String>), Fault> {
        let cwd = self.cwd();
        let given = self.graph.options.build_args.get("BUILDKIT_CACHE_MOUNT_NS");
        let cache_space = given.filter(|space| !space.is_empty()).cloned();
        let mut mounts = Vec::new();
        for text in &run.mounts {
            let number = self.ssh_mounts;
            // `locate` reads the graph while `expand` holds the variables: resolve names first.
            let from = mount::from(text)?.map(|name| self.locate(&name, false)).transpose()?;
            let mut parsed = self.expand(at, |scope| {
                let located = |_: &str| from.clone().ok_or_else(|| Fault::new("from= of the mount is empty"));
                mount::parse(text, &cwd, number, &mut |value| scope.word(value), &located)
            })?;
            self.ssh_mounts += usize::from(matches!(parsed.kind, MountKind::Ssh { .. }));
            if let (MountKind::Cache { id, .. }, Some(space)) = (&mut parsed.kind, &cache_space) {
                *id = format!("{space}/{id}");
            }
            mounts.push(parsed);
        }
        self.ssh_mounts = 0;
        let (argv, inline_files) = self.command(run)?;
        let created_by = history::run(&argv, &self.build_args, &self.env);
        let mut proxy = crate::plan::Env::default();
        for (name, value) in self.proxy.iter().filter(|(name, _)| self.env.get(name).is_none()) {
            proxy.set(name, value);
        }
        let op = RunOp {
            argv,
            inline_files,
            env: self.env.clone(),
            proxy,
            user: self.user(),
            cwd,
            mounts,
            network: run.network,
        };
        Ok((Op::Run(op), Some(created_by)))
    }

    /// The program and its arguments. BuildKit reads here-documents in three ways (`dispatchRun`): alone and with `#!`, a
    /// file that is run; alone, the text of the shell command; among other words, given back to the shell as they stand.
    fn command(&self, run: &Run) -> Result<(Vec<String>, Vec<InlineFile>), Fault> {
        let line = match &run.command {
            CommandLine::Exec(argv) => return Ok((argv.clone(), Vec::new())),
            CommandLine::Shell(line) => line,
        };
        let alone = heredoc::parse_word(line)?.is_some();
        match run.heredocs.as_slice() {
            [doc] if alone => {
                let data = doc.text();
                if !data.starts_with("#!") {
                    return Ok((self.shell(&data), Vec::new()));
                }
                let file = InlineFile { name: doc.name.clone(), data };
                Ok((self.shell(&format!("{PIPES}/{}", doc.name)), vec![file]))
            }
            docs => {
                let mut text = line.clone();
                for doc in docs {
                    text = format!("{text}\n{}{}", doc.data, doc.name);
                }
                Ok((self.shell(&text), Vec::new()))
            }
        }
    }

    /// The shell in force with a command.
    pub(super) fn shell(&self, command: &str) -> Vec<String> {
        let mut argv = self.config.config.shell.clone().unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        argv.push(command.to_owned());
        argv
    }
}
