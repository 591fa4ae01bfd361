//! Runs a script on a small tree and says what it was seen to ask.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, OnceLock};

use shiplap_builder::sandbox::{Cancel, Exit, RunSpec, Sandbox, Stream, Told};
use shiplap_builder::trace::{Trace, Tracer};
use shiplap_cache::{Overlay, Tree, capture};

use crate::sandbox::lab::Lab;

/// A step that was watched.
pub struct Seen {
    pub trace: Trace,
    pub exit: Exit,
    pub out: String,
}

impl Seen {
    /// What was asked, as `/path Content`. Of a step that is not watched there is nothing.
    pub fn asked(&self) -> Vec<String> {
        self.trace.set.observations().iter().map(|o| format!("{} {:?}", o.path, o.asked)).collect()
    }

    #[track_caller]
    pub fn has(&self, wanted: &[&str]) -> &Self {
        assert_eq!(self.trace.untraced, None);
        let asked = self.asked();
        for wanted in wanted {
            assert!(asked.iter().any(|a| a == wanted), "{wanted} is not among {asked:#?}\n{}", self.out);
        }
        self
    }

    /// Nothing was asked of these paths or of anything below them.
    #[track_caller]
    pub fn lacks(&self, unwanted: &[&str]) -> &Self {
        let asked = self.asked();
        for unwanted in unwanted {
            let below = format!("{unwanted}/");
            let met = asked.iter().find(|a| a.starts_with(&below) || a.starts_with(&format!("{unwanted} ")));
            assert!(met.is_none(), "{met:?} in {asked:#?}");
        }
        self
    }

    #[track_caller]
    pub fn ok(&self) -> &Self {
        assert_eq!(self.exit, Exit::Code(0), "{}", self.out);
        self
    }
}

/// A tree with what the tests look at in `/in`.
pub fn tree() -> Lab {
    let lab = Lab::new();
    let root = &lab.layers[0];
    for dir in ["in/deep/er", "in/other", "opt", "work"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    for (file, text) in [("in/a", "1"), ("in/deep/er/b", "2"), ("in/other/c", "3"), ("in/same", "4")] {
        fs::write(root.join(file), text).unwrap();
    }
    let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, root.join(at)).unwrap();
    link("deep", "in/to-deep");
    link("/in/to-deep/er", "in/chain");
    link("nowhere", "in/dangling");
    fs::copy(probe(), root.join("bin/probe")).unwrap();
    lab
}

/// The layers of a lab as one tree, seen from their indices.
pub fn index(lab: &Lab) -> Arc<Tree> {
    Tree::new(lab.layers.iter().rev().map(|layer| Arc::new(capture(layer, Overlay::Trusted).unwrap())))
}

/// Runs a script and watches it.
pub fn watch(lab: &Lab, script: &str) -> Seen {
    watch_spec(lab, lab.spec(script))
}

pub fn watch_spec(lab: &Lab, spec: RunSpec) -> Seen {
    watch_by(lab, spec, false)
}

/// As [`watch_spec`]; `polling` does as on older kernels.
pub fn watch_by(lab: &Lab, spec: RunSpec, polling: bool) -> Seen {
    let spec = RunSpec { trace: true, ..spec };
    let tree = index(lab);
    let own = ["/proc", "/sys", "/dev", "/etc/hosts", "/etc/resolv.conf"];
    let tracer = Tracer::new(&tree, own.into_iter().chain(spec.mounts.iter().map(|m| m.target())));
    let mut out = Vec::new();
    let mut output = |_: Stream, bytes: &[u8]| out.extend_from_slice(bytes);
    let exit = std::thread::scope(|scope| {
        let sandbox = Sandbox::program(env!("CARGO_BIN_EXE_sandbox-child"));
        sandbox.run_traced(&spec, &mut output, &Cancel::new().unwrap(), &mut |told| match told {
            Told::Traced(listener) if polling => tracer.follow_by_polling(scope, listener),
            Told::Traced(listener) => tracer.follow(scope, listener),
            Told::Untraced(why) => tracer.give_up(why),
            told => panic!("{told:?}"),
        })
    });
    let layer = capture(&spec.upper, Overlay::Trusted).unwrap();
    Seen { trace: tracer.finish(&layer), exit: exit.unwrap(), out: String::from_utf8_lossy(&out).into_owned() }
}

/// `probe.c` as a static program: `probe WHAT ARGUMENT...`.
fn probe() -> PathBuf {
    static PROBE: OnceLock<PathBuf> = OnceLock::new();
    let build = || {
        let folder = tempfile::Builder::new().prefix("shiplap-probe-").tempdir().unwrap().keep();
        let (source, program) = (folder.join("probe.c"), folder.join("probe"));
        fs::write(&source, include_str!("probe.c")).unwrap();
        let cc = Command::new("cc").args(["-static", "-pthread", "-O1", "-o"]).arg(&program).arg(&source).status();
        assert!(cc.expect("a C compiler").success());
        program
    };
    PROBE.get_or_init(build).clone()
}
