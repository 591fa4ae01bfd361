//! What the base images of cases are made of: busybox, the helper, and Python where there is one.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const APPLETS: &str = "sh cat echo ls id grep stat mkdir rm rmdir mv cp ln touch chmod chown test [ sort head readlink \
                       xargs true false cut tr find sed tar md5sum cmp";

/// Modules of Python's library that the programs use, and those that they use.
const MODULES: &str = "encodings collections re abc codecs io os stat posixpath genericpath _collections_abc _sitebuiltins \
                       glob fnmatch functools keyword operator reprlib types enum copyreg contextlib itertools warnings \
                       sre_compile sre_parse sre_constants _weakrefset weakref traceback linecache";

pub struct Tools {
    folder: TempDir,
    /// Why there is no Python, if there is none.
    pub no_python: Option<String>,
}

impl Tools {
    pub fn make() -> Self {
        let folder = tempfile::Builder::new().prefix("shiplap-tools-").tempdir().unwrap();
        let root = folder.path().join("root");
        for name in ["bin", "tools", "results", "dev", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["results", "tmp"] {
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o1777)).unwrap();
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
        fs::copy(busybox.expect("Debian's package busybox-static is installed"), root.join("bin/busybox")).unwrap();
        for applet in APPLETS.split_whitespace() {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        compile_helper(&root.join("tools/helper"));
        pack(&root, &folder.path().join("tools.tar"));
        let no_python = add_python(&root).err();
        if no_python.is_none() {
            pack(&root, &folder.path().join("python.tar"));
        }
        Self { folder, no_python }
    }

    /// The base images: name and tar.
    pub fn images(&self) -> impl Iterator<Item = (&'static str, PathBuf)> {
        let images = [("tools:1", "tools.tar"), ("python:1", "python.tar")];
        images.map(|(name, tar)| (name, self.folder.path().join(tar))).into_iter().filter(|(_, tar)| tar.exists())
    }
}

fn compile_helper(to: &Path) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/soundness/helper/main.rs");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let flags = ["--edition=2024", "-O", "-Ctarget-feature=+crt-static", "-Cstrip=symbols", "-o"];
    run(Command::new(rustc).args(flags).arg(to).arg(source)).unwrap();
}

fn pack(root: &Path, tar: &Path) {
    let flags = ["--sort=name", "--mtime=@1735689600", "--owner=0", "--group=0", "--numeric-owner", "-cf"];
    run(Command::new("tar").args(flags).arg(tar).arg("-C").arg(root).arg(".")).unwrap();
}

/// Copies this machine's Python, its shared libraries and a few modules to `/python`.
fn add_python(root: &Path) -> Result<(), String> {
    let ask = "import sys, os, sysconfig; print(os.path.realpath(sys.executable)); print(sysconfig.get_path('stdlib'))";
    let answer = run(Command::new("python3").args(["-c", ask]))?;
    let (program, library) = answer.trim().split_once('\n').ok_or("python3 does not say where it is")?;
    let copy = |from: &Path, to: PathBuf| {
        let made = fs::create_dir_all(to.parent().unwrap_or(root)).and_then(|()| fs::copy(from, &to));
        made.map(drop).map_err(|e| format!("{}: {e}", from.display()))
    };
    copy(Path::new(program), root.join("python/bin/python3"))?;
    // `libc.so.6 => /lib/libc.so.6 (0x...)`, and the loader without an arrow
    for word in run(Command::new("ldd").arg(program))?.split_whitespace().filter(|word| word.starts_with('/')) {
        copy(Path::new(word), root.join(word.trim_start_matches('/')))?;
    }
    let library = Path::new(library);
    let name = library.file_name().ok_or("the library of python3 has no name")?;
    let to = root.join("python/lib").join(name);
    for module in MODULES.split_whitespace() {
        let (file, folder) = (library.join(format!("{module}.py")), library.join(module));
        if file.exists() {
            copy(&file, to.join(format!("{module}.py")))?;
        }
        for file in fs::read_dir(&folder).into_iter().flatten().flatten().filter(|f| f.path().is_file()) {
            copy(&file.path(), to.join(module).join(file.file_name()))?;
        }
    }
    let hello = "import os, glob, sys, io; print(os.path.exists('/'), glob.glob('/nothing'))";
    let flags = ["/python/bin/python3", "-B", "-S", "-E", "-c", hello];
    run(Command::new("chroot").arg(root).args(flags)).map(drop)
}

/// Runs a program that must end well, and gives what it printed.
fn run(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
