//! Owners by name: looked up in the image's own `passwd` and `group`, which so become inputs of the step.

use shiplap_cache::{Kind, Store, Tree, TreePath};

use super::error::StepError;

/// Resolves `user[:group]`, names or numbers, as `--chown` and `WORKDIR` have it: a user without a group gets the group of
/// the same number, or the one that `passwd` says (Dockerfile reference, *COPY --chown*). As in BuildKit, a user that the image does
/// not have is root, and a group that it does not have is the user's own.
pub(crate) fn resolve(
    store: &Store,
    tree: &Tree,
    spec: &str,
    reads: &mut dyn FnMut(&TreePath),
) -> Result<(u32, u32), StepError> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let mut text = |file: &str| -> Result<String, StepError> {
        let path = TreePath::new(file)?;
        reads(&path);
        read(store, tree, &path)
    };
    let (uid, own) = match user.parse() {
        Ok(number) => (number, number),
        Err(_) => {
            let passwd = text("etc/passwd")?;
            (find(&passwd, user).unwrap_or(0), primary_group(&passwd, user).unwrap_or(0))
        }
    };
    let gid = match group {
        None => own,
        Some("") => 0,
        Some(group) => match group.parse() {
            Ok(number) => number,
            Err(_) => find(&text("etc/group")?, group).unwrap_or(own),
        },
    };
    Ok((uid, gid))
}

fn read(store: &Store, tree: &Tree, path: &TreePath) -> Result<String, StepError> {
    let resolved = tree.resolve(path, true);
    let Some(found) = resolved.found.filter(|f| matches!(tree.entry(*f).kind, Kind::File { .. })) else {
        return Ok(String::new());
    };
    let layer = tree.layers()[found.layer].id();
    let at = resolved.path.below(&store.layer_dir(&layer));
    let bytes = std::fs::read(&at).map_err(|e| StepError::Io { what: "read", path: at, source: e })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `name:password:number:...`, passwd(5) and group(5).
fn find(text: &str, name: &str) -> Option<u32> {
    fields(text, name).and_then(|mut fields| fields.nth(1)?.parse().ok())
}

fn primary_group(text: &str, name: &str) -> Option<u32> {
    fields(text, name).and_then(|mut fields| fields.nth(2)?.parse().ok())
}

fn fields<'a>(text: &'a str, name: &str) -> Option<impl Iterator<Item = &'a str>> {
    text.lines().map(|line| line.split(':')).find_map(|mut fields| (fields.next() == Some(name)).then_some(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_with_the_name_counts() {
        let passwd = "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/app:\napp:x:5:5::/:\n";
        assert_eq!((find(passwd, "app"), primary_group(passwd, "app")), (Some(1000), Some(1001)));
        assert_eq!(find(passwd, "ap"), None);
        assert_eq!(find("broken\nx:y\n", "x"), None);
    }
}
