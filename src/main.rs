//! The `shiplap` command. What it does is in the crates; here are the words for it.

mod app;
mod away;
mod cli;
mod commands;
mod deploying;
mod docker_config;
mod engine;
mod explain;
mod failure;
mod health;
mod holdings;
mod many;
mod names;
mod origin;
mod output;
mod plugin;
mod progress;
mod registries;
mod release_images;
mod shared;
mod subject;
mod supply;
mod table;
mod tiers;
mod tutor;
mod warnings;
mod worker;

use std::process::ExitCode;

use failure::{Failure, Kind};
use plugin::Call;
use shiplap_builder::sandbox;

fn main() -> ExitCode {
    // A step's sandbox is this program again, and must begin before there is a thread.
    let words: Vec<_> = std::env::args_os().collect();
    if words.get(1).is_some_and(|arg| arg == sandbox::CHILD_ARGUMENT) {
        sandbox::child_main();
    }
    if words.get(1).is_some_and(|arg| arg == worker::ARGUMENT) {
        return worker::main();
    }
    let cli = match plugin::call(&words) {
        Some(Call::Metadata) => {
            output::line(&plugin::metadata().to_string());
            return ExitCode::SUCCESS;
        }
        Some(Call::Command { args, docker }) => cli::parse_for_docker(args, docker),
        None => cli::parse(),
    };
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
