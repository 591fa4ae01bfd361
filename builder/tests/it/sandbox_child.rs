//! The other side of the sandbox's tests: a program that does nothing but run one step.
//!
//! `sandbox-child __sandbox-child` is the supervisor of a step. `sandbox-child run` reads a step as JSON
//! from its standard input, runs it and prints how it ended; `sandbox-child rootless` does so in a user
//! namespace. Directories that follow are the layers, topmost first, of its served tree. A file in them whose name begins with `slow` never comes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use shiplap_builder::sandbox::{
    CHILD_ARGUMENT, Cancel, RunSpec, Sandbox, Stream, Told, child_main, enter_user_namespace,
};
use shiplap_builder::served::ServedTree;
use shiplap_cache::{Contents, LayerId, Overlay, Piece, Tree, TreePath, capture};

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some(CHILD_ARGUMENT) => child_main(),
        Some("run") => run(),
        Some("rootless") => match enter_user_namespace() {
            Ok(()) => run(),
            Err(error) => println!("error: {error}"),
        },
        other => panic!("unknown argument {other:?}"),
    }
}

fn run() {
    let spec: RunSpec = serde_json::from_reader(io::stdin()).expect("a step on standard input");
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => io::stdout().write_all(bytes).expect("stdout"),
        Stream::Stderr => io::stderr().write_all(bytes).expect("stderr"),
    };
    let cancel = Cancel::new().expect("an event");
    let mut serving = Vec::new();
    let mut told = |told| {
        if let Told::Serve { device, .. } = told {
            serving.push(tree().serve(device, || ()).expect("an answer"));
        }
    };
    match Sandbox::this_program().run_traced(&spec, &mut output, &cancel, &mut told) {
        Ok(exit) => println!("exit: {exit:?}"),
        Err(error) => println!("error: {error}"),
    }
}

fn tree() -> ServedTree {
    let folders: Vec<PathBuf> = std::env::args_os().skip(2).map(Into::into).collect();
    let index = |folder: PathBuf| (Arc::new(capture(&folder, Overlay::detect()).expect("a layer")), folder);
    let layers: Vec<_> = folders.into_iter().rev().map(index).collect();
    let tree = Tree::new(layers.iter().map(|(index, _)| index.clone()));
    let folders = layers.into_iter().map(|(index, folder)| (index.id(), folder)).collect();
    ServedTree { tree, contents: Arc::new(Folders(folders)) }
}

#[derive(Debug)]
struct Folders(HashMap<LayerId, PathBuf>);

impl Contents for Folders {
    fn open(&self, layer: &LayerId, path: &TreePath) -> io::Result<Piece> {
        while path.name().starts_with(b"slow") {
            std::thread::park();
        }
        Piece::open(&path.below(&self.0[layer]))
    }

    fn lost(&self) -> Vec<LayerId> {
        Vec::new()
    }
}
