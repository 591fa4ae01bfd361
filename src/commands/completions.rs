//! `shiplap completions`

use std::process::ExitCode;

use clap_complete::Shell;

use crate::cli;
use crate::failure::Result;

/// Print completions for a shell
///
/// bash: shiplap completions bash > /etc/bash_completion.d/shiplap
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "shiplap", &mut script);
    crate::output::line(String::from_utf8_lossy(&script).trim_end());
    Ok(ExitCode::SUCCESS)
}
