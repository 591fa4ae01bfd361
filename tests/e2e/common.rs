//! A store and a folder to work in, a small base image, git repositories, and the program run on them.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// The program under test.
pub const SHIPLAP: &str = env!("CARGO_BIN_EXE_shiplap");

/// The base image that `Home::with_base` imports: busybox and little else.
pub const BASE: &str = "base:1";

const APPLETS: &str = "sh cat echo ls id env grep stat mkdir rm rmdir mv cp ln touch sleep chmod chown test sort head \
                       tail wc readlink hostname true false ps awk cut tr find dd su seq date sed tar basename dirname \
                       printf md5sum sha256sum expr wget nc httpd xargs";

/// A store, a folder to work in, and nothing of the tester's own settings.
pub struct Home {
    folder: TempDir,
}

impl Home {
    /// An empty store.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("shiplap-e2e-").tempdir().unwrap();
        // Steps and unprivileged users go through it.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let home = Self { folder };
        for name in ["work", "user", "tmp"] {
            fs::create_dir(home.path(name)).unwrap();
        }
        home
    }

    /// A store that has the image `BASE`.
    pub fn with_base() -> Self {
        let home = Self::new();
        home.import_base(BASE);
        home
    }

    /// Imports the small base image under a name.
    pub fn import_base(&self, name: &str) {
        let tar = self.path("base.tar");
        busybox_tar(&tar);
        let changes = ["--change", "ENV PATH=/usr/bin:/bin", "--change", "CMD [\"/bin/sh\"]"];
        self.run([&["import", tar.to_str().unwrap(), name], &changes[..]].concat()).ok();
        fs::remove_file(tar).unwrap();
    }

    /// A path in the folder of this home.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `SHIPLAP_HOME`.
    pub fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// The folder that commands run in.
    pub fn work(&self) -> PathBuf {
        self.path("work")
    }

    /// Writes a file below the working folder, with the folders on the way.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        write(&self.work().join(path), content)
    }

    /// The program with arguments, ready to run in the working folder.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(SHIPLAP);
        command.args(args).current_dir(self.work()).stdin(Stdio::null());
        command.env_clear().envs(self.environment());
        command
    }

    /// What the program finds in its environment: nothing of the tester's.
    pub fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("PATH", std::env::var_os("PATH").unwrap_or_default().into()),
            ("HOME", self.path("user")),
            ("TMPDIR", self.path("tmp")),
            ("SHIPLAP_HOME", self.store()),
            ("SHIPLAP_ACTOR", "ada".into()),
            ("DOCKER_CONFIG", self.path("user/.docker")),
            ("GIT_CONFIG_GLOBAL", "/dev/null".into()),
            ("LC_ALL", "C.UTF-8".into()),
        ]
    }

    /// Runs the program.
    #[track_caller]
    pub fn run<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    /// Runs the program with `--json` and reads what it prints; it must end well.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        self.run([&["--json"], args].concat()).ok().json()
    }

    /// Builds the working folder with this Dockerfile as `name`, and says what its steps came to.
    #[track_caller]
    pub fn build(&self, name: &str, dockerfile: &str, flags: &[&str]) -> BuiltImage {
        self.write("Dockerfile", dockerfile);
        self.build_again(name, flags)
    }

    /// Builds the working folder as it is.
    #[track_caller]
    pub fn build_again(&self, name: &str, flags: &[&str]) -> BuiltImage {
        let ran = self.run([&["--json", "build", "-t", name], flags, &["."]].concat()).ok();
        BuiltImage(ran.json()["images"][0].clone())
    }

    /// The files of an image, by path: what is in them, or where a link points (`-> target`), or nothing for a folder (`path/`).
    #[track_caller]
    pub fn files(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let tar = self.command(["export", name, "-", "--format", "rootfs"]).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(tar.stdout.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            match entry.link_name().unwrap() {
                Some(target) => content.extend_from_slice(format!("-> {}", target.display()).as_bytes()),
                None => drop(entry.read_to_end(&mut content).unwrap()),
            }
            files.insert(path.trim_start_matches("./").to_owned(), content);
        }
        files
    }

    /// The configuration of an image, as `docker inspect` would find it.
    #[track_caller]
    pub fn config(&self, name: &str) -> Value {
        let tar = self.command(["export", name, "-", "--format", "docker-archive"]).output().unwrap();
        assert!(tar.status.success(), "{}", String::from_utf8_lossy(&tar.stderr));
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(tar.stdout.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            found.insert(path, content);
        }
        let manifest: Value = serde_json::from_slice(&found["manifest.json"]).unwrap();
        serde_json::from_slice(&found[manifest[0]["Config"].as_str().unwrap()]).unwrap()
    }

    /// A text file of an image.
    #[track_caller]
    pub fn file(&self, name: &str, path: &str) -> String {
        let mut files = self.files(name);
        let content = files.remove(path).unwrap_or_else(|| panic!("no {path} in {:?}", files.keys()));
        String::from_utf8(content).unwrap()
    }
}

/// What `shiplap --json build` says of an image.
pub struct BuiltImage(pub Value);

impl BuiltImage {
    pub fn id(&self) -> &str {
        self.0["id"].as_str().unwrap()
    }

    /// The steps that ran, by their text.
    pub fn ran(&self) -> Vec<&str> {
        self.steps_that(|outcome| outcome == "ran")
    }

    /// The steps that did not run.
    pub fn reused(&self) -> Vec<&str> {
        self.steps_that(|outcome| outcome == "cached" || outcome == "reused")
    }

    fn steps_that(&self, wanted: impl Fn(&str) -> bool) -> Vec<&str> {
        let steps = self.0["steps"].as_array().unwrap();
        let wanted = steps.iter().filter(|step| wanted(step["outcome"].as_str().unwrap()));
        wanted.map(|step| step["text"].as_str().unwrap()).collect()
    }
}

/// What a run of the program came to.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Ran {
    pub fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// It must have ended well.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.ends_with(0)
    }

    /// It must have ended with this exit code.
    #[track_caller]
    pub fn ends_with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "out: {}\nerr: {}", self.out, self.err);
        self
    }

    /// Both outputs must say this; where lines are broken and the frame around an error do not count.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let all = format!("{}\n{}", self.out, self.err);
        assert!(squash(&all).contains(&squash(text)), "`{text}` is not in:\n{all}");
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}: {}", self.out))
    }
}

/// A text without white space and frames: long messages are broken into lines, anywhere.
fn squash(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace() && !('\u{2500}'..='\u{257f}').contains(c)).collect()
}

/// Writes a file with the folders on the way.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> PathBuf {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    path.to_owned()
}

/// Makes the root file system of the small base image, as a tar whose bytes are always the same.
fn busybox_tar(tar: &Path) {
    let root = tempfile::tempdir().unwrap();
    let at = |path: &str| root.path().join(path);
    for folder in ["bin", "usr/bin", "etc", "proc", "root", "tmp", "home/bob", "var/tmp"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    for folder in ["tmp", "var/tmp"] {
        fs::set_permissions(at(folder), fs::Permissions::from_mode(0o1777)).unwrap();
    }
    let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    fs::copy(busybox.expect("Debian's package busybox-static is installed"), at("bin/busybox")).unwrap();
    for applet in APPLETS.split_whitespace() {
        symlink("busybox", at("bin").join(applet)).unwrap();
    }
    fs::write(at("etc/passwd"), "root::0:0:root:/root:/bin/sh\nbob:x:3333:3333::/home/bob:/bin/sh\n").unwrap();
    fs::write(at("etc/group"), "root:x:0:\nbob:x:3333:\n").unwrap();
    let flags = ["--sort=name", "--mtime=@1735689600", "--owner=0", "--group=0", "--numeric-owner", "-cf"];
    sh(Command::new("tar").args(flags).arg(tar).arg("-C").arg(root.path()).arg("."));
}

/// Runs a program that must end well, and gives what it printed.
#[track_caller]
pub fn sh(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A git repository.
pub struct Repo {
    pub path: PathBuf,
}

impl Repo {
    /// Makes one of a folder, with all that is in it in a first commit.
    pub fn of(path: &Path) -> Self {
        let repo = Self { path: path.to_owned() };
        fs::create_dir_all(path).unwrap();
        repo.git(&["init", "-q", "-b", "main"]);
        repo.commit("first");
        repo
    }

    /// Runs git in it.
    #[track_caller]
    pub fn git(&self, args: &[&str]) -> String {
        let identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"];
        sh(Command::new("git")
            .arg("-C")
            .arg(&self.path)
            .args(identity)
            .args(args)
            .env("GIT_CONFIG_GLOBAL", "/dev/null"))
    }

    /// Writes a file in it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        write(&self.path.join(path), content);
    }

    /// Commits everything and gives the commit.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "-A"]);
        self.git(&["commit", "-q", "--allow-empty", "-m", message]);
        self.git(&["rev-parse", "HEAD"])
    }
}
