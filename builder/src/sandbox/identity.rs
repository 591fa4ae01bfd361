//! Who `USER` is: Docker's rules (moby/sys/user, `GetExecUser`) on the image's own files.

/// A user as the image knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user id.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The supplementary groups, the primary one not among them.
    pub groups: Vec<u32>,
    /// The home directory, `/` for a user that is not in `/etc/passwd`.
    pub home: String,
}

/// A user or group that the image does not know.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// No such name in `/etc/passwd`.
    #[error("user {0:?} is not in the image's /etc/passwd; add it with useradd, or give a number")]
    User(String),
    /// No such name in `/etc/group`.
    #[error("group {0:?} is not in the image's /etc/group; add it with groupadd, or give a number")]
    Group(String),
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

/// Looks `name|uid[:group|gid]` up in the text of `/etc/passwd` and `/etc/group`. A number is an id,
/// never a name. Without a group it is the user's own from `/etc/passwd` (0 for one that is not
/// there), with all groups that list the user; with a group it is that one alone.
pub fn lookup(user: &str, passwd: &str, group: &str) -> Result<Identity, IdentityError> {
    let (user, wanted) = user.split_once(':').unwrap_or((user, ""));
    let user = if user.is_empty() { "0" } else { user };
    let number = user.parse::<u32>().ok();
    let entry = users(passwd).find(|entry| match number {
        Some(uid) => entry.uid == uid,
        None => entry.name == user,
    });
    let (uid, mut gid, name) = match (&entry, number) {
        (Some(entry), _) => (entry.uid, entry.gid, Some(entry.name)),
        (None, Some(uid)) => (uid, 0, None),
        (None, None) => return Err(IdentityError::User(user.to_owned())),
    };
    let mut memberships = Vec::new();
    if wanted.is_empty() {
        if let Some(name) = name {
            memberships = groups(group)
                .filter(|(_, _, members)| members.split(',').any(|member| member == name))
                .map(|(_, gid, _)| gid)
                .filter(|&other| other != gid)
                .collect();
            let mut seen = std::collections::HashSet::new();
            memberships.retain(|gid| seen.insert(*gid));
        }
    } else {
        gid = match wanted.parse() {
            Ok(gid) => gid,
            Err(_) => groups(group)
                .find(|(name, _, _)| *name == wanted)
                .map(|(_, gid, _)| gid)
                .ok_or_else(|| IdentityError::Group(wanted.to_owned()))?,
        };
    }
    // The home belongs to the id, whichever of its names was asked for (runc, `setupUser`).
    let home = users(passwd).find(|entry| entry.uid == uid).map_or("", |entry| entry.home);
    Ok(Identity { uid, gid, groups: memberships, home: if home.is_empty() { "/" } else { home }.to_owned() })
}

/// The well-formed lines of passwd(5).
fn users(passwd: &str) -> impl Iterator<Item = Entry<'_>> {
    passwd.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        let home = fields.nth(1).unwrap_or("");
        Some(Entry { name, uid, gid, home })
    })
}

/// The well-formed lines of group(5): name, id, members.
fn groups(group: &str) -> impl Iterator<Item = (&str, u32, &str)> {
    group.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let name = fields.next()?;
        let gid = fields.nth(1)?.parse().ok()?;
        Some((name, gid, fields.next().unwrap_or("")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# note\nbroken\n\
                          bob:x:3333:100::/home/bob:/bin/sh\nrob:x:3333:7::/home/rob:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nusers:x:100:bob\naudio:x:29:bob\nextra:x:4444:alice,bob,root\n7:x:8:\n";

    fn check(user: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
        let found = lookup(user, PASSWD, GROUP).unwrap();
        let expected = Identity { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
        assert_eq!(found, expected, "{user}");
    }

    /// Each line was also tried as a `USER` of a Dockerfile, with `RUN id`, in Docker 28.
    #[test]
    fn as_docker() {
        check("", 0, 0, &[4444], "/root");
        check("root", 0, 0, &[4444], "/root");
        check("0", 0, 0, &[4444], "/root");
        check("bob", 3333, 100, &[29, 4444], "/home/bob");
        check("3333", 3333, 100, &[29, 4444], "/home/bob");
        check("bob:audio", 3333, 29, &[], "/home/bob");
        check("3333:29", 3333, 29, &[], "/home/bob");
        check("7777", 7777, 0, &[], "/");
    }

    #[test]
    fn odd_ones() {
        check("rob", 3333, 7, &[], "/home/bob");
        check("7777:7", 7777, 7, &[], "/");
        check(":audio", 0, 29, &[], "/root");
        assert_eq!(lookup("eve", PASSWD, GROUP), Err(IdentityError::User("eve".into())));
        assert_eq!(lookup("bob:evil", PASSWD, GROUP), Err(IdentityError::Group("evil".into())));
        assert_eq!(lookup("5:6", "", "").unwrap().gid, 6);
    }
}
