use super::State;
use crate::dockerfile::error::Fault;
use crate::dockerfile::expand::Scope;
use crate::dockerfile::instruction::Transfer;
use crate::dockerfile::{git, history, path, warn};
use crate::plan::{
    AddOp, AddSource, Chmod, ContextName, CopyOp, CopySource, Destination, GitSource, InlineFile, Location, Op, Source,
};

/// A `COPY` or `ADD` with its variables expanded.
struct Expanded {
    sources: Vec<String>,
    inline: Vec<InlineFile>,
    checksum: Option<String>,
    to: Destination,
    created_by: String,
}

impl State<'_> {
    pub(super) fn copy(&mut self, copy: &Transfer, at: Location) -> Result<(Op, Option<String>), Fault> {
        let from = match &copy.from {
            Some(name) => self.locate(name, true)?,
            None => Source::Context(ContextName::MAIN),
        };
        let expanded = self.transfer(copy, "COPY", at)?;
        if copy.from.is_none() {
            self.check_ignored("Copy", &expanded.sources, at);
        }
        let mut sources = Vec::new();
        for text in &expanded.sources {
            if git::parse(text)?.is_some() || is_http(text) {
                return Err(Fault::new(format!("COPY cannot fetch {text}")).hint("use ADD"));
            }
            sources.push(copy_source(text, copy.parents));
        }
        sources.extend(expanded.inline.into_iter().map(CopySource::Inline));
        let op = CopyOp { from, sources, to: expanded.to, parents: copy.parents };
        Ok((Op::Copy(op), Some(expanded.created_by)))
    }

    pub(super) fn add(&mut self, add: &Transfer, at: Location) -> Result<(Op, Option<String>), Fault> {
        let expanded = self.transfer(add, "ADD", at)?;
        let checksum = expanded.checksum;
        if checksum.is_some() && expanded.sources.len() + expanded.inline.len() != 1 {
            return Err(Fault::new("--checksum holds for one source and there are more").hint("write one ADD for each"));
        }
        let mut sources = Vec::new();
        for text in &expanded.sources {
            let source = add_source(text, add, checksum.as_deref())?;
            if matches!(source, AddSource::Path { .. }) {
                self.check_ignored("Add", std::slice::from_ref(text), at);
            }
            sources.push(source);
        }
        sources.extend(expanded.inline.into_iter().map(AddSource::Inline));
        Ok((Op::Add(AddOp { sources, to: expanded.to }), Some(expanded.created_by)))
    }

    fn check_ignored(&mut self, verb: &str, sources: &[String], at: Location) {
        for source in sources {
            warn::ignored(&mut self.warnings, verb, source, &self.graph.ignore, at);
        }
    }

    fn transfer(&mut self, t: &Transfer, keyword: &str, at: Location) -> Result<Expanded, Fault> {
        let cwd = self.cwd();
        self.expand(at, |scope| {
            let chown = scope.option(t.chown.as_ref())?.filter(|c| !c.is_empty());
            let chmod = scope.option(t.chmod.as_ref())?.filter(|c| !c.is_empty());
            let exclude = scope.list(&t.exclude)?;
            let sources = scope.list(&t.sources)?;
            let dest = scope.word(&t.dest)?;
            let names = t.inline.iter().map(|doc| doc.name.clone());
            let created_by =
                history::transfer(keyword, (t.parents, chown.as_deref(), chmod.as_deref()), &sources, names, &dest);
            Ok(Expanded {
                inline: inline(t, scope)?,
                checksum: scope.option(t.checksum.as_ref())?.filter(|c| !c.is_empty()),
                to: Destination {
                    path: path::destination(&cwd, &dest),
                    // BuildKit makes no link of what gets a mode.
                    link: t.link && chmod.is_none(),
                    chmod: chmod.as_deref().map(read_chmod).transpose()?,
                    chown,
                    exclude,
                },
                sources,
                created_by,
            })
        })
    }
}

fn inline(t: &Transfer, scope: &mut Scope) -> Result<Vec<InlineFile>, Fault> {
    let one = |doc: &crate::dockerfile::heredoc::Heredoc| {
        let text = doc.text();
        let data = if doc.expand { scope.document(&text)? } else { text };
        Ok(InlineFile { name: doc.name.clone(), data })
    };
    t.inline.iter().map(one).collect()
}

fn copy_source(text: &str, parents: bool) -> CopySource {
    let relative = |text: &str| path::join("/", text).trim_start_matches('/').to_owned();
    match text.split_once("/./") {
        Some((base, rest)) if parents => CopySource::Path { base: relative(base), pattern: relative(rest) },
        _ => CopySource::Path { base: String::new(), pattern: relative(text) },
    }
}

fn add_source(text: &str, add: &Transfer, checksum: Option<&str>) -> Result<AddSource, Fault> {
    if let Some(mut git) = git::parse(text)? {
        if git.keep_git_dir.is_some_and(|url| add.keep_git_dir.is_some_and(|flag| flag != url)) {
            return Err(Fault::new("--keep-git-dir and keep-git-dir in the URL disagree").hint("give one of them"));
        }
        git.keep_git_dir = git.keep_git_dir.or(add.keep_git_dir);
        if git.checksum.as_deref().is_some_and(|url| checksum.is_some_and(|flag| flag != url)) {
            return Err(Fault::new("--checksum and the commit in the URL disagree").hint("give one of them"));
        }
        git.checksum = git.checksum.or(checksum.map(str::to_owned));
        return Ok(AddSource::Git(GitSource::from(git)));
    }
    if is_http(text) {
        if let Some(sum) = checksum {
            check_digest(sum)?;
        }
        return Ok(AddSource::Http {
            url: text.to_owned(),
            file_name: file_name(text)?,
            checksum: checksum.map(str::to_owned),
            unpack: add.unpack.unwrap_or(false),
        });
    }
    if checksum.is_some() {
        return Err(Fault::new(format!("--checksum is for URLs and git repositories, {text} is neither")));
    }
    let pattern = path::join("/", text).trim_start_matches('/').to_owned();
    Ok(AddSource::Path { pattern, unpack: add.unpack.unwrap_or(true) })
}

fn is_http(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// The last part of a URL's path, decoded, as Go's `url.Parse` and `path.Base` give it.
fn file_name(url: &str) -> Result<String, Fault> {
    let path = url.split(['?', '#']).next().unwrap_or(url);
    let path = path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, p)| p));
    for (at, _) in path.match_indices('%') {
        let escape = path.get(at..at + 3).unwrap_or(&path[at..]);
        if escape.len() < 3 || !escape[1..].chars().all(|c| c.is_ascii_hexdigit()) {
            return Err(Fault::new(format!("{url} is not a URL: {escape:?} is no escape")).hint("write % as %25"));
        }
    }
    let path = git::percent_decode(path, false);
    Ok(match path.trim_end_matches('/').rsplit('/').next() {
        Some(name) if !matches!(name, "" | "." | "..") => name.to_owned(),
        // BuildKit's name for a URL that names nothing.
        _ => "__unnamed__".to_owned(),
    })
}

fn check_digest(text: &str) -> Result<(), Fault> {
    let length = match text.split_once(':') {
        Some(("sha256", _)) => 64,
        Some(("sha384", _)) => 96,
        Some(("sha512", _)) => 128,
        _ => 0,
    };
    let hex = text.split_once(':').map_or("", |(_, hex)| hex);
    if length == 0 || hex.len() != length || !hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
        return Err(Fault::new(format!("{text:?} is not a digest"))
            .hint("write --checksum=sha256: and 64 hexadecimal digits in lower case"));
    }
    Ok(())
}

fn read_chmod(text: &str) -> Result<Chmod, Fault> {
    let bad = || {
        Fault::new(format!("--chmod={text} is not a mode"))
            .hint("write an octal number up to 07777, such as 755, or u=rwX,go=rX")
    };
    if text.chars().all(|c| c.is_ascii_digit()) {
        let mode = u32::from_str_radix(text, 8).map_err(|_| bad())?;
        return if mode <= 0o7777 { Ok(Chmod::Octal(mode)) } else { Err(bad()) };
    }
    let clause = |clause: &str| {
        let change = clause.trim_start_matches(['u', 'g', 'o', 'a']);
        let mut operators = 0;
        let valid = change.chars().all(|c| {
            operators += usize::from("+-=".contains(c));
            "+-=rwxXstugo".contains(c)
        });
        valid && operators > 0 && change.starts_with(['+', '-', '='])
    };
    if text.split(',').all(clause) { Ok(Chmod::Symbolic(text.to_owned())) } else { Err(bad()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        assert_eq!(read_chmod("0755"), Ok(Chmod::Octal(0o755)));
        assert_eq!(read_chmod("u=rwX,go=rX"), Ok(Chmod::Symbolic("u=rwX,go=rX".to_owned())));
        assert!(["9", "10000", "rwx", "u", "u=q", "a+x,"].iter().all(|t| read_chmod(t).is_err()));
    }

    #[test]
    fn names_of_downloads() {
        for (url, name) in [
            ("https://x/a/b.txt?c=d", "b.txt"),
            ("https://x/", "__unnamed__"),
            ("https://x", "__unnamed__"),
            ("http://x/a/", "a"),
            ("http://x/a%20b+c.txt", "a b+c.txt"),
            ("http://x/a%2Fb", "b"),
        ] {
            assert_eq!(file_name(url), Ok(name.to_owned()), "{url}");
        }
        assert!(file_name("http://x/%zz").is_err() && file_name("http://x/a%2").is_err());
    }
}
