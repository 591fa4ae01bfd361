//! `docker shiplap build .`: the program as a plugin of the `docker` command.

use std::io::BufRead;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::{BASE, Home, Ran, SHIPLAP};

/// The program under the name that makes it a plugin, where docker looks for plugins.
fn installed(home: &Home) -> PathBuf {
    let plugin = home.path("user/.docker/cli-plugins/docker-shiplap");
    std::fs::create_dir_all(plugin.parent().unwrap()).unwrap();
    symlink(SHIPLAP, &plugin).unwrap();
    plugin
}

fn run(home: &Home, program: &Path, args: &[&str]) -> Ran {
    Ran::of(command(home, program, args).output().unwrap())
}

fn command(home: &Home, program: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(home.work()).stdin(Stdio::null()).env_clear().envs(home.environment());
    command
}

/// The `docker` of `PATH`. No engine is asked for anything.
fn docker() -> Option<PathBuf> {
    let docker = PathBuf::from("docker");
    let there = Command::new(&docker).arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped: no docker command in PATH");
    }
    there.then_some(docker)
}

#[test]
fn it_says_what_it_is_and_takes_the_words_after_its_name() {
    let home = Home::with_base();
    let plugin = installed(&home);
    let metadata = run(&home, &plugin, &["docker-cli-plugin-metadata"]).ok().json();
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    assert_eq!(metadata["Version"], format!("v{}", env!("CARGO_PKG_VERSION")));
    assert!(!metadata["Vendor"].as_str().unwrap().is_empty());
    assert!(!home.work().join("shiplap.toml").exists());

    home.write("Dockerfile", format!("FROM {BASE}\nRUN echo hello > /hello\n"));
    run(&home, &plugin, &["--context", "shiplap", "-D", "shiplap", "build", "-t", "app:1", "."]).ok();
    assert_eq!(home.file("app:1", "hello"), "hello\n");
    run(&home, &plugin, &["shiplap", "build", "--help"]).ok().says("Usage: docker shiplap build [OPTIONS]");
    run(&home, &plugin, &["shiplap", "build", "--no-such"]).ends_with(2).says("Usage: docker shiplap build");
    run(&home, &plugin, &["help", "shiplap", "build"]).ok().says("Usage: docker shiplap build [OPTIONS]");
    // Typed by hand, it is the same program as ever.
    run(&home, &plugin, &["build", "-t", "app:2", "."]).ok();
    run(&home, Path::new(SHIPLAP), &["docker-cli-plugin-metadata"]).ends_with(2);
}

#[test]
fn the_docker_command_runs_it() {
    let Some(docker) = docker() else { return };
    let home = Home::with_base();
    installed(&home);
    run(&home, &docker, &["--help"]).ok().says("shiplap*");
    let version = run(&home, &docker, &["shiplap", "--version"]).ok().out;
    assert_eq!(version.trim(), format!("shiplap {}", env!("CARGO_PKG_VERSION")));
    home.write("Dockerfile", format!("FROM {BASE}\nARG who\nRUN echo $who > /hello\n"));
    run(&home, &docker, &["--log-level", "info", "shiplap", "build", "--build-arg=who=ada", "-t", "app:1", "."]).ok();
    assert_eq!(home.file("app:1", "hello"), "ada\n");
    // The exit code comes through.
    run(&home, &docker, &["shiplap", "build", "nowhere"]).ends_with(4).says("nowhere");
    run(&home, &docker, &["help", "shiplap", "plan"]).ok().says("Usage: docker shiplap plan");
}

/// Docker, not the plugin, gets the signal of a CI server; it then closes a socket and waits.
#[test]
fn it_ends_when_docker_is_told_to_end() {
    let home = Home::with_base();
    let plugin = installed(&home);
    home.write("Dockerfile", format!("FROM {BASE}\nRUN echo begun && sleep 300\n"));
    let build = ["shiplap", "--progress=plain", "build", "."];

    let socket = home.path("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let child = started(command(&home, &plugin, &build).env("DOCKER_CLI_PLUGIN_SOCKET", &socket));
    drop(listener.accept().unwrap());
    assert_eq!(ended(child).code(), Some(130));

    let Some(docker) = docker() else { return };
    let child = started(&mut command(&home, &docker, &build));
    Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert_eq!(ended(child).code(), Some(130));
}

/// Starts a build, and waits until its step runs.
fn started(command: &mut Command) -> Child {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = std::io::BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().ends_with("begun")));
    // Whoever writes must find somebody who reads.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

fn ended(mut child: Child) -> std::process::ExitStatus {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if begin.elapsed() > Duration::from_secs(60) {
            child.kill().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
