//! `docs/cli.md` is what `--help` says. `UPDATE_DOCS=1` writes it anew.

use std::path::Path;
use std::process::Command;

use super::common::SHIPLAP;

const HEAD: &str = "# Commands\n\n\
    <!-- Made from `shiplap --help` by tests/e2e/cli_reference.rs: UPDATE_DOCS=1 cargo test --test e2e cli_reference -->\n\n\
    Results go to standard output, progress and errors to standard error. The global options are those of every command;\n\
    they are shown once. The exit codes are at the end of the first page of help.\n";

/// What `--help` prints, at a fixed width and without the tester's environment, which it would show.
fn help(command: &str) -> String {
    let mut shiplap = Command::new(SHIPLAP);
    if !command.is_empty() {
        shiplap.arg(command);
    }
    let output = shiplap.arg("--help").env_clear().env("COLUMNS", "100").output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// The names of the commands, as the first page of help lists them.
fn commands(overview: &str) -> Vec<String> {
    let list = overview.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What does not fit into a line goes on in the next, further in.
    let first = list.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    first.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

fn reference() -> String {
    let overview = help("");
    let mut text = format!("{HEAD}\n## shiplap\n\n```text\n{}\n```\n", overview.trim_end());
    for command in commands(&overview) {
        let page = help(&command);
        let own = page.split("\nGlobal options:").next().unwrap_or(&page);
        text.push_str(&format!("\n## shiplap {command}\n\n```text\n{}\n```\n", own.trim_end()));
    }
    text
}

#[test]
fn the_reference_is_what_the_help_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/cli.md");
    let expected = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expected, "docs/cli.md is out of date: UPDATE_DOCS=1 cargo test --test e2e cli_reference");
}
