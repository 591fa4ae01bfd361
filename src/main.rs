//! The `shiplap` command. What it does is in the crates; here are the words for it.

mod app;
mod cli;
mod commands;
mod docker_config;
mod explain;
mod failure;
mod names;
mod output;
mod progress;
mod release_images;
mod table;

use std::process::ExitCode;

use failure::{Failure, Kind};
use shiplap_builder::sandbox;

fn main() -> ExitCode {
    // A step's sandbox is this program again, and must begin before there is a thread.
    if std::env::args_os().nth(1).is_some_and(|arg| arg == sandbox::CHILD_ARGUMENT) {
        sandbox::child_main();
    }
    let cli = cli::parse();
    match app::run(cli) {
        Ok(code) => match output::lost() {
            None => code,
            Some(why) => {
                Failure::new(Kind::Failed, format!("it is done, but the result cannot be printed: {why}")).report()
            }
        },
        Err(failure) => failure.report(),
    }
}
