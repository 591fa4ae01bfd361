//! Owners by name: looked up in the image's own `passwd` and `group`, which so become inputs of the step.

use shiplap_cache::{Kind, Observation, Store, Tree, TreePath};

use super::error::StepError;

/// Resolves `user[:group]`, names or numbers, as `--chown` and `WORKDIR` have it: a user without a group gets the group of
/// the same number (Dockerfile reference, *COPY --chown*).
pub(crate) fn resolve(
    store: &Store,
    tree: &Tree,
    spec: &str,
    observe: &mut dyn FnMut(Observation),
) -> Result<(u32, u32), StepError> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let mut look_up = |name: &str, file: &str, what: &str| -> Result<u32, StepError> {
        if let Ok(number) = name.parse() {
            return Ok(number);
        }
        let path = TreePath::new(file)?;
        observe(Observation::Content(path.clone()));
        let text = read(store, tree, &path)?;
        find(&text, name).ok_or_else(|| StepError::User(format!("the image has no {what} `{name}` in /{file}")))
    };
    let uid = look_up(user, "etc/passwd", "user")?;
    let gid = match group {
        Some(group) => look_up(group, "etc/group", "group")?,
        None if user.parse::<u32>().is_ok() => uid,
        None => {
            let path = TreePath::new("etc/passwd")?;
            observe(Observation::Content(path.clone()));
            primary_group(&read(store, tree, &path)?, user).unwrap_or(uid)
        }
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
