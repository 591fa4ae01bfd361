//! The `shiplap` command. What it does is in the crates; here are the words for it.

mod app;
mod cli;
mod commands;
mod failure;
mod names;
mod output;
mod progress;
mod release_images;
mod table;

use std::process::ExitCode;

use shiplap_builder::sandbox;

fn main() -> ExitCode {
    // A step's sandbox is this program again, and must begin before there is a thread.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == sandbox::CHILD_ARGUMENT) {
        sandbox::child_main();
    }
    let cli = cli::parse();
    match app::run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
