//! Which part of a cache a file is in.
//!
//! The caches of pip, uv and npm are made of many things that know nothing of each other: a download, a page of an index, an unpacked wheel. Each of these is
//! whole in one part. What says where a thing is, and whether there is a newer one, is in parts of its own: it is small, asked for often, and written anew each time.
//! Of what else a cache may be made nothing is known, so all of that is one part too, the first: of a set of files that speak of each other nobody gets half.

use shiplap_cache::{ContentHash, TreePath};

/// How many parts there are, that of everything else among them.
pub(super) const COUNT: u8 = 128;

/// How many of them, after the first, have records of an index.
const RECORDS: u8 = 15;

/// One part of a cache.
pub(super) type Part = u8;

/// Some of the parts of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Parts(u128);

impl Parts {
    /// All that there are.
    pub const ALL: Self = Self(u128::MAX);

    /// None of them.
    pub const NONE: Self = Self(0);

    /// Adds the part that a path below the cache's root is in.
    pub fn add(&mut self, path: &TreePath) {
        // All parts have the root in common.
        if !path.is_root() {
            *self = self.with(part_of(path));
        }
    }

    pub(super) fn with(self, part: Part) -> Self {
        Self(self.0 | 1 << part)
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(super) fn has(self, part: Part) -> bool {
        self.0 & (1 << part) != 0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Part> + Send {
        (0..COUNT).filter(move |part| self.has(*part))
    }
}

impl std::fmt::Display for Parts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for Parts {
    type Err = WrongParts;

    /// Of another length is what an earlier version wrote, with other parts.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bits = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32);
        bits.map(Self).ok_or(WrongParts)
    }
}

/// A text is no set of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongParts;

/// The part that a path is in. Folders that lead to several are in the first.
pub(super) fn part_of(path: &TreePath) -> Part {
    let components: Vec<&[u8]> = path.components().collect();
    // uv makes each thing under a name of chance first, which is another one each time.
    if components.iter().any(|name| name.starts_with(b".tmp")) {
        return 0;
    }
    // The mount is the cache of one program, or the folder above it.
    let group = (0..components.len().min(2)).find_map(|at| {
        let (length, what) = thing(&components[at..])?;
        Some((&components[..at + length], what))
    });
    let Some((group, what)) = group else { return 0 };
    let [digit, ..] = *ContentHash::of(&group.join(&b'/')).as_bytes();
    match what {
        Thing::Record => digit % RECORDS + 1,
        Thing::Contents => digit % (COUNT - 1 - RECORDS) + 1 + RECORDS,
    }
}

/// What is in the parts.
#[derive(Debug, Clone, Copy)]
enum Thing {
    Record,
    Contents,
}

/// How many components of a path name a thing of its own in one of the caches that are known, and what it is.
fn thing(path: &[&[u8]]) -> Option<(usize, Thing)> {
    use Thing::{Contents, Record};
    let found = match path {
        // pip: responses by the first digits of their hash, one folder a digit; wheels that were built, two digits a folder.
        [b"http-v2", a, b, _, ..] if is_hex(a, 1) && is_hex(b, 1) => (3, Contents),
        [b"wheels", a, b, _, ..] if is_hex(a, 2) && is_hex(b, 2) => (3, Contents),
        // npm (cacache): contents and index by the first digits of their hash.
        [b"_cacache", b"content-v2", _, a, b, _, ..] if is_hex(a, 2) && is_hex(b, 2) => (5, Contents),
        [b"_cacache", b"index-v5", a, b, _, ..] if is_hex(a, 2) && is_hex(b, 2) => (4, Record),
        // uv: an unpacked wheel; else by where packages come from, and by their names.
        [bucket, _, _, ..] if is_bucket(bucket, &["archive"]) => (2, Contents),
        [bucket, b"index", _, _, ..] if is_bucket(bucket, RECORDS_BY_PACKAGE) => (4, Record),
        [bucket, b"pypi" | b"url" | b"path" | b"editable", _, ..] if is_bucket(bucket, RECORDS_BY_PACKAGE) => {
            (3, Record)
        }
        [bucket, b"index", _, _, ..] if is_bucket(bucket, SOURCES_BY_PACKAGE) => (4, Contents),
        [bucket, b"pypi" | b"url" | b"path" | b"editable", _, ..] if is_bucket(bucket, SOURCES_BY_PACKAGE) => {
            (3, Contents)
        }
        _ => return None,
    };
    Some(found)
}

/// The folders of uv's cache that say something of each package: which files there are, and which archive has one.
const RECORDS_BY_PACKAGE: &[&str] = &["simple", "wheels"];

/// Those that have its sources, and what was built of them.
const SOURCES_BY_PACKAGE: &[&str] = &["sdists", "built-wheels"];

/// Whether this is one of these folders of uv's, of any version of its form: `NAME-vNUMBER`.
fn is_bucket(folder: &[u8], names: &[&str]) -> bool {
    let folder = std::str::from_utf8(folder).unwrap_or_default();
    let Some((name, version)) = folder.rsplit_once("-v") else { return false };
    names.contains(&name) && !version.is_empty() && version.bytes().all(|b| b.is_ascii_digit())
}

fn is_hex(name: &[u8], digits: usize) -> bool {
    name.len() == digits && name.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(path: &str) -> Part {
        part_of(&TreePath::new(path).unwrap())
    }

    #[test]
    fn what_belongs_together_is_in_one_part() {
        let hash = "39a0c1e6b2d5f7a84c21b5d69e0f3a7c8d1e2b4f6a5c3d7e9f";
        for together in [
            ["archive-v0/Yx_1/django/__init__.py", "archive-v0/Yx_1/django-5.2.dist-info/RECORD"],
            ["uv/archive-v0/Yx_1/a", "uv/archive-v0/Yx_1/b/c"],
            [
                "wheels-v5/index/1234/django/django-5.2-py3-none-any.http",
                "wheels-v5/index/1234/django/5.2-py3-none-any",
            ],
            ["sdists-v9/editable/ab12/revision.http", "sdists-v9/editable/ab12/xyz/metadata.msgpack"],
            [&format!("http-v2/3/9/a/0/c/{hash}"), &format!("http-v2/3/9/a/0/c/{hash}.body")],
            ["0.pack", "some/folder/index.pack"],
            ["interpreter-v4/a/b.msgpack", "CACHEDIR.TAG"],
        ] {
            assert_eq!(part(together[0]), part(together[1]), "{together:?}");
        }
    }

    #[test]
    fn things_of_the_known_caches_are_spread_and_all_else_is_the_first_part() {
        type Name = fn(u32) -> String;
        let known: [Name; 6] = [
            |i| format!("archive-v0/x{i}/a/b"),
            |i| format!("simple-v16/pypi/x{i}.rkyv"),
            |i| format!("wheels-v5/index/ab12/x{i}/y"),
            |i| format!("http-v2/{:x}/{:x}/0/0/0/{i}", i % 16, i / 16 % 16),
            |i| format!("_cacache/content-v2/sha512/{:02x}/{:02x}/{i}", i % 256, i % 7),
            |i| format!(".npm/_cacache/index-v5/{:02x}/{:02x}/{i}", i % 256, i % 7),
        ];
        for name in known {
            let used: Parts = (0..500).fold(Parts::NONE, |parts, i| parts.with(part(&name(i))));
            let of_records = used.iter().filter(|part| *part <= RECORDS).count();
            let spread = (of_records, used.iter().count());
            assert!(spread == (15, 15) || spread.0 == 0 && spread.1 > 90, "{}: {used}", name(0));
            assert!(!used.has(0), "{}", name(0));
        }
        let unknown = [
            "a",
            "pkg/mod/x/y",
            "archive-v0",
            "archive-vx/a/b",
            "http-v2/9",
            "wheels/readme/x/y",
            "_cacache/tmp/a",
            "archive-v0/.tmpx/a",
        ];
        for other in unknown {
            assert_eq!(part(other), 0, "{other}");
        }
    }

    #[test]
    fn sets_of_parts_come_back_from_their_text() {
        let mut some = Parts::NONE;
        some.add(&TreePath::root());
        assert_eq!(some, Parts::NONE);
        some.add(&TreePath::new("archive-v0/x/y").unwrap());
        some = some.with(127).with(0);
        assert_eq!(some.to_string().parse(), Ok(some));
        assert_eq!((Parts::ALL.without(some).and(some), some.iter().count()), (Parts::ALL, 3));
        for wrong in ["", "x", "0123456789abcdef"] {
            assert!(wrong.parse::<Parts>().is_err(), "{wrong}");
        }
    }
}
