use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use shiplap_cache::{IndexBuilder, LayerIndex, Overlay, Stack, Store, capture};

use super::*;
use crate::build::copy::{self, Copied};
use crate::build::files::Files;
use crate::build::layout::Layout;
use crate::plan::{Chmod, CopySource, Destination, Platform};

/// A store, and a source in it that is made layer by layer.
struct Lab {
    _home: tempfile::TempDir,
    store: Store,
    stack: Stack,
}

impl Lab {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        Self { _home: home, store, stack: Stack::default() }
    }

    /// One more layer, made as overlayfs leaves it.
    fn layer(&mut self, make: impl FnOnce(&Path)) -> &mut Self {
        let parent = self.store.tree(self.stack.layers()).unwrap();
        let pending = self.store.begin_layer(&parent).unwrap();
        make(&pending.upper());
        self.stack.push(self.store.commit_layer(pending, &parent).unwrap().unwrap());
        self
    }

    fn picked(&self, paths: &[&str], exclude: &[&str]) -> Vec<Picked> {
        let files = Files::of_stack(&self.store, &self.stack).unwrap();
        let exclude = exclude.iter().map(|e| (*e).to_owned()).collect();
        let to = Destination { path: String::new(), chown: None, chmod: None, link: false, exclude };
        let source = |path: &&str| CopySource::Path { base: String::new(), pattern: (*path).to_owned() };
        paths.iter().flat_map(|path| copy::pick(&files, "it", &source(path), &to, false).unwrap()).collect()
    }

    /// The layers of a copy on top of a tree: split at these sizes, and in one.
    fn copies(&self, paths: &[&str], to: &Destination, parent: &Tree, whole: u64, large: u64) -> [Vec<Part>; 2] {
        let exclude: Vec<&str> = to.exclude.iter().map(String::as_str).collect();
        let split = |is_split: bool| {
            let picked = self.picked(paths, &exclude);
            let split = if is_split { Split::with(&picked, whole, large) } else { None };
            let copied = Copied { picked, split };
            let empty = Tree::default();
            copy::lay_out(&self.store, parent, &empty, &copied, to).map(Layout::parts).unwrap()
        };
        [split(true), split(false)]
    }
}

fn to(path: &str) -> Destination {
    Destination { path: path.to_owned(), chown: None, chmod: None, link: false, exclude: Vec::new() }
}

fn file(root: &Path, path: &str, bytes: usize, time: i64) {
    let at = root.join(path);
    std::fs::create_dir_all(at.parent().unwrap()).unwrap();
    std::fs::write(&at, path.bytes().cycle().take(bytes).collect::<Vec<_>>()).unwrap();
    dated(root, path, time);
}

fn dated(root: &Path, path: &str, time: i64) {
    let time = rustix::fs::Timespec { tv_sec: time, tv_nsec: 0 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, root.join(path), &times, flags).unwrap();
}

fn folder(root: &Path, path: &str, mode: u32, time: i64) {
    let at = root.join(path);
    std::fs::create_dir_all(&at).unwrap();
    std::fs::set_permissions(&at, std::fs::Permissions::from_mode(mode)).unwrap();
    dated(root, path, time);
}

/// A virtualenv of four layers: small, large, small, small. Folders change from layer to layer.
fn site() -> Lab {
    let mut lab = Lab::new();
    lab.layer(|root| {
        file(root, "venv/bin/python", 10, 5);
        std::os::unix::fs::symlink("python", root.join("venv/bin/python3")).unwrap();
        dated(root, "venv/bin/python3", 6);
        folder(root, "venv/bin", 0o755, 10);
        folder(root, "venv/empty", 0o700, 11);
        folder(root, "venv/lib", 0o755, 900);
    })
    .layer(|root| {
        file(root, "venv/lib/django/urls.py", 60, 20);
        file(root, "venv/lib/django/views.py", 60, 21);
        std::fs::hard_link(root.join("venv/lib/django/urls.py"), root.join("venv/lib/a-link")).unwrap();
        std::fs::hard_link(root.join("venv/lib/django/urls.py"), root.join("venv/lib/z-link")).unwrap();
        folder(root, "venv/lib/django", 0o755, 22);
        folder(root, "venv/lib", 0o755, 23);
    })
    .layer(|root| {
        file(root, "venv/lib/redis/client.py", 8, 30);
        file(root, "venv/lib/django/views.py", 7, 31);
        folder(root, "venv/lib/redis", 0o755, 30);
        folder(root, "venv/lib/django", 0o750, 32);
        folder(root, "venv/lib", 0o775, 33);
    })
    .layer(|root| {
        file(root, "venv/lib/badges.pth", 6, 40);
        file(root, "venv/bin/badges", 6, 41);
        folder(root, "venv/lib", 0o711, 42);
        folder(root, "venv/bin", 0o755, 43);
    });
    lab
}

fn indices(parts: &[Part]) -> Vec<Arc<LayerIndex>> {
    parts.iter().map(|part| Arc::new(part.index().unwrap())).collect()
}

/// All entries of a tree, whole.
fn entries(layers: &[Arc<LayerIndex>], upon: &Tree) -> Vec<Entry> {
    let tree = Tree::new(upon.layers().iter().chain(layers).cloned());
    tree.walk(&TreePath::root()).into_iter().map(|found| tree.entry(found)).collect()
}

fn names(index: &LayerIndex) -> Vec<String> {
    index.iter().filter(|entry| !entry.is_dir()).map(|entry| entry.path.to_string()).collect()
}

#[test]
fn a_large_layer_stays_by_itself_and_small_ones_go_together() {
    let share = |sizes: &[u64]| {
        let sizes = sizes.iter().copied().enumerate().collect();
        let (parts, tops) = share_out(&sizes, 8);
        (parts.into_values().collect::<Vec<_>>(), tops)
    };
    for (sizes, parts, tops) in [
        (&[40][..], &[0][..], &[][..]),
        (&[40, 1], &[0, 1], &[0]),
        (&[1, 40], &[0, 1], &[0]),
        (&[20, 3, 40, 1, 1, 1], &[0, 1, 2, 3, 3, 3], &[0, 1, 2]),
        // Small ones that are large together make room for the next ones.
        (&[3, 3, 3, 3, 3, 3, 3], &[0, 0, 0, 1, 1, 1, 2], &[2, 5]),
        // What has no bytes goes with the next one above.
        (&[0, 40, 0, 40, 0], &[0, 0, 1, 1, 2], &[1, 3]),
        (&[1, 1, 1], &[0, 0, 0], &[]),
        // What remains after seven is the eighth.
        (&[9, 9, 9, 9, 9, 9, 9, 9, 1, 9, 9], &[0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7], &[0, 1, 2, 3, 4, 5, 6]),
    ] {
        assert_eq!(share(sizes), (parts.to_vec(), tops.to_vec()), "{sizes:?}");
    }
}

#[test]
fn what_is_small_or_of_one_layer_is_not_split() {
    let lab = site();
    // 10 + 60 + 8 + 7 + 6 + 6: what is hidden and further names do not count.
    assert!(Split::with(&lab.picked(&["venv"], &[]), 97, 50).is_some());
    assert!(Split::with(&lab.picked(&["venv"], &[]), 98, 50).is_none());
    assert!(Split::with(&lab.picked(&["venv/lib/a-link"], &[]), 10, 5).is_none());
    let folder = tempfile::tempdir().unwrap();
    file(folder.path(), "a/b", 100, 1);
    let root = folder.path().to_owned();
    let files = Files::of_temporary(folder, root, Overlay::detect()).unwrap();
    let source = CopySource::Path { base: String::new(), pattern: "a".to_owned() };
    assert!(Split::with(&copy::pick(&files, "it", &source, &to("/"), false).unwrap(), 1, 1).is_none());
}

/// A tree to copy onto: it has a folder, a file and a link where the copy has something too.
fn upon() -> Arc<Tree> {
    let mut lab = Lab::new();
    lab.layer(|root| {
        file(root, "opt/venv/lib/old", 3, 1);
        file(root, "opt/venv/bin/python3", 4, 1);
        folder(root, "opt/venv/lib", 0o700, 2);
        folder(root, "opt/venv", 0o2750, 3);
        folder(root, "opt", 0o711, 4);
    });
    Tree::new([lab.store.index(&lab.stack.layers()[0]).unwrap()])
}

#[test]
fn stacked_the_layers_are_what_one_layer_would_be() {
    let (lab, nothing, upon) = (site(), Arc::default(), upon());
    let chown = || Some("7:8".to_owned());
    let cases = [
        (vec!["venv"], to("/opt/venv")),
        (vec!["venv"], to("/")),
        (vec!["venv"], Destination { link: true, ..to("/opt/venv") }),
        (vec!["venv"], Destination { chown: chown(), ..to("/opt/venv") }),
        (vec!["venv"], Destination { chown: chown(), link: true, ..to("/opt/venv") }),
        (vec!["venv"], Destination { chmod: Some(Chmod::Octal(0o640)), ..to("/opt/venv") }),
        (vec!["venv"], Destination { chmod: Some(Chmod::Symbolic("go-rwX".to_owned())), chown: chown(), ..to("/x/y") }),
        // Of the folder that is left out something is taken: it is made anew.
        (vec!["venv"], Destination { exclude: vec!["lib".to_owned(), "!lib/**".to_owned()], ..to("/opt/venv") }),
        // The second brings files of the first again, with further names of its own.
        (vec!["venv", "venv/lib"], to("/opt/venv/")),
        (vec!["venv/lib/*", "venv/bin"], to("/opt/venv/")),
        (vec!["venv/lib/django/urls.py", "venv/lib/badges.pth"], to("/opt/")),
    ];
    for (paths, to) in &cases {
        for parent in [&nothing, &upon] {
            for (large, least) in [(50, 2), (5, 2), (1, 2)] {
                let [parts, one] = lab.copies(paths, to, parent, 1, large).map(|parts| indices(&parts));
                assert_eq!(one.len(), 1);
                assert!(parts.len() >= least, "{paths:?} {to:?} {large}");
                assert_eq!(entries(&parts, parent), entries(&one, parent), "{paths:?} {to:?} {large}");
                let mut files: Vec<_> = parts.iter().flat_map(|part| names(part)).collect();
                files.sort();
                files.dedup();
                assert_eq!(files.len(), names(&one[0]).len(), "no file is in two layers");
            }
        }
    }
}

#[test]
fn a_file_is_with_what_its_source_layer_has_and_its_further_names_are_with_it() {
    let lab = site();
    let [parts, _] = lab.copies(&["venv"], &to("/v"), &Tree::default(), 1, 50);
    let parts = indices(&parts);
    let found: Vec<_> = parts.iter().map(|part| names(part)).collect();
    assert_eq!(
        found,
        [
            vec!["/v/bin/python", "/v/bin/python3"],
            vec!["/v/lib/a-link", "/v/lib/z-link", "/v/lib/django/urls.py"],
            vec!["/v/bin/badges", "/v/lib/badges.pth", "/v/lib/django/views.py", "/v/lib/redis/client.py"],
        ]
    );
    let entry = |part: usize, path: &str| parts[part].entry(parts[part].find(path.as_bytes()).unwrap());
    for name in ["v/lib/z-link", "v/lib/django/urls.py"] {
        let Kind::File { link: Some(first), .. } = entry(1, name).kind else { panic!("{name} is no further name") };
        assert_eq!(first, TreePath::new("v/lib/a-link").unwrap());
    }
    // A folder is in each layer as it was there, and is made when what is in it was.
    let seen = |part: usize, path: &str| (entry(part, path).mode, entry(part, path).mtime);
    assert_eq!([seen(1, "v/lib"), seen(2, "v/lib")], [(0o755, 23), (0o711, 42)]);
    assert_eq!([seen(1, "v/lib/django"), seen(2, "v/lib/django")], [(0o755, 22), (0o750, 32)]);
    assert_eq!([seen(0, "v").1, seen(1, "v").1, seen(2, "v").1], [6, 20, 43]);
    assert_eq!(seen(0, "v/empty"), (0o700, 11));
    assert!(parts[0].find(b"v/lib").is_none(), "none of its files is in there");
}

#[test]
fn what_is_above_changes_nothing_below() {
    let (mut before, mut after, mut more) = (site(), site(), site());
    before.layer(|root| file(root, "venv/lib/badges.py", 3, 50));
    after.layer(|root| {
        file(root, "venv/lib/badges.py", 4, 60);
        file(root, "venv/lib/django/admin.py", 5, 61);
        folder(root, "venv/lib", 0o700, 62);
        folder(root, "venv/empty", 0o711, 63);
    });
    more.layer(|root| file(root, "venv/lib/badges.py", 3, 50)).layer(|root| file(root, "venv/bin/x", 70, 70));
    let to = Destination { chown: Some("7:8".to_owned()), ..to("/opt/venv") };
    let of = |lab: &Lab| {
        let picked = lab.picked(&["venv"], &[]);
        let digest = Split::with(&picked, 1, 50).unwrap().digest(&picked);
        let [parts, _] = lab.copies(&["venv"], &to, &upon(), 1, 50);
        (digest, indices(&parts).iter().map(|index| index.as_bytes().to_vec()).collect::<Vec<_>>())
    };
    let ((_, before), (_, after), (_, more)) = (of(&before), of(&after), of(&more));
    assert_eq!((before.len(), after.len(), more.len()), (3, 3, 4));
    // The empty folder went up with who touched it, so it is the large layer that is equal to the byte.
    assert_eq!(before[1], after[1]);
    assert_ne!(before[2], after[2]);
    assert_eq!(before, more[..3]);
}

#[test]
fn another_way_to_the_same_tree_is_another_step() {
    let mut flat = Lab::new();
    flat.layer(|root| file(root, "a/big", 60, 1)).layer(|root| file(root, "a/small", 2, 1));
    let mut turned = Lab::new();
    turned.layer(|root| file(root, "a/small", 2, 1)).layer(|root| file(root, "a/big", 60, 1));
    let of = |lab: &Lab| {
        let picked = lab.picked(&["a"], &[]);
        let split = Split::with(&picked, 1, 50);
        Copied { picked, split }.digests()
    };
    let (flat, turned) = (of(&flat), of(&turned));
    assert_eq!(flat[0], turned[0]);
    assert_ne!(flat[1], turned[1]);
}

#[test]
fn what_is_made_is_what_the_index_says() {
    let lab = site();
    let [parts, _] = lab.copies(&["venv"], &to("/v"), &Tree::default(), 1, 50);
    assert_eq!(parts.len(), 3);
    for part in parts {
        let folder = tempfile::tempdir().unwrap();
        part.make(folder.path()).unwrap();
        let mut found = IndexBuilder::default();
        let captured = capture(folder.path(), Overlay::detect()).unwrap();
        captured.iter().filter(|entry| !entry.path.is_root()).for_each(|entry| found.push(entry));
        assert_eq!(found.finish().unwrap().as_bytes(), part.index().unwrap().as_bytes());
    }
}

#[test]
fn near_the_end_of_what_engines_take_nothing_is_split() {
    let text = format!("FROM scratch AS a\nCOPY a b\nCOPY c d\nFROM a\n{}", "RUN x\n".repeat(60));
    let linux = Platform::linux("amd64");
    let options = crate::dockerfile::BuildOptions {
        platform: linux.clone(),
        build_platform: linux,
        ..crate::dockerfile::BuildOptions::default()
    };
    let graph = crate::dockerfile::parse("Dockerfile", &text).unwrap().resolve(&options).unwrap();
    let plan = graph.lower(&|_| None).unwrap();
    // Eight of its own, one behind it in its stage and sixty in the next one.
    assert!(is_room(&plan, StageId(0), 0, 120 - 8 - 61));
    assert!(!is_room(&plan, StageId(0), 0, 120 - 8 - 61 + 1));
    assert!(is_room(&plan, StageId(0), 1, 120 - 8 - 60));
    assert!(!is_room(&plan, StageId(0), 1, 120 - 8 - 60 + 1));
    assert!(is_room(&plan, StageId(1), 59, 112));
    assert!(!is_room(&plan, StageId(1), 58, 112));
}
