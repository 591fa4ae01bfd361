//! Owners by name: looked up in the image's own `passwd` and `group`, which so become inputs of the step.

use std::io::Read;

use shiplap_cache::{Kind, LayerId, Piece, Store, Tree, TreePath};

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

/// Where a tree names its users and groups: layers and the paths in them.
pub(crate) fn accounts(tree: &Tree) -> Result<Vec<(LayerId, TreePath)>, StepError> {
    let files = ["etc/passwd", "etc/group"].into_iter().map(|file| Ok(place(tree, &TreePath::new(file)?)));
    files.filter_map(Result::transpose).collect()
}

/// Keeps such a file of a layer that is not here. It is that layer's for ever.
pub(crate) fn keep(store: &Store, layer: &LayerId, path: &TreePath, piece: Piece) -> Result<(), StepError> {
    let mut bytes = Vec::new();
    let read = piece.reader().read_to_end(&mut bytes);
    read.map_err(|e| StepError::Io { what: "read", path: path.as_path().to_owned(), source: e })?;
    Ok(store.set_name(ACCOUNTS, &name(layer, path), &String::from_utf8_lossy(&bytes))?)
}

/// The space of names for files that were kept.
const ACCOUNTS: &str = "accounts";

fn name(layer: &LayerId, path: &TreePath) -> String {
    format!("{} {path}", layer.hex())
}

fn place(tree: &Tree, path: &TreePath) -> Option<(LayerId, TreePath)> {
    let resolved = tree.resolve(path, true);
    let found = resolved.found.filter(|found| matches!(tree.entry(*found).kind, Kind::File { .. }))?;
    Some((tree.layers()[found.layer].id(), resolved.path))
}

fn read(store: &Store, tree: &Tree, path: &TreePath) -> Result<String, StepError> {
    let Some((layer, path)) = place(tree, path) else { return Ok(String::new()) };
    let at = path.below(&store.layer_dir(&layer));
    match std::fs::read(&at) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => match store.name(ACCOUNTS, &name(&layer, &path))? {
            Some(kept) => Ok(kept),
            None => Err(StepError::Io { what: "read", path: at, source: error }),
        },
    }
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
