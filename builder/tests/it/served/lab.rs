//! A lab whose layers are served, their files coming from the layers' directories.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use shiplap_builder::sandbox::{BindSource, Cancel, Exit, Lower, Mount, RunSpec, Sandbox, SandboxError, Stream, Told};
use shiplap_builder::served::{ServedTree, Serving};
use shiplap_cache::{Contents, LayerId, LayerIndex, Overlay, Piece, Tree, TreePath, capture};

use crate::sandbox::lab::Lab;

/// Gives files of directories, as told.
#[derive(Debug, Default)]
pub struct Folders {
    roots: HashMap<LayerId, PathBuf>,
    /// What was asked for.
    pub opened: Mutex<Vec<TreePath>>,
    /// What nobody has.
    pub gone: Option<TreePath>,
    lost: Mutex<Vec<LayerId>>,
    /// What comes only when the gate is open.
    pub slow: Option<TreePath>,
    pub gate: Gate,
}

/// Something to wait for.
#[derive(Debug, Default)]
pub struct Gate(Mutex<bool>, Condvar);

impl Gate {
    pub fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self) {
        drop(self.1.wait_while(self.0.lock().unwrap(), |open| !*open).unwrap());
    }
}

impl Contents for Folders {
    fn open(&self, layer: &LayerId, path: &TreePath) -> io::Result<Piece> {
        self.opened.lock().unwrap().push(path.clone());
        if self.slow.as_ref() == Some(path) {
            self.gate.wait();
        }
        if self.gone.as_ref() == Some(path) {
            self.lost.lock().unwrap().push(*layer);
            return Err(io::ErrorKind::NotFound.into());
        }
        Piece::open(&path.below(&self.roots[layer]))
    }

    fn lost(&self) -> Vec<LayerId> {
        self.lost.lock().unwrap().clone()
    }
}

/// A tree of layers, topmost first, and who gives its files.
pub fn tree_of(layers: &[PathBuf]) -> (Arc<Tree>, Folders) {
    let indices: Vec<_> =
        layers.iter().rev().map(|layer| (layer, Arc::new(capture(layer, Overlay::Trusted).unwrap()))).collect();
    let roots = indices.iter().map(|(layer, index)| (index.id(), layer.to_path_buf())).collect();
    (Tree::new(indices.into_iter().map(|(_, index)| index)), Folders { roots, ..Folders::default() })
}

/// How a step on a served tree ended.
pub struct Ran {
    pub exit: Result<Exit, SandboxError>,
    pub out: String,
    pub upper: PathBuf,
    /// The first file that could not be given.
    pub failed: Option<TreePath>,
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(matches!(self.exit, Ok(Exit::Code(0))), "{:?} {}", self.exit, self.out);
        self.out
    }
}

/// Runs a step whose served trees are these.
pub fn run(spec: &RunSpec, trees: &[ServedTree], cancel: &Cancel, mut watch: impl FnMut(&str) + Send) -> Ran {
    let mut out = String::new();
    let mut output = |_: Stream, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        watch(&text);
        out.push_str(&text);
    };
    let mut serving: Vec<Serving> = Vec::new();
    let own = cancel.below().unwrap();
    let exit = Sandbox::program(env!("CARGO_BIN_EXE_sandbox-child")).run_traced(
        spec,
        &mut output,
        &own.clone(),
        &mut |told| match told {
            Told::Serve { tree, device } => {
                let own = own.clone();
                serving.push(trees[tree].serve(device, move || own.cancel()).unwrap());
            }
            Told::Cancelled => serving.iter().for_each(Serving::stop),
            told => panic!("{told:?}"),
        },
    );
    let failed = serving.iter().find_map(Serving::failure).map(|(path, _)| path);
    Ran { exit, out, upper: spec.upper.clone(), failed }
}

/// A step on the layers of a lab, all of them served.
pub fn served(lab: &Lab, script: &str) -> (RunSpec, ServedTree, Arc<Folders>) {
    served_with(lab, script, |_| ())
}

pub fn served_with(lab: &Lab, script: &str, change: impl FnOnce(&mut Folders)) -> (RunSpec, ServedTree, Arc<Folders>) {
    let (tree, mut folders) = tree_of(&lab.layers);
    change(&mut folders);
    let folders = Arc::new(folders);
    let spec = RunSpec { lower: vec![Lower::Served(0)], served: 1, ..lab.spec(script) };
    (spec, ServedTree { tree, contents: folders.clone() }, folders)
}

/// What a step printed, and the layer that it left.
#[derive(Debug, PartialEq)]
pub struct Seen {
    pub out: String,
    pub layer: Vec<String>,
}

impl Seen {
    fn of(out: String, upper: &Path) -> Self {
        let index: LayerIndex = capture(upper, Overlay::Trusted).unwrap();
        let layer = index.iter().map(|entry| format!("{:?}", shiplap_cache::Entry { mtime: 0, ..entry })).collect();
        Self { out, layer }
    }
}

/// Runs a script on the layers' directories, on all layers served, and on the lower ones served, and demands that it makes no difference.
#[track_caller]
pub fn the_same(lab: &Lab, user: Option<&str>, script: &str) -> Seen {
    let tools = Mount::Bind {
        source: BindSource::Host("/usr".into()),
        subpath: "/".into(),
        target: "/usr".into(),
        read_only: true,
    };
    let cancel = Cancel::new().unwrap();
    let on = |lower: Vec<Lower>, trees: &[ServedTree]| {
        let mut spec = RunSpec { lower, served: trees.len(), user: user.map(Into::into), ..lab.spec(script) };
        spec.mounts.push(tools.clone());
        spec.env = vec![("PATH".into(), "/usr/bin:/bin".into()), ("LC_ALL".into(), "C".into())];
        // An error is part of what is the same.
        spec.argv = vec!["/usr/bin/bash".into(), "-c".into(), format!("exec 2>&1; {script}\nexit 0")];
        let ran = run(&spec, trees, &cancel, |_| ());
        let upper = ran.upper.clone();
        let out = ran.ok();
        Seen::of(out, &upper)
    };
    let directories = on(lab.layers.iter().cloned().map(Into::into).collect(), &[]);
    for above in [0, 1, 2] {
        let (above, below) = lab.layers.split_at(above);
        let (tree, folders) = tree_of(below);
        let lower = above.iter().cloned().map(Into::into).chain([Lower::Served(0)]).collect();
        let seen = on(lower, &[ServedTree { tree, contents: Arc::new(folders) }]);
        let differing = seen.out.lines().zip(directories.out.lines()).find(|(seen, other)| seen != other);
        assert_eq!(differing, None, "{} layers above", above.len());
        assert_eq!(seen, directories, "{} layers above", above.len());
    }
    directories
}

/// A lab with one of everything that layers may hold, spread over five of them.
pub fn full() -> Lab {
    let mut lab = Lab::new();
    let root = lab.layers[0].clone();
    for dir in ["usr", "data/sub/deep", "data/empty", "data/own", "opaque/old", "many", "opt"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (link, target) in
        [("lib", "usr/lib"), ("lib64", "usr/lib64"), ("data/link", "sub/deep"), ("data/dangling", "x")]
    {
        symlink(target, root.join(link)).unwrap();
    }
    for n in 0..2000 {
        fs::write(root.join(format!("many/file-{n}")), format!("{n}\n").repeat(n % 7)).unwrap();
    }
    fs::write(root.join("data/big"), (0..3_000_017_u32).map(|n| (n / 251) as u8).collect::<Vec<_>>()).unwrap();
    fs::write(root.join("data/empty-file"), "").unwrap();
    fs::write(root.join("data/sub/odd \u{e9}\n name"), "odd\n").unwrap();
    fs::write(root.join("data/a"), "one file\n").unwrap();
    fs::hard_link(root.join("data/a"), root.join("data/b")).unwrap();
    fs::hard_link(root.join("data/a"), root.join("data/sub/c")).unwrap();
    fs::write(root.join("data/bob"), "of bob\n").unwrap();
    chown(root.join("data/bob"), Some(3333), Some(100)).unwrap();
    fs::set_permissions(root.join("data/bob"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::write(root.join("data/private"), "of root\n").unwrap();
    fs::set_permissions(root.join("data/private"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(root.join("data/own"), fs::Permissions::from_mode(0o2770)).unwrap();
    // Read by bob alone, by an access control list: version, then user, 3333, group, mask and others (linux/posix_acl_xattr.h).
    fs::write(root.join("data/listed"), "listed\n").unwrap();
    fs::set_permissions(root.join("data/listed"), fs::Permissions::from_mode(0o640)).unwrap();
    let list: Vec<u8> = [(1u16, 6u16, u32::MAX), (2, 4, 3333), (4, 0, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
        .into_iter()
        .flat_map(|(tag, rights, id)| [&tag.to_le_bytes()[..], &rights.to_le_bytes(), &id.to_le_bytes()].concat())
        .collect();
    let list = [&2u32.to_le_bytes()[..], &list].concat();
    lsetxattr(root.join("data/listed"), "system.posix_acl_access", &list, XattrFlags::empty()).unwrap();
    lsetxattr(root.join("data/a"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    mknodat(CWD, root.join("data/fifo"), FileType::Fifo, Mode::from_raw_mode(0o622), 0).unwrap();
    mknodat(CWD, root.join("data/null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(1, 3)).unwrap();
    mknodat(CWD, root.join("data/disk"), FileType::BlockDevice, Mode::from_raw_mode(0o660), makedev(7, 300)).unwrap();
    // A setuid program, and one with a capability (cap_net_raw+ep: struct vfs_cap_data, version 2).
    for name in ["plain", "setuid", "capable"] {
        fs::copy(look(), root.join("bin").join(name)).unwrap();
    }
    fs::set_permissions(root.join("bin/setuid"), fs::Permissions::from_mode(0o4755)).unwrap();
    let raw: Vec<u8> = [0x0200_0001u32, 1 << 13, 0, 0, 0].into_iter().flat_map(u32::to_le_bytes).collect();
    lsetxattr(root.join("bin/capable"), "security.capability", &raw, XattrFlags::empty()).unwrap();

    // What later steps did to it.
    for script in [
        "rm /many/file-7; rm -r /data/empty; echo new > /many/new; chmod 700 /data/sub",
        "rm -r /opaque; mkdir /opaque; echo young > /opaque/young; mv /data/b /data/b2; ln -sf a /data/link2",
        "rm /many/new; mkdir -p /data/empty/again; touch -d @1000000000 /data/empty/again/old; ln /data/empty/again/old /data/twin",
        "rm -r /data/empty; echo 2 > /top",
    ] {
        let ran = lab.sh(script);
        let upper = ran.upper.clone();
        ran.ok();
        lab.layers.insert(0, upper);
    }
    assert_eq!(fs::metadata(root.join("data/a")).unwrap().nlink(), 3);
    lab
}

/// `look.c` as a static program.
fn look() -> PathBuf {
    static LOOK: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let folder = tempfile::Builder::new().prefix("shiplap-look-").tempdir().unwrap().keep();
        let (source, program) = (folder.join("look.c"), folder.join("look"));
        fs::write(&source, include_str!("look.c")).unwrap();
        let cc = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(&source).status();
        assert!(cc.expect("a C compiler").success());
        program
    };
    LOOK.get_or_init(build).clone()
}
