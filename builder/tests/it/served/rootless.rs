//! A served tree in a user namespace. Where only root may open `/dev/fuse`, the test gives its user another one; most machines let everybody.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use rustix::fs::{CWD, FileType, Mode, XattrFlags, lsetxattr, makedev, mknodat};
use shiplap_builder::sandbox::{Lower, RunSpec};

use crate::sandbox::rootless::{User, give, lab_and_program};

#[test]
fn a_user_without_root_sees_the_same() {
    let user = User::new(true);
    let (lab, program) = lab_and_program();
    let root = &lab.layers[0];
    fs::write(root.join("etc/private"), "of root\n").unwrap();
    fs::write(root.join("etc/of-bob"), "of bob\n").unwrap();
    fs::hard_link(root.join("etc/of-bob"), root.join("etc/link")).unwrap();
    lsetxattr(root.join("etc/of-bob"), "user.note", b"kept", XattrFlags::empty()).unwrap();
    for name in ["private", "of-bob"] {
        fs::set_permissions(root.join("etc").join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    let script =
        "id -u; cat /etc/private /etc/of-bob; find /bin /etc /home -exec stat -c '%n %a %u %g %h %F' {} + | sort
                  echo more >> /etc/of-bob; echo new > /tmp/new; rm /etc/group; mv /etc/link /etc/moved; cat /etc/moved
                  ls -l /tmp /etc; exit 0";
    let spec = |name: Option<&str>| {
        let mut spec = lab.spec(&format!("exec 2>&1; set +e; {script}"));
        spec.user = name.map(Into::into);
        spec
    };
    for name in [None, Some("bob")] {
        let directories = spec(name);
        let served = RunSpec { lower: vec![Lower::Served(0)], served: 1, ..spec(name) };
        give(&lab, &user);
        // Bob's files are those of a subordinate id.
        for file in ["etc/of-bob", "home/bob"] {
            chown(root.join(file), Some(user.inside(3333)), Some(user.inside(100))).unwrap();
        }
        let device = lab.path("fuse");
        let _ = fs::remove_file(&device);
        mknodat(CWD, &device, FileType::CharacterDevice, Mode::empty(), makedev(10, 229)).unwrap();
        fs::set_permissions(&device, fs::Permissions::from_mode(0o666)).unwrap();
        let seen = user.runs_served(&device, &program, &served, &lab.layers);
        assert_eq!(seen, user.runs(&program, &directories), "{name:?}");
        assert!(seen.contains("of bob\n") && seen.ends_with("exit: Code(0)\n"), "{seen}");
        assert_eq!(seen.contains("of root\n"), name.is_none(), "{seen}");
        assert_eq!(fs::exists(served.upper.join("etc/moved")).unwrap(), name.is_none());
    }
}
