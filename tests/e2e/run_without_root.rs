//! A user without root, with a range of subordinate ids, as Debian gives to each new user.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::common::{Home, Ran, SHIPLAP, sh};

/// A user of this machine, for one test.
pub struct User {
    name: String,
    /// Its number, and that of its group.
    pub id: String,
}

impl User {
    /// None, with the reason printed, where users cannot be made.
    pub fn new() -> Option<Self> {
        if !is_root() {
            eprintln!("skipped: only root makes users");
            return None;
        }
        let name = format!("shiplap-e2e-{}", std::process::id());
        sh(Command::new("useradd").args(["-M", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", &name]));
        let id = sh(Command::new("id").args(["-u", &name]));
        let range = "1600000000-1600065535";
        sh(Command::new("usermod").args(["--add-subuids", range, "--add-subgids", range, &name]));
        Some(Self { name, id })
    }

    /// A program that runs as this user.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &self.id, "--regid", &self.id, "--clear-groups"]).arg(program);
        command
    }

    fn runs(&self, home: &Home, args: &[&str]) -> Ran {
        let mut command = self.command(home.path("shiplap"));
        command.args(args).env_clear().envs(home.environment()).env("USER", &self.name).current_dir(home.work());
        Ran::of(command.output().unwrap())
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.name).status();
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn builds_releases_and_takes_images_elsewhere() {
    let Some(user) = User::new() else { return };
    let (home, root) = (Home::new(), Home::with_base());
    // The folder of the program may be closed to others.
    fs::copy(SHIPLAP, home.path("shiplap")).unwrap();
    root.run(["export", "base:1", home.work().join("base.tar").to_str().unwrap(), "--format", "docker-archive"]).ok();
    let dockerfile = "
FROM base:1
COPY page /srv/
RUN chown bob:bob /srv/page && chmod 4755 /srv/page && touch /of-root && rm /bin/wget
USER bob
RUN id -u >/tmp/id
";
    home.write("Dockerfile", dockerfile);
    home.write("page", "hello");
    sh(Command::new("chown").args(["-R", &format!("{0}:{0}", user.id)]).arg(home.path("")));
    user.runs(&home, &["doctor"]).ok().says("this machine can build images");
    user.runs(&home, &["import", "base.tar"]).ok();
    user.runs(&home, &["build", "-t", "app:1", "."]).ok().says("3 run");
    user.runs(&home, &["build", "-t", "app:1", "."]).ok().says("3 steps reused, 0 run");
    user.runs(&home, &["export", "app:1", "root.tar", "--format", "rootfs"]).ok();

    // Owners are those inside, not the subordinate ids that stand for them.
    root.run(["import", home.work().join("root.tar").to_str().unwrap(), "from-user:1"]).ok();
    let listed = sh(Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(home.work().join("root.tar")));
    let line = |path: &str| {
        let found = listed.lines().find(|line| line.ends_with(path));
        found
            .unwrap_or_else(|| panic!("no {path} in {listed}"))
            .split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("srv/page"), "-rwsr-xr-x 3333/3333");
    assert_eq!(line("of-root"), "-rw-r--r-- 0/0");
    assert_eq!(root.file("from-user:1", "tmp/id"), "3333\n");
    assert!(!listed.contains("bin/wget"));

    // Files in a folder are the user's own.
    user.runs(&home, &["build", "-o", "out", "."]).ok();
    let page = fs::metadata(home.work().join("out/srv/page")).unwrap();
    assert_eq!((page.uid().to_string(), page.mode() & 0o7777), (user.id.clone(), 0o4755));
    sh(Command::new("setpriv").args(["--reuid", &user.id, "--clear-groups", "rm", "-r"]).arg(home.work().join("out")));

    // Root's store is not the user's, and the other way round: owners mean other things there.
    let other = root.command(["images"]).env("SHIPLAP_HOME", home.store()).output().unwrap();
    Ran::of(other).ends_with(6);
}
