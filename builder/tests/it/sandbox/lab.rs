//! A tree to run steps in: a static busybox and the few files of `/etc` that a step looks at.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use shiplap_builder::sandbox::{Cancel, Exit, Mount, Network, RunSpec, Sandbox, SandboxError, Stream};
use tempfile::TempDir;

const CHILD: &str = env!("CARGO_BIN_EXE_sandbox-child");

pub struct Lab {
    pub dir: TempDir,
    /// Topmost first.
    pub layers: Vec<PathBuf>,
}

pub struct Ran {
    pub exit: Exit,
    pub out: String,
    pub err: String,
    pub upper: PathBuf,
}

impl Ran {
    /// What the step printed; it must have ended well.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.exit, Exit::Code(0), "out: {} err: {}", self.out, self.err);
        self.out
    }

    /// Every path in the upper directory, sorted.
    pub fn changed(&self) -> Vec<String> {
        let mut found: Vec<_> = walkdir::WalkDir::new(&self.upper)
            .min_depth(1)
            .into_iter()
            .map(|entry| {
                let path = entry.unwrap().into_path();
                path.strip_prefix(&self.upper).unwrap().to_str().unwrap().to_owned()
            })
            .collect();
        found.sort();
        found
    }
}

impl Lab {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("shiplap-sandbox-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mut lab = Self { dir, layers: Vec::new() };
        let root = lab.layer();
        for name in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "home/bob"] {
            fs::create_dir_all(root.join(name)).unwrap();
        }
        fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
        fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
        for applet in
            "sh cat echo ls id env grep stat mkdir rm mv ln touch sleep kill chmod chown test sort head tail wc \
                       readlink hostname nc ip ifconfig mknod mount true false ps awk cut tr sync find dd su seq umask"
                .split_whitespace()
        {
            symlink("busybox", root.join("bin").join(applet)).unwrap();
        }
        let passwd = "root::0:0:root:/root:/bin/sh\nbob:x:3333:100::/home/bob:/bin/sh\n";
        fs::write(root.join("etc/passwd"), passwd).unwrap();
        fs::write(root.join("etc/group"), "root:x:0:\nusers:x:100:\naudio:x:29:bob\nextra:x:4444:bob,root\n").unwrap();
        fs::write(root.join("etc/hosts"), "127.0.0.1 of-the-image\n").unwrap();
        lab
    }

    /// A new, empty layer on top.
    pub fn layer(&mut self) -> PathBuf {
        let dir = self.path(&format!("layer{}", self.layers.len()));
        fs::create_dir(&dir).unwrap();
        self.layers.insert(0, dir.clone());
        dir
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn spec(&self, script: &str) -> RunSpec {
        // A directory for each run: a lab may run several steps.
        let run = (0..).map(|n| self.path(&format!("run{n}"))).find(|path| !path.exists()).unwrap();
        for name in ["upper", "work"] {
            fs::create_dir_all(run.join(name)).unwrap();
        }
        RunSpec {
            lower: self.layers.iter().cloned().map(Into::into).collect(),
            served: 0,
            upper: run.join("upper"),
            work: run.join("work"),
            argv: vec!["/bin/sh".into(), "-ec".into(), script.into()],
            env: vec![("PATH".into(), "/usr/bin:/bin".into())],
            cwd: "/".into(),
            user: None,
            mounts: Vec::new(),
            network: Network::Host,
            hostname: "buildkitsandbox".into(),
            extra_hosts: Vec::new(),
            shm_size: None,
            ulimits: Vec::new(),
            stdin: None,
            trace: false,
        }
    }

    /// Runs a shell script.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Ran {
        run(&self.spec(script)).unwrap()
    }

    /// Runs a shell script with mounts.
    #[track_caller]
    pub fn with(&self, mounts: Vec<Mount>, script: &str) -> Ran {
        let mut spec = self.spec(script);
        spec.mounts = mounts;
        run(&spec).unwrap()
    }
}

pub fn run(spec: &RunSpec) -> Result<Ran, SandboxError> {
    run_until(spec, &Cancel::new().unwrap(), |_, _| {})
}

/// Runs a step and shows every piece of its output to `watch` as well.
pub fn run_until(
    spec: &RunSpec,
    cancel: &Cancel,
    mut watch: impl FnMut(Stream, &[u8]) + Send,
) -> Result<Ran, SandboxError> {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let mut output = |stream: Stream, bytes: &[u8]| {
        match stream {
            Stream::Stdout => out.extend_from_slice(bytes),
            Stream::Stderr => err.extend_from_slice(bytes),
        }
        watch(stream, bytes);
    };
    let exit = Sandbox::program(CHILD).run(spec, &mut output, cancel)?;
    Ok(Ran {
        exit,
        out: String::from_utf8(out).unwrap(),
        err: String::from_utf8(err).unwrap(),
        upper: spec.upper.clone(),
    })
}

pub fn child() -> &'static Path {
    Path::new(CHILD)
}
