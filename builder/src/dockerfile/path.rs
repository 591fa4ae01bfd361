//! Paths in an image: slashes only, never of this machine.

/// Go's `path.Clean`.
pub(crate) fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|p| *p != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    match (absolute, parts.join("/")) {
        (true, joined) => format!("/{joined}"),
        (false, joined) if joined.is_empty() => ".".to_owned(),
        (false, joined) => joined,
    }
}

/// `path` seen from the directory `base`, cleaned and absolute.
pub(crate) fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { clean(&format!("/{base}/{path}")) }
}

/// The same for the destination of a copy: a slash at the end (or `.`, or nothing) stays a slash, for it means a directory.
pub(crate) fn destination(base: &str, path: &str) -> String {
    let joined = join(base, path);
    let directory = path.is_empty() || path.ends_with('/') || path == "." || path.ends_with("/.");
    if directory && joined != "/" { format!("{joined}/") } else { joined }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, want) in
            [("a//b/./c", "a/b/c"), ("/../a", "/a"), ("../a/..", ".."), ("", "."), ("/", "/"), ("a/..", ".")]
        {
            assert_eq!(clean(path), want, "{path}");
        }
        for (path, want) in
            [(".", "/w/"), ("", "/w/"), ("a", "/w/a"), ("a/", "/w/a/"), ("/x/.", "/x/"), ("/", "/"), ("..", "/")]
        {
            assert_eq!(destination("/w", path), want, "{path}");
        }
    }
}
