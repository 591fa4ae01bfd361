//! The same as a user without root, in a user namespace.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use shiplap_builder::sandbox::{Mount, Network, RunSpec};

use super::lab::{Lab, child};

/// A user made for one test, with or without subordinate ids.
pub struct User {
    name: String,
    uid: u32,
}

const FIRST_SUBORDINATE: u32 = 1_700_000_000;

impl User {
    pub fn new(subordinate_ids: bool) -> Self {
        let name = format!("shiplap{}{}", std::process::id(), if subordinate_ids { "s" } else { "n" });
        let _ = must(Command::new("useradd").args(["-M", "-K", "SUB_UID_COUNT=0", "-K", "SUB_GID_COUNT=0", &name]));
        let uid = must(Command::new("id").args(["-u", &name])).trim().parse().unwrap();
        let user = Self { name, uid };
        if subordinate_ids {
            let range = format!("{FIRST_SUBORDINATE}-{}", FIRST_SUBORDINATE + 65535);
            must(Command::new("usermod").args(["--add-subuids", &range, "--add-subgids", &range, &user.name]));
        }
        user
    }

    /// What an id of the user's namespace is outside.
    pub fn inside(&self, id: u32) -> u32 {
        FIRST_SUBORDINATE + id - 1
    }

    pub fn runs(&self, program: &Path, spec: &RunSpec) -> String {
        self.runs_by(&mut Command::new("setpriv"), program, spec, &[])
    }

    /// As [`User::runs`], with a device of FUSE in the place where that is, and these layers, topmost first, served.
    pub fn runs_served(&self, fuse: &Path, program: &Path, spec: &RunSpec, layers: &[PathBuf]) -> String {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", "mount --bind \"$0\" /dev/fuse; exec setpriv \"$@\""]).arg(fuse);
        self.runs_by(&mut command, program, spec, layers)
    }

    fn runs_by(&self, command: &mut Command, program: &Path, spec: &RunSpec, layers: &[PathBuf]) -> String {
        let uid = self.uid.to_string();
        let mut child = command
            .args(["--reuid", &uid, "--regid", &uid, "--clear-groups"])
            .arg(program)
            .arg("rootless")
            .args(layers)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that stops early does not read it.
        let _ = child.stdin.take().unwrap().write_all(&serde_json::to_vec(spec).unwrap());
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = Command::new("userdel").arg(&self.name).status();
    }
}

fn must(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A lab with a copy of the program that the user can reach.
pub fn lab_and_program() -> (Lab, PathBuf) {
    let lab = Lab::new();
    let program = lab.path("program");
    fs::copy(child(), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (lab, program)
}

pub fn give(lab: &Lab, user: &User) {
    for entry in walkdir::WalkDir::new(lab.dir.path()) {
        std::os::unix::fs::lchown(entry.unwrap().path(), Some(user.uid), Some(user.uid)).unwrap();
    }
    chown(lab.dir.path(), Some(user.uid), Some(user.uid)).unwrap();
}

#[test]
fn a_user_with_subordinate_ids_runs_steps() {
    let user = User::new(true);
    let (lab, program) = lab_and_program();
    let cache = lab.path("cache");
    fs::create_dir(&cache).unwrap();
    let mut spec = lab.spec(
        "id -u; grep -E 'Cap(Eff|Bnd)' /proc/self/status | tr -d '\\t'
         echo new > /file; rm /etc/group; rm -r /home; mkdir /home; touch /home/x; chown 3333:100 /file
         echo c > /c/kept; cat /s; ls /dev/pts; head -c 2 /dev/zero | wc -c; test -r /sys/class/net",
    );
    spec.mounts = vec![
        Mount::Cache { dir: cache.clone(), target: "/c".into(), read_only: false },
        Mount::Secret { contents: b"secret\n".to_vec(), target: "/s".into(), mode: 0o400, uid: 0, gid: 0 },
    ];
    give(&lab, &user);
    let said = user.runs(&program, &spec);
    assert_eq!(said, "0\nCapEff:00000000a80425fb\nCapBnd:00000000a80425fb\nsecret\nptmx\n2\nexit: Code(0)\n");
    // Root inside is the user, others are its subordinate ids.
    let file = fs::metadata(spec.upper.join("file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (FIRST_SUBORDINATE + 3332, FIRST_SUBORDINATE + 99));
    let kept = fs::metadata(cache.join("kept")).unwrap();
    assert_eq!(kept.uid(), user.uid);
    assert!(fs::symlink_metadata(spec.upper.join("etc/group")).unwrap().file_type().is_char_device());
    let mut opaque = [0; 8];
    assert_eq!(rustix::fs::getxattr(spec.upper.join("home"), "user.overlay.opaque", &mut opaque), Ok(1));
    assert!(!spec.upper.join("c").exists() && !spec.upper.join("s").exists());

    // What one step left is a layer for the next, as another user and without a network.
    let mut next = lab.spec("id -u; cat /file; test ! -e /etc/group; ls /home; ls /sys/class/net");
    next.lower.insert(0, spec.upper.into());
    next.user = Some("3333:100".into());
    next.network = Network::None;
    for path in [&next.upper, &next.work, &next.work.parent().unwrap().to_owned()] {
        chown(path, Some(user.uid), Some(user.uid)).unwrap();
    }
    assert_eq!(user.runs(&program, &next), "3333\nnew\nx\nlo\nexit: Code(0)\n");
}

#[test]
fn a_user_without_subordinate_ids_is_told() {
    let user = User::new(false);
    let (lab, program) = lab_and_program();
    let spec = lab.spec("true");
    give(&lab, &user);
    let said = user.runs(&program, &spec);
    assert!(said.starts_with("error: ") && said.contains("/etc/subuid") && said.contains("usermod"), "{said}");
}
