//! Instructions with their arguments in order, variables not yet expanded.

use super::error::Fault;
use super::flags::Flags;
use super::heredoc::{self, Heredoc};
use super::lines::{self, Raw};
use super::units;
use super::words::{self, Pair};
use crate::plan::{Health, Location, Network};

/// An instruction and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) at: Location,
    /// `RUN`, as written.
    pub(crate) keyword: String,
    pub(crate) text: String,
    pub(crate) instruction: Instruction,
}

/// What is written.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Instruction {
    From(From),
    Arg(Vec<(String, Option<String>)>),
    Env { pairs: Vec<Pair>, old_form: bool },
    Label { pairs: Vec<Pair>, old_form: bool },
    Run(Run),
    Copy(Transfer),
    Add(Transfer),
    Workdir(String),
    User(String),
    Volume(Vec<String>),
    Expose(Vec<String>),
    Cmd(CommandLine),
    Entrypoint(CommandLine),
    Shell(Vec<String>),
    Healthcheck(Health),
    Onbuild(String),
    Stopsignal(String),
    Maintainer(String),
}

/// A `FROM`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct From {
    pub(crate) base: String,
    pub(crate) name: Option<String>,
    /// The name as written, when its case is not lower.
    pub(crate) cased_name: Option<String>,
    /// `AS`, as written.
    pub(crate) as_word: Option<String>,
    pub(crate) platform: Option<String>,
}

/// Shell form or exec form.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum CommandLine {
    Shell(String),
    Exec(Vec<String>),
}

/// A `RUN`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    pub(crate) mounts: Vec<String>,
    pub(crate) network: Network,
    pub(crate) command: CommandLine,
    pub(crate) heredocs: Vec<Heredoc>,
}

/// A `COPY` or `ADD`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transfer {
    pub(crate) from: Option<String>,
    pub(crate) sources: Vec<String>,
    pub(crate) inline: Vec<Heredoc>,
    pub(crate) dest: String,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) link: bool,
    pub(crate) parents: bool,
    pub(crate) exclude: Vec<String>,
    pub(crate) keep_git_dir: Option<bool>,
    pub(crate) checksum: Option<String>,
    pub(crate) unpack: Option<bool>,
}

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Reads the arguments of one instruction.
pub(crate) fn parse(raw: &Raw, escape: char) -> Result<Node, Fault> {
    let name = raw.keyword.to_ascii_uppercase();
    let mut flags = Flags::new(&raw.flags);
    let instruction = match name.as_str() {
        "FROM" => from(&raw.rest, &mut flags)?,
        "RUN" => run(raw, &mut flags)?,
        "COPY" => Instruction::Copy(transfer(raw, "COPY", &mut flags)?),
        "ADD" => Instruction::Add(transfer(raw, "ADD", &mut flags)?),
        "ARG" => {
            // As in Docker, which looks at no flags here.
            flags.ignore();
            arg(&raw.rest, escape)?
        }
        "ENV" => {
            let (pairs, old_form) = words::pairs(&raw.rest, "ENV", escape)?;
            Instruction::Env { pairs, old_form }
        }
        "LABEL" => {
            let (pairs, old_form) = words::pairs(&raw.rest, "LABEL", escape)?;
            Instruction::Label { pairs, old_form }
        }
        "WORKDIR" => Instruction::Workdir(one(raw)?),
        "USER" => Instruction::User(one(raw)?),
        "STOPSIGNAL" => {
            // As in Docker, which looks at no flags here.
            flags.ignore();
            Instruction::Stopsignal(one(raw)?)
        }
        "MAINTAINER" => Instruction::Maintainer(one(raw)?),
        "EXPOSE" => {
            let mut ports = words::plain(&one_or_more(raw)?);
            ports.sort();
            Instruction::Expose(ports)
        }
        "VOLUME" => {
            let volumes = words::json_or_words(&one_or_more(raw)?)?;
            if volumes.is_empty() || volumes.iter().any(|v| v.trim().is_empty()) {
                return Err(Fault::new("VOLUME needs a path that is not empty"));
            }
            Instruction::Volume(volumes.iter().map(|v| v.trim().to_owned()).collect())
        }
        "CMD" => Instruction::Cmd(command(&raw.rest)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(&raw.rest)?),
        "SHELL" => match words::json_list(&raw.rest).transpose()? {
            Some(shell) if !shell.is_empty() => Instruction::Shell(shell),
            _ => return Err(Fault::new("SHELL takes a JSON list").hint(r#"write SHELL ["/bin/bash", "-c"]"#)),
        },
        "HEALTHCHECK" => healthcheck(&raw.rest, &mut flags)?,
        "ONBUILD" => onbuild(raw, escape)?,
        _ => return Err(Fault::new(format!("unknown instruction: {}", raw.keyword)).suggest(&raw.keyword, NAMES)),
    };
    flags.finish(&name)?;
    Ok(Node { at: raw.at, keyword: raw.keyword.clone(), text: raw.text.clone(), instruction })
}

fn one_or_more(raw: &Raw) -> Result<String, Fault> {
    if raw.rest.is_empty() {
        return Err(Fault::new(format!("{} needs at least one argument", raw.keyword.to_ascii_uppercase())));
    }
    Ok(raw.rest.clone())
}

fn one(raw: &Raw) -> Result<String, Fault> {
    if raw.rest.is_empty() {
        return Err(Fault::new(format!("{} needs an argument", raw.keyword.to_ascii_uppercase())));
    }
    Ok(raw.rest.clone())
}

fn command(text: &str) -> Result<CommandLine, Fault> {
    Ok(match words::json_list(text).transpose()? {
        Some(argv) => CommandLine::Exec(argv),
        None => CommandLine::Shell(text.to_owned()),
    })
}

fn from(text: &str, flags: &mut Flags) -> Result<Instruction, Fault> {
    let platform = flags.string("platform")?;
    let words = words::plain(text);
    let (base, as_word, name) = match words.as_slice() {
        [base] => (base, None, None),
        [base, keyword, name] if keyword.eq_ignore_ascii_case("as") => (base, Some(keyword), Some(name)),
        _ => {
            return Err(
                Fault::new("FROM takes an image and nothing else but AS and a name").hint("write FROM IMAGE AS NAME")
            );
        }
    };
    let lower = name.map(|n| n.to_lowercase());
    if let Some(n) = &lower {
        let valid = n.starts_with(|c: char| c.is_ascii_lowercase())
            && n.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
        if !valid {
            return Err(Fault::new(format!("{n:?} cannot name a stage"))
                .hint("begin with a letter and go on with letters, digits, '-', '_' and '.'"));
        }
    }
    Ok(Instruction::From(From {
        base: base.clone(),
        cased_name: name.filter(|n| lower.as_ref() != Some(n)).cloned(),
        as_word: as_word.cloned(),
        name: lower,
        platform,
    }))
}

fn arg(text: &str, escape: char) -> Result<Instruction, Fault> {
    let args: Vec<_> = words::quoted(text, escape)
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (word, None),
        })
        .collect();
    if args.is_empty() {
        return Err(Fault::new("ARG needs at least one argument"));
    }
    if args.iter().any(|(name, _)| name.is_empty()) {
        return Err(Fault::new("ARG needs a name before ="));
    }
    Ok(Instruction::Arg(args))
}

fn run(raw: &Raw, flags: &mut Flags) -> Result<Instruction, Fault> {
    let mounts = flags.strings("mount")?;
    let network = match flags.string("network")?.as_deref() {
        None | Some("default") => Network::Default,
        Some("none") => Network::None,
        Some("host") => Network::Host,
        Some(other) => {
            return Err(Fault::new(format!("--network={other} is not a network")).hint("use default, none or host"));
        }
    };
    match flags.string("security")?.as_deref() {
        None | Some("sandbox") => {}
        Some("insecure") => {
            return Err(Fault::new(
                "--security=insecure is not supported: a step never gets more rights than Docker's default",
            )
            .hint("take the flag away, or do that work outside of the build"));
        }
        Some(other) => return Err(Fault::new(format!("--security={other} is not known")).hint("use sandbox")),
    }
    if !flags.strings("device")?.is_empty() {
        return Err(
            Fault::new("--device is not supported: a step sees no devices of the host").hint("take the flag away")
        );
    }
    // No command at all is one that the shell does nothing for.
    let command = command(&raw.rest)?;
    if command == CommandLine::Exec(Vec::new()) {
        return Err(Fault::new("RUN needs a program to run"));
    }
    Ok(Instruction::Run(Run { mounts, network, command, heredocs: raw.heredocs.clone() }))
}

fn transfer(raw: &Raw, name: &str, flags: &mut Flags) -> Result<Transfer, Fault> {
    let copy = name == "COPY";
    let mut transfer = Transfer {
        from: if copy { flags.string("from")?.filter(|from| !from.is_empty()) } else { None },
        sources: Vec::new(),
        inline: Vec::new(),
        dest: String::new(),
        chown: flags.string("chown")?,
        chmod: flags.string("chmod")?,
        link: flags.switch("link")?.unwrap_or(false),
        parents: copy && flags.switch("parents")?.unwrap_or(false),
        exclude: flags.strings("exclude")?,
        keep_git_dir: if copy { None } else { flags.switch("keep-git-dir")? },
        checksum: if copy { None } else { flags.string("checksum")? },
        unpack: if copy { None } else { flags.switch("unpack")? },
    };
    let json = words::json_list(&raw.rest).transpose()?;
    let heredocs_allowed = json.is_none();
    let mut words = json.unwrap_or_else(|| words::plain(&raw.rest));
    let (Some(dest), false) = (words.pop(), words.is_empty()) else {
        return Err(Fault::new(format!("{name} needs at least a source and a destination")));
    };
    if heredocs_allowed && heredoc::parse_word(&dest)?.is_some() {
        return Err(Fault::new(format!("a here-document cannot be the destination of {name}")));
    }
    transfer.dest = dest;
    for word in words {
        let doc = if heredocs_allowed { heredoc::parse_word(&word)? } else { None };
        match doc {
            Some(doc) => {
                let found = raw.heredocs.iter().rev().find(|d| d.name == doc.name);
                transfer.inline.extend(found.cloned());
            }
            None => transfer.sources.push(word),
        }
    }
    let url = transfer.sources.iter().find(|s| s.starts_with("http://") || s.starts_with("https://"));
    if let Some(url) = url.filter(|_| copy) {
        return Err(Fault::new(format!("COPY cannot fetch {url}")).hint("use ADD"));
    }
    Ok(transfer)
}

fn healthcheck(text: &str, flags: &mut Flags) -> Result<Instruction, Fault> {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let (kind, rest) = (kind.to_ascii_uppercase(), rest.trim());
    if kind == "NONE" {
        if !rest.is_empty() {
            return Err(Fault::new("HEALTHCHECK NONE takes no arguments"));
        }
        // Docker does not even look at them.
        flags.ignore();
        return Ok(Instruction::Healthcheck(Health { test: vec![kind], ..Health::default() }));
    }
    let mut time = |name| -> Result<i64, Fault> {
        let Some(text) = flags.string(name)?.filter(|text| !text.is_empty()) else { return Ok(0) };
        let nanos = units::duration(&text)?;
        // Docker's `MinimumDuration`.
        if nanos != 0 && nanos < 1_000_000 {
            return Err(Fault::new(format!("--{name}={text} is less than a millisecond")));
        }
        Ok(nanos)
    };
    let mut health = Health {
        interval: time("interval")?,
        timeout: time("timeout")?,
        start_period: time("start-period")?,
        start_interval: time("start-interval")?,
        ..Health::default()
    };
    if let Some(retries) = flags.string("retries")?.filter(|text| !text.is_empty()) {
        health.retries = retries
            .parse()
            .ok()
            .filter(|n| (0..=i64::from(i32::MAX)).contains(n))
            .ok_or_else(|| Fault::new(format!("--retries={retries} is not a number of retries")))?;
    }
    health.test = match (kind.as_str(), command(rest)?) {
        ("CMD", CommandLine::Shell(rest)) if !rest.is_empty() => vec!["CMD-SHELL".to_owned(), rest],
        ("CMD", CommandLine::Exec(argv)) if !argv.is_empty() => [vec![kind], argv].concat(),
        ("CMD", _) => return Err(Fault::new("HEALTHCHECK CMD needs a command")),
        _ => {
            return Err(
                Fault::new(format!("HEALTHCHECK {kind} is not known")).hint("use HEALTHCHECK CMD or HEALTHCHECK NONE")
            );
        }
    };
    Ok(Instruction::Healthcheck(health))
}

fn onbuild(raw: &Raw, escape: char) -> Result<Instruction, Fault> {
    let mut inner = lines::split(&raw.rest);
    match inner.keyword.to_ascii_uppercase().as_str() {
        "" => return Err(Fault::new("ONBUILD needs an instruction")),
        "ONBUILD" => return Err(Fault::new("ONBUILD ONBUILD is not allowed")),
        name @ ("FROM" | "MAINTAINER") => return Err(Fault::new(format!("ONBUILD {name} is not allowed"))),
        _ => {}
    }
    inner.heredocs.clone_from(&raw.heredocs);
    // A trigger that cannot work is an error here, not in the image that is built on this one.
    parse(&inner, escape)?;
    let mut trigger = raw.rest.clone();
    for doc in &raw.heredocs {
        trigger = format!("{trigger}\n{}{}", doc.data, doc.name);
    }
    Ok(Instruction::Onbuild(trigger))
}

/// Reads an `ONBUILD` trigger; it takes the place of the `FROM` that fires it.
pub(crate) fn trigger(text: &str, at: Location) -> Result<Node, Fault> {
    let (raws, escape) = lines::read(text).map_err(|(_, fault)| fault)?;
    let [raw] = raws.as_slice() else {
        return Err(Fault::new(format!("the ONBUILD trigger {text:?} of the base is not one instruction")));
    };
    let mut node = parse(raw, escape)?;
    node.at = at;
    Ok(node)
}
