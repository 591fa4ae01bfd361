//! `RUN --mount=...`.

use super::error::Fault;
use super::path;
use super::units;
use crate::plan::{FileOwner, Mount, MountKind, Sharing, Source};

const KEYS: [&str; 18] = [
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "id",
    "sharing",
    "required",
    "mode",
    "uid",
    "gid",
    "env",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

#[derive(Debug, Default)]
struct Options {
    from: Option<String>,
    source: Option<String>,
    target: Option<String>,
    read_only: Option<bool>,
    id: Option<String>,
    sharing: Option<Sharing>,
    required: bool,
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
    env: Option<String>,
    size: Option<u64>,
}

/// The stage, context or image that a mount reads, before anything is expanded.
pub(crate) fn from(text: &str) -> Result<Option<String>, Fault> {
    let mut found = None;
    for field in fields(text)? {
        match field.split_once('=') {
            Some((key, value)) if key.eq_ignore_ascii_case("from") => {
                if value.contains('$') {
                    return Err(Fault::new("from= of a mount cannot hold variables")
                        .hint("put FROM with the variable into a stage of its own and name that stage"));
                }
                found = Some(value.to_owned());
            }
            _ => {}
        }
    }
    Ok(found.filter(|f| !f.is_empty()))
}

/// Reads one mount. `expand` expands variables, `locate` finds the tree behind a name, `cwd` is the working directory and
/// `number` counts the ssh mounts before this one.
pub(crate) fn parse(
    text: &str,
    cwd: &str,
    number: usize,
    expand: &mut dyn FnMut(&str) -> Result<String, Fault>,
    locate: &dyn Fn(&str) -> Result<Source, Fault>,
) -> Result<Mount, Fault> {
    let (kind, options) = read(text, expand)?;
    check(kind, &options)?;
    let from = options.from.as_deref().filter(|f| !f.is_empty()).map(locate).transpose()?;
    let source = path::join("/", options.source.as_deref().unwrap_or_default());
    let target = options.target.as_deref().filter(|t| !t.is_empty()).map(|t| path::join(cwd, t));
    let owner = |mode| FileOwner {
        uid: options.uid.unwrap_or(0),
        gid: options.gid.unwrap_or(0),
        mode: options.mode.unwrap_or(mode),
    };
    // As in BuildKit, a mount without a target is at the working directory.
    let needed = || match target.as_deref().unwrap_or(cwd) {
        "/" => Err(Fault::new("a mount cannot cover the root directory").hint("add target=/some/path")),
        target => Ok(target.to_owned()),
    };
    let (target, kind) = match kind {
        Kind::Bind => {
            let from = from.unwrap_or(Source::Context(crate::plan::ContextName::MAIN));
            (Some(needed()?), MountKind::Bind { from, source, read_only: options.read_only.unwrap_or(true) })
        }
        Kind::Cache => {
            let target = needed()?;
            let cache = MountKind::Cache {
                // The target as it is written: `target=.cache` is the same cache in every working directory.
                id: options
                    .id
                    .clone()
                    .filter(|id| !id.is_empty())
                    .unwrap_or_else(|| path::clean(options.target.as_deref().unwrap_or_default())),
                sharing: options.sharing.unwrap_or_default(),
                from: from.filter(|f| *f != Source::Scratch),
                source,
                owner: owner(0o755),
                read_only: options.read_only.unwrap_or(false),
            };
            (Some(target), cache)
        }
        Kind::Tmpfs => (Some(needed()?), MountKind::Tmpfs { size: options.size }),
        Kind::Secret => {
            let id = options
                .source
                .clone()
                .or(options.id.clone())
                .or_else(|| target.as_deref().map(|t| base_name(t).to_owned()));
            let Some(id) = id.filter(|id| !id.is_empty()) else {
                return Err(Fault::new("the secret mount names no secret").hint("add id=NAME"));
            };
            // A secret that is only a variable has no file.
            let default = options.env.is_none().then(|| format!("/run/secrets/{}", base_name(&id)));
            let kind =
                MountKind::Secret { id, env: options.env.clone(), owner: owner(0o400), required: options.required };
            (target.or(default), kind)
        }
        Kind::Ssh => {
            let target = target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{number}"));
            let id = options.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(|| "default".to_owned());
            (Some(target), MountKind::Ssh { id, owner: owner(0o600), required: options.required })
        }
    };
    Ok(Mount { target, kind })
}

fn read(text: &str, expand: &mut dyn FnMut(&str) -> Result<String, Fault>) -> Result<(Kind, Options), Fault> {
    let mut kind = Kind::Bind;
    let mut o = Options::default();
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_lowercase(), Some(expand(value)?)),
            None => (field.to_lowercase(), None),
        };
        let flag = || match value.as_deref() {
            None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(other) => Err(Fault::new(format!("{key}={other} is neither true nor false"))),
        };
        match key.as_str() {
            "readonly" | "ro" => o.read_only = Some(flag()?),
            "readwrite" | "rw" => o.read_only = Some(!flag()?),
            "required" if matches!(kind, Kind::Secret | Kind::Ssh) => o.required = flag()?,
            "required" | "size" if !allowed(&key, kind) => {
                return Err(Fault::new(format!("{key} does not belong to a {} mount", name(kind))));
            }
            _ => {
                let Some(value) = value else {
                    return Err(
                        Fault::new(format!("{field} in --mount needs a value")).hint(format!("write {key}=..."))
                    );
                };
                set(&mut kind, &mut o, &key, value)?;
            }
        }
    }
    Ok((kind, o))
}

fn set(kind: &mut Kind, o: &mut Options, key: &str, value: String) -> Result<(), Fault> {
    match key {
        "type" => {
            *kind = match value.to_lowercase().as_str() {
                "bind" => Kind::Bind,
                "cache" => Kind::Cache,
                "tmpfs" => Kind::Tmpfs,
                "secret" => Kind::Secret,
                "ssh" => Kind::Ssh,
                _ => {
                    return Err(Fault::new(format!("{value:?} is not a type of mount"))
                        .suggest(&value, ["bind", "cache", "tmpfs", "secret", "ssh"]));
                }
            }
        }
        "from" => o.from = Some(value),
        "source" | "src" => o.source = Some(value),
        "target" | "dst" | "destination" => o.target = Some(value),
        "id" => o.id = Some(value),
        "env" => o.env = Some(value),
        "size" => o.size = Some(units::bytes(&value)?),
        "sharing" => {
            o.sharing = Some(match value.to_lowercase().as_str() {
                "shared" => Sharing::Shared,
                "private" => Sharing::Private,
                "locked" => Sharing::Locked,
                _ => {
                    return Err(Fault::new(format!("sharing={value} is not known"))
                        .suggest(&value, ["shared", "private", "locked"]));
                }
            });
        }
        "mode" => o.mode = Some(number(key, &value, 8)?),
        "uid" => o.uid = Some(number(key, &value, 10)?),
        "gid" => o.gid = Some(number(key, &value, 10)?),
        _ => return Err(Fault::new(format!("--mount has no option {key:?}")).suggest(key, KEYS)),
    }
    Ok(())
}

fn number(key: &str, value: &str, radix: u32) -> Result<u32, Fault> {
    u32::from_str_radix(value, radix).map_err(|_| {
        let base = if radix == 8 { "an octal number" } else { "a number" };
        Fault::new(format!("{key}={value} is not {base}"))
    })
}

fn allowed(key: &str, kind: Kind) -> bool {
    match key {
        "size" => kind == Kind::Tmpfs,
        _ => matches!(kind, Kind::Secret | Kind::Ssh),
    }
}

fn check(kind: Kind, o: &Options) -> Result<(), Fault> {
    let owner = o.mode.is_some() || o.uid.is_some() || o.gid.is_some();
    if owner && matches!(kind, Kind::Bind | Kind::Tmpfs) {
        return Err(Fault::new(format!("uid, gid and mode do not belong to a {} mount", name(kind))));
    }
    if o.sharing.is_some() && kind != Kind::Cache {
        return Err(Fault::new(format!("sharing does not belong to a {} mount", name(kind))));
    }
    if kind == Kind::Ssh && o.source.is_some() {
        return Err(Fault::new("source does not belong to an ssh mount").hint("name the agent with id="));
    }
    if kind == Kind::Secret {
        if o.from.is_some() {
            return Err(Fault::new("from does not belong to a secret mount"));
        }
        if o.source.is_some() && o.id.is_some() {
            return Err(Fault::new("source and id of a secret mount mean the same").hint("give one of them"));
        }
    }
    Ok(())
}

fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Bind => "bind",
        Kind::Cache => "cache",
        Kind::Tmpfs => "tmpfs",
        Kind::Secret => "secret",
        Kind::Ssh => "ssh",
    }
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The fields of one line of CSV, as Go's `encoding/csv` reads them.
fn fields(text: &str) -> Result<Vec<String>, Fault> {
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let Some(quoted) = rest.strip_prefix('"') else {
            let end = rest.find(',').unwrap_or(rest.len());
            if rest[..end].contains('"') {
                return Err(Fault::new(format!("a quote stands in the middle of {:?}", &rest[..end])));
            }
            fields.push(rest[..end].to_owned());
            if end == rest.len() {
                return Ok(fields);
            }
            rest = &rest[end + 1..];
            continue;
        };
        let mut field = String::new();
        let mut chars = quoted.char_indices().peekable();
        let end = loop {
            match chars.next() {
                Some((_, '"')) if chars.next_if(|(_, c)| *c == '"').is_some() => field.push('"'),
                Some((at, '"')) => break at + 1,
                Some((_, c)) => field.push(c),
                None => return Err(Fault::new(format!("the quote in {text:?} is not closed"))),
            }
        };
        fields.push(field);
        match quoted[end..].strip_prefix(',') {
            Some(after) => rest = after,
            None if end == quoted.len() => return Ok(fields),
            None => return Err(Fault::new(format!("a quoted option ends before {:?}", &quoted[end..]))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::ContextName;

    fn mount(text: &str) -> Result<Mount, Fault> {
        parse(text, "/work", 0, &mut |v| Ok(v.replace("$U", "7")), &|name| {
            Ok(Source::Context(ContextName::named(name)))
        })
    }

    #[test]
    fn a_bind_is_read_only_and_of_the_main_context_by_default() {
        let kind = MountKind::Bind { from: Source::Context(ContextName::MAIN), source: "/a".into(), read_only: true };
        assert_eq!(mount("source=a,target=t"), Ok(Mount { target: Some("/work/t".into()), kind }));
        let kind =
            MountKind::Bind { from: Source::Context(ContextName::named("s")), source: "/".into(), read_only: false };
        assert_eq!(mount("type=bind,from=s,dst=/t,rw"), Ok(Mount { target: Some("/t".into()), kind }));
    }

    #[test]
    fn a_cache_is_named_after_its_target() {
        let cache = |id: &str, sharing, uid, mode| MountKind::Cache {
            id: id.into(),
            sharing,
            from: None,
            source: "/".into(),
            owner: FileOwner { uid, gid: 0, mode },
            read_only: false,
        };
        assert_eq!(mount("type=cache,target=/c").unwrap().kind, cache("/c", Sharing::Shared, 0, 0o755));
        assert_eq!(
            mount("type=cache,id=x,target=/c,sharing=locked,uid=$U,mode=0700").unwrap().kind,
            cache("x", Sharing::Locked, 7, 0o700)
        );
    }

    /// Seen with Docker 28.5.
    #[test]
    fn a_mount_without_a_target_is_at_the_working_directory_and_a_cache_is_named_as_written() {
        assert_eq!(mount("type=bind").unwrap().target.as_deref(), Some("/work"));
        assert_eq!(mount("type=tmpfs,target=").unwrap().target.as_deref(), Some("/work"));
        let id = |text: &str| match mount(text).unwrap().kind {
            MountKind::Cache { id, .. } => id,
            other => panic!("{other:?}"),
        };
        assert_eq!(id("type=cache,target=./c/../cc"), "cc");
        assert_eq!(id("type=cache,target=/c/../cc"), "/cc");
        assert_eq!(id("type=cache"), ".");
        let at_root = parse("type=cache", "/", 0, &mut |v| Ok(v.to_owned()), &|_| Ok(Source::Scratch));
        assert!(at_root.unwrap_err().to_string().contains("root directory"));
    }

    #[test]
    fn secrets_are_files_or_variables() {
        let at = |text| mount(text).unwrap().target;
        assert_eq!(at("type=secret,id=k").as_deref(), Some("/run/secrets/k"));
        assert_eq!(at("type=secret,target=/root/.npmrc").as_deref(), Some("/root/.npmrc"));
        assert_eq!(at("type=secret,id=k,env=KEY"), None);
        assert!(
            matches!(mount("type=secret,target=/root/.npmrc").unwrap().kind, MountKind::Secret { id, .. } if id == ".npmrc")
        );
        assert!(matches!(mount("type=ssh").unwrap(), Mount { target: Some(t), kind: MountKind::Ssh { id, .. } }
            if t == "/run/buildkit/ssh_agent.0" && id == "default"));
        assert!(
            matches!(mount("type=tmpfs,target=/t,size=1m").unwrap().kind, MountKind::Tmpfs { size: Some(n) } if n == 1 << 20)
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (text, say) in [
            ("type=cahce,target=/c", "did you mean cache?"),
            ("type=cache,taget=/c", "did you mean target?"),
            ("type=ssh,source=a", "name the agent with id="),
            ("type=bind,target=/", "root directory"),
            ("type=bind,target=/a,uid=1", "do not belong"),
            ("type=tmpfs,target=/a,sharing=locked", "does not belong"),
            ("type=cache,target=/a,required", "does not belong"),
            ("type=secret,id=a,source=b", "mean the same"),
            ("type=secret", "names no secret"),
            ("type=cache,target=/a,mode=9", "octal"),
            ("target", "needs a value"),
        ] {
            let fault = mount(text).unwrap_err().to_string();
            assert!(fault.contains(say), "{text}: {fault}");
        }
        assert!(from("type=bind,from=$X").is_err());
        assert_eq!(from("type=bind,from=a"), Ok(Some("a".to_owned())));
    }
}
