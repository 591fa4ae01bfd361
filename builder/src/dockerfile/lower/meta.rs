use super::State;
use crate::dockerfile::error::Fault;
use crate::dockerfile::instruction::{CommandLine, Instruction, Node};
use crate::dockerfile::rules::Finding;
use crate::dockerfile::words::Pair;
use crate::dockerfile::{args, history, path, ports, warn};
use crate::plan::{Empty, Location, Op};

impl State<'_> {
    /// Instructions that make no layer; gives back the history text.
    pub(super) fn meta(&mut self, node: &Node) -> Result<Option<String>, Fault> {
        let at = node.at;
        Ok(Some(match &node.instruction {
            Instruction::Arg(list) => self.arg(list, at)?,
            Instruction::Env { pairs, old_form } => {
                let pairs = self.pairs(pairs, at)?;
                for (name, value) in &pairs {
                    if *old_form {
                        warn::push(&mut self.warnings, at, &Finding::LegacyKeyValueFormat(&node.keyword));
                    }
                    warn::secret(&mut self.warnings, "ENV", name, at);
                    self.env.set(name.clone(), value.clone());
                    self.config.config.set_env(name, value);
                }
                shown("ENV", &pairs)
            }
            Instruction::Label { pairs, old_form } => {
                let pairs = self.pairs(pairs, at)?;
                if *old_form {
                    warn::push(&mut self.warnings, at, &Finding::LegacyKeyValueFormat(&node.keyword));
                }
                self.config.config.labels.extend(pairs.iter().cloned());
                shown("LABEL", &pairs)
            }
            Instruction::User(text) => {
                let user = self.expand(at, |scope| scope.word(text))?;
                self.config.config.user.clone_from(&user);
                format!("USER {user}")
            }
            Instruction::Volume(list) => {
                let volumes = self.expand(at, |scope| scope.list(list))?;
                if volumes.iter().any(String::is_empty) {
                    return Err(Fault::new("VOLUME needs a path that is not empty"));
                }
                self.config.config.volumes.extend(volumes.iter().map(|v| (v.clone(), Empty {})));
                history::listed("VOLUME", &volumes)
            }
            Instruction::Expose(list) => {
                let mut all = Vec::new();
                for text in list {
                    for word in self.expand(at, |scope| scope.words(text))? {
                        let ports = ports::parse(&word)?;
                        if ports.cased {
                            warn::push(&mut self.warnings, at, &Finding::ExposeProtoCasing(&word));
                        }
                        if ports.mapped {
                            warn::push(&mut self.warnings, at, &Finding::ExposeInvalidFormat(&word));
                        }
                        all.extend(ports.names);
                    }
                }
                self.config.config.exposed_ports.extend(all.iter().map(|p| (p.clone(), Empty {})));
                history::listed("EXPOSE", &all)
            }
            Instruction::Stopsignal(text) => {
                let signal = self.expand(at, |scope| scope.word(text))?;
                check_signal(&signal)?;
                self.config.config.stop_signal = Some(signal.clone());
                format!("STOPSIGNAL {signal}")
            }
            Instruction::Cmd(line) => {
                warn::only_once(&mut self.warnings, &node.keyword, &mut self.last.cmd, at);
                let argv = self.command_line(&node.keyword, line, at);
                self.config.config.cmd = Some(argv.clone());
                history::quoted("CMD", &argv)
            }
            Instruction::Entrypoint(line) => {
                warn::only_once(&mut self.warnings, &node.keyword, &mut self.last.entrypoint, at);
                let argv = self.command_line(&node.keyword, line, at);
                // An empty list takes the inherited one away.
                self.config.config.entrypoint = Some(argv.clone()).filter(|a| !a.is_empty());
                if self.last.cmd.is_none() {
                    self.config.config.cmd = None;
                }
                history::quoted("ENTRYPOINT", &argv)
            }
            Instruction::Shell(shell) => {
                self.config.config.shell = Some(shell.clone());
                history::listed("SHELL", shell)
            }
            Instruction::Healthcheck(health) => {
                warn::only_once(&mut self.warnings, &node.keyword, &mut self.last.healthcheck, at);
                self.config.config.healthcheck = Some(health.clone());
                history::healthcheck(health)
            }
            Instruction::Maintainer(name) => {
                self.config.author = Some(name.clone());
                format!("MAINTAINER {name}")
            }
            Instruction::Onbuild(text) => {
                self.config.config.on_build.push(text.clone());
                return Ok(None);
            }
            Instruction::From(_)
            | Instruction::Run(_)
            | Instruction::Copy(_)
            | Instruction::Add(_)
            | Instruction::Workdir(_) => {
                return Err(Fault::new("this instruction cannot stand here"));
            }
        }))
    }

    pub(super) fn workdir(&mut self, text: &str, at: Location) -> Result<(Op, Option<String>), Fault> {
        let dir = self.expand(at, |scope| scope.word(text))?;
        if !self.workdir_set && !dir.starts_with('/') {
            warn::push(&mut self.warnings, at, &Finding::WorkdirRelativePath(&dir));
        }
        self.workdir_set = true;
        let path = path::join(&self.cwd(), &dir);
        // As Docker 28: an absolute path stays as it is written, a relative one is cleaned.
        let shown = if dir.starts_with('/') { dir } else { path.clone() };
        let created_by = format!("WORKDIR {shown}");
        self.config.config.working_dir = shown;
        Ok((Op::Workdir { path, user: self.user() }, Some(created_by)))
    }

    /// A build argument wins over the default, the default over the global scope; later ones see earlier ones.
    fn arg(&mut self, list: &[(String, Option<String>)], at: Location) -> Result<String, Fault> {
        let mut shown = Vec::new();
        for (name, default) in list {
            warn::secret(&mut self.warnings, "ARG", name, at);
            let value = match (self.graph.options.build_args.get(name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(text)) => Some(self.expand(at, |scope| scope.word(text))?),
                (None, None) => self.graph.globals.get(name).map(str::to_owned),
            };
            if let Some(value) = value.as_ref().filter(|_| !args::is_hidden(name)) {
                self.env.set(name.clone(), value.clone());
            }
            shown.push(value.as_ref().map_or_else(|| name.clone(), |v| format!("{name}={v}")));
            self.build_args.push((name.clone(), value));
        }
        Ok(format!("ARG {}", shown.join(" ")))
    }

    fn pairs(&mut self, pairs: &[Pair], at: Location) -> Result<Vec<(String, String)>, Fault> {
        // All of one instruction are expanded before any is set.
        self.expand(at, |scope| pairs.iter().map(|p| Ok((scope.word(&p.name)?, scope.word(&p.value)?))).collect())
    }

    fn command_line(&mut self, keyword: &str, line: &CommandLine, at: Location) -> Vec<String> {
        warn::shell_form(&mut self.warnings, keyword, line, self.config.config.shell.is_some(), at);
        match line {
            CommandLine::Exec(argv) => argv.clone(),
            CommandLine::Shell(text) => self.shell(text),
        }
    }
}

fn shown(keyword: &str, pairs: &[(String, String)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(n, v)| format!("{n}={v}")).collect();
    format!("{keyword} {}", pairs.join(" "))
}

/// A number or a name that signal(7) knows, with or without `SIG`.
fn check_signal(text: &str) -> Result<(), Fault> {
    const NAMES: [&str; 34] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "IOT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
        "ALRM", "TERM", "STKFLT", "CHLD", "CLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
        "VTALRM", "PROF", "WINCH", "IO", "POLL", "PWR", "SYS",
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    // As Docker 28: any number but zero, and the real-time signals by their distance from either end.
    let number = text.parse::<i64>().is_ok_and(|n| n != 0);
    let real_time = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) | (_, Some("")) => true,
        (Some(rest), _) => (1..=15).any(|n| rest == format!("+{n}")),
        (_, Some(rest)) => (1..=14).any(|n| rest == format!("-{n}")),
        _ => false,
    };
    if number || real_time || NAMES.contains(&name) {
        return Ok(());
    }
    Err(Fault::new(format!("{text:?} is not a signal")).suggest(name, NAMES))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seen with Docker 28.5.
    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["9", "65", "-5", "+5", "term", "SigTerm", "POLL", "RTMIN", "SIGRTMIN+2", "RTMIN+15", "RTMAX-14"] {
            assert_eq!(check_signal(text), Ok(()), "{text}");
        }
        for text in
            ["0", "00", "UNUSED", "EMT", "RTMIN+16", "RTMIN+01", "RTMIN-1", "RTMAX-15", "RTMAX-0", "RTMAX+1", ""]
        {
            assert!(check_signal(text).is_err(), "{text}");
        }
    }
}
