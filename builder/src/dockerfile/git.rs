//! Git references as BuildKit reads them (`frontend/dockerfile/dfgitutil`, `util/gitutil`).

use super::error::Fault;

/// A repository and what of it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GitRef {
    pub(crate) url: String,
    pub(crate) reference: Option<String>,
    pub(crate) subdir: Option<String>,
    pub(crate) checksum: Option<String>,
    pub(crate) keep_git_dir: Option<bool>,
    pub(crate) submodules: Option<bool>,
}

/// Reads a reference; `None` when the text means something else (a path, a plain URL).
///
/// BuildKit has no `file://`; we take it for a repository when it ends in `.git`.
pub(crate) fn parse(text: &str) -> Result<Option<GitRef>, Fault> {
    if text.starts_with("./") || text.starts_with("../") {
        return Ok(None);
    }
    let (rest, fragment) = match text.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (text, None),
    };
    let mut git = GitRef::default();
    if let Some((scheme, after)) = rest.split_once("://") {
        let (path, query) = match after.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (after, None),
        };
        match scheme {
            "ssh" | "git" => {}
            "http" | "https" | "file" if path.ends_with(".git") => {}
            _ => return Ok(None),
        }
        git.url = format!("{scheme}://{path}");
        read_fragment(&mut git, fragment);
        read_query(&mut git, query.unwrap_or_default())?;
    } else if is_scp(rest) {
        rest.clone_into(&mut git.url);
        read_fragment(&mut git, fragment);
    } else {
        return Ok(None);
    }
    Ok(Some(git))
}

/// `user@host:path`.
fn is_scp(text: &str) -> bool {
    let word = |s: &str, more: &str| !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    text.split_once('@').is_some_and(|(user, rest)| {
        word(user, "-_") && rest.split_once(':').is_some_and(|(host, path)| word(host, "-.") && !path.is_empty())
    })
}

fn read_fragment(git: &mut GitRef, fragment: Option<&str>) {
    let (reference, subdir) = fragment.map_or(("", ""), |f| f.split_once(':').unwrap_or((f, "")));
    git.reference = some(reference);
    git.subdir = some(subdir);
}

fn read_query(git: &mut GitRef, query: &str) -> Result<(), Fault> {
    let mut seen: Vec<&str> = Vec::new();
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if seen.contains(&key) {
            return Err(Fault::new(format!("the git URL has {key} twice")));
        }
        seen.push(key);
        let value = percent_decode(value, true);
        if value.is_empty() && !matches!(key, "submodules" | "keep-git-dir") {
            return Err(Fault::new(format!("{key} in the git URL has no value")));
        }
        let flag = || match value.as_str() {
            "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Some(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Some(false)),
            _ => Err(Fault::new(format!("{key}={value} in the git URL is neither true nor false"))),
        };
        match key {
            "ref" => agree(&mut git.reference, value, "ref")?,
            "tag" => agree(&mut git.reference, prefixed("refs/tags/", value), "tag")?,
            "branch" => agree(&mut git.reference, prefixed("refs/heads/", value), "branch")?,
            "subdir" => agree(&mut git.subdir, value, "subdir")?,
            "checksum" | "commit" => git.checksum = Some(value),
            "keep-git-dir" => git.keep_git_dir = flag()?,
            "submodules" => git.submodules = flag()?,
            _ => {
                let known = ["ref", "tag", "branch", "subdir", "checksum", "commit", "keep-git-dir", "submodules"];
                return Err(Fault::new(format!("{key} in the git URL is not known")).suggest(key, known));
            }
        }
    }
    if git.reference.is_none() {
        git.reference.clone_from(&git.checksum);
    }
    Ok(())
}

fn agree(slot: &mut Option<String>, value: String, key: &str) -> Result<(), Fault> {
    match slot {
        Some(old) if *old != value => {
            Err(Fault::new(format!("the git URL asks for two things: {old} and {key}={value}")))
        }
        _ => {
            *slot = Some(value);
            Ok(())
        }
    }
}

fn prefixed(prefix: &str, value: String) -> String {
    if value.starts_with(prefix) { value } else { format!("{prefix}{value}") }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Decodes `%41`, and the plus signs that stand for spaces in a query.
pub(crate) fn percent_decode(text: &str, query: bool) -> String {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        let hex = |b: u8| char::from(b).to_digit(16);
        match b {
            b'+' if query => out.push(b' '),
            b'%' => {
                let (high, low) = (bytes.clone().next(), bytes.clone().nth(1));
                match (high.and_then(hex), low.and_then(hex)) {
                    (Some(high), Some(low)) => {
                        bytes.nth(1);
                        out.extend(u8::try_from(high * 16 + low));
                    }
                    _ => out.push(b),
                }
            }
            b => out.push(b),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(text: &str) -> GitRef {
        parse(text).unwrap().unwrap_or_else(|| panic!("{text} is no git reference"))
    }

    #[test]
    fn every_form_of_a_git_reference() {
        for (text, url, reference, subdir) in [
            ("https://x/y.git", "https://x/y.git", None, None),
            ("https://x/y.git#main", "https://x/y.git", Some("main"), None),
            ("https://x/y.git#a/b:c/d", "https://x/y.git", Some("a/b"), Some("c/d")),
            ("https://x/y.git#:c", "https://x/y.git", None, Some("c")),
            ("git@x.org:a/b.git#v1", "git@x.org:a/b.git", Some("v1"), None),
            ("ssh://git@x:22/a", "ssh://git@x:22/a", None, None),
            ("git://x/y", "git://x/y", None, None),
            ("file:///srv/y.git#r", "file:///srv/y.git", Some("r"), None),
            ("https://x/y.git?ref=v1&subdir=s", "https://x/y.git", Some("v1"), Some("s")),
            ("https://x/y.git?branch=m", "https://x/y.git", Some("refs/heads/m"), None),
            ("https://x/y.git?tag=v%201", "https://x/y.git", Some("refs/tags/v 1"), None),
        ] {
            let got = git(text);
            assert_eq!(
                (got.url.as_str(), got.reference.as_deref(), got.subdir.as_deref()),
                (url, reference, subdir),
                "{text}"
            );
        }
        let pinned = git("https://x/y.git?commit=abc&keep-git-dir&submodules=false");
        assert_eq!((pinned.reference.as_deref(), pinned.checksum.as_deref()), (Some("abc"), Some("abc")));
        assert_eq!((pinned.keep_git_dir, pinned.submodules), (Some(true), Some(false)));
    }

    #[test]
    fn other_things_are_not_git() {
        for text in ["https://x/y.tar.gz", "./a.git", "a/b", "x@y", "file:///a", "ftp://x/y.git", "src@1:"] {
            assert_eq!(parse(text), Ok(None), "{text}");
        }
        for text in [
            "https://x/y.git?ref=a&branch=b",
            "https://x/y.git?rref=a",
            "https://x/y.git?ref=",
            "https://x/y.git?ref=a&ref=b",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
