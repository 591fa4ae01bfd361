//! The other side of the sandbox's tests: a program that does nothing but run one step.
//!
//! `sandbox-child __sandbox-child` is the supervisor of a step. `sandbox-child run` reads a step as JSON
//! from its standard input, runs it and prints how it ended; `sandbox-child rootless` does so in a user
//! namespace.

use std::io::Write;

use shiplap_builder::sandbox::{CHILD_ARGUMENT, Cancel, RunSpec, Sandbox, Stream, child_main, enter_user_namespace};

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
    let spec: RunSpec = serde_json::from_reader(std::io::stdin()).expect("a step on standard input");
    let mut output = |stream, bytes: &[u8]| match stream {
        Stream::Stdout => std::io::stdout().write_all(bytes).expect("stdout"),
        Stream::Stderr => std::io::stderr().write_all(bytes).expect("stderr"),
    };
    let cancel = Cancel::new().expect("an event");
    match Sandbox::this_program().run(&spec, &mut output, &cancel) {
        Ok(exit) => println!("exit: {exit:?}"),
        Err(error) => println!("error: {error}"),
    }
}
