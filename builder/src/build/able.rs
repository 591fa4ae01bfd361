//! What this machine lets a step have, found out by starting one that has nothing to run.

use std::io;
use std::sync::Arc;

use shiplap_cache::{Contents, LayerId, PendingLayer, Piece, Store, Tree, TreePath};

use super::error::StepError;
use super::reach::Serving;
use crate::sandbox::{Cancel, Lower, Network, RunSpec, Sandbox, SandboxError, Told};
use crate::served::ServedTree;

/// Finds out whether a step can run here: with its namespaces, and in them an overlay on a folder of the store, `/proc` and the other mounts.
///
/// # Errors
/// Something of that is forbidden, as in a container that is not told to allow it, or is not there.
pub fn check_running(sandbox: &Sandbox, store: &Store) -> Result<(), StepError> {
    let pending = store.begin_layer(&Tree::default())?;
    let lower = store.temporary()?;
    let spec = spec(&pending, Lower::Directory(lower.path().to_owned()));
    sandbox.run(&spec, &mut |_, _| (), &Cancel::new().map_err(SandboxError::from)?)?;
    Ok(())
}

/// Finds out whether steps can run on served trees here, by starting one on a tree with nothing in it.
///
/// # Errors
/// There is no FUSE here, it is not for us, or overlayfs does not take it for a layer.
pub fn check_serving(sandbox: &Sandbox, store: &Store) -> Result<(), StepError> {
    let nothing = Arc::new(Tree::default());
    let pending = store.begin_layer(&nothing)?;
    let spec = RunSpec { served: 1, ..spec(&pending, Lower::Served(0)) };
    let tree = ServedTree { tree: nothing, contents: Arc::new(Nothing) };
    let cancel = Cancel::new().map_err(SandboxError::from)?;
    let trees = [tree];
    let mut serving = Serving::new(&trees, &cancel)?;
    let exit = sandbox.run_traced(&spec, &mut |_, _| (), &cancel, &mut |told| {
        if let Told::Serve { tree, device } = told {
            serving.serve(tree, device);
        }
    });
    serving.whole(exit).map(drop)
}

/// There is no program in its tree. To come as far as to look for it is enough.
fn spec(pending: &PendingLayer, lower: Lower) -> RunSpec {
    RunSpec {
        lower: vec![lower],
        served: 0,
        upper: pending.upper(),
        work: pending.work(),
        argv: vec!["/none".to_owned()],
        env: Vec::new(),
        cwd: "/".to_owned(),
        user: None,
        mounts: Vec::new(),
        network: Network::Host,
        hostname: "check".to_owned(),
        extra_hosts: Vec::new(),
        shm_size: None,
        ulimits: Vec::new(),
        stdin: None,
        trace: false,
    }
}

/// The contents of a tree without files.
#[derive(Debug)]
struct Nothing;

impl Contents for Nothing {
    fn open(&self, _: &LayerId, _: &TreePath) -> io::Result<Piece> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn lost(&self) -> Vec<LayerId> {
        Vec::new()
    }
}
