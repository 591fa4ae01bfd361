//! What is shown while a build runs: on a terminal, in a log, to a program.

use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;

use crate::common::{Home, Ran, SHIPLAP};

const DOCKERFILE: &str = "FROM base:1\nRUN echo first line; echo second line >&2\nRUN echo done >/done\n";

#[test]
fn a_log_has_every_line() {
    let home = Home::with_base();
    home.write("Dockerfile", DOCKERFILE);
    let ran = home.run(["build", "-t", "app:1", "."]).ok();
    assert!(ran.err.contains("first line") && ran.err.contains("second line"), "{}", ran.err);
    assert!(!ran.err.contains('\u{1b}') && !ran.out.contains('\u{1b}'), "colours in a log");
    assert_eq!(ran.out.lines().count(), 1, "results alone are on standard output: {}", ran.out);
    let again = home.run(["build", "-t", "app:1", "."]).ok();
    assert_eq!(again.err.matches("CACHED").count(), 2, "{}", again.err);
    let quiet = home.run(["build", "-q", "--progress", "quiet", "."]).ok();
    assert_eq!((quiet.err.as_str(), quiet.out.lines().count()), ("", 1));
}

#[test]
fn a_program_gets_an_object_a_line() {
    let home = Home::with_base();
    home.write("Dockerfile", DOCKERFILE);
    let ran = home.run(["--json", "--progress", "json", "build", "."]).ok();
    let events: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((of("planned"), of("started"), of("finished")), (1, 2, 2));
    let text: String = events.iter().filter_map(|event| event["text"].as_str()).collect();
    assert!(text.contains("first line\n") && text.contains("second line\n"), "{text}");
    assert_eq!(ran.json()["images"][0]["ran"], 2);
}

/// The stream of `docker buildx build --progress=rawjson`, BuildKit's `SolveStatus`.
#[test]
fn a_program_that_reads_buildkits_json_can_read_ours() {
    let home = Home::with_base();
    home.write("Dockerfile", DOCKERFILE);
    let ran = home.run(["build", "--progress=rawjson", "-o", "type=oci,dest=app.tar", "--debug", "."]).ok();
    let lines: Vec<Value> = ran.err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let all = |key: &str| -> Vec<&Value> { lines.iter().filter_map(|line| line[key].as_array()).flatten().collect() };
    let ended = |vertex: &&&Value| vertex["completed"].is_string() && vertex["started"].is_string();
    let vertexes = all("vertexes");
    let names: Vec<&str> = vertexes.iter().filter(ended).map(|vertex| vertex["name"].as_str().unwrap()).collect();
    let steps: Vec<&&str> = names.iter().filter(|name| name.contains("] RUN echo")).collect();
    assert_eq!(steps[0], &"[stage-0 1/2] RUN echo first line; echo second line >&2");
    assert_eq!(steps.len(), 2);
    let first = vertexes.iter().find(|vertex| vertex["name"] == **steps[0]).unwrap();
    let logs = all("logs");
    let text = |log: &&Value| BASE64.decode(log["data"].as_str().unwrap()).unwrap();
    let of_first = || logs.iter().copied().filter(|log| log["vertex"] == first["digest"]);
    let stream =
        |number| String::from_utf8(of_first().filter(|log| log["stream"] == number).flat_map(|l| text(&l)).collect());
    assert_eq!(stream(1).unwrap(), "first line\n");
    assert_eq!(stream(2).unwrap(), "second line\n");
    let known = |status: &&Value| vertexes.iter().any(|vertex| vertex["digest"] == status["vertex"]);
    assert!(!all("statuses").is_empty() && all("statuses").iter().all(known), "layers were packed");
    let again = home.run(["build", "--progress=rawjson", "."]).ok();
    assert_eq!(again.err.matches("\"cached\":true").count(), 2);
}

#[test]
fn the_variable_of_buildkit_is_looked_at() {
    let home = Home::with_base();
    home.write("Dockerfile", DOCKERFILE);
    let run = |kind: &str, flags: &[&str]| {
        let mut command = home.command([&["build", "--no-cache", "."], flags].concat());
        Ran::of(command.env("BUILDKIT_PROGRESS", kind).output().unwrap())
    };
    assert_eq!(run("none", &[]).ok().err, "");
    assert!(run("quiet", &["--progress=plain"]).ok().err.contains("first line"), "the command line goes first");
    assert!(run("rawjson", &[]).ok().err.starts_with("{\"vertexes\""));
    run("fancy", &[]).ends_with(2).says("BUILDKIT_PROGRESS is `fancy`");
    Ran::of(home.command(["images"]).env("BUILDKIT_PROGRESS", "fancy").output().unwrap()).ok();
}

/// `script` gives it a terminal.
#[test]
fn a_terminal_shows_the_running_step_and_ends_tidy() {
    let home = Home::with_base();
    home.write("Dockerfile", DOCKERFILE);
    let run = |command: &str| {
        let mut script = Command::new("script");
        script.args(["-qec", command, "/dev/null"]).current_dir(home.work());
        script.env_clear().envs(home.environment()).env("TERM", "xterm-256color").env("SHELL", "/bin/sh");
        Ran::of(script.stdin(std::process::Stdio::null()).output().unwrap())
    };
    let shown = run(&format!("stty cols 120; {SHIPLAP} build -t app:1 .")).ok().out;
    assert!(shown.contains("\u{1b}["), "nothing moves: {shown}");
    assert!(shown.contains("RUN echo done >/done") && shown.contains("app:1"), "{shown}");
    // The cursor that indicatif hides is there again at the end.
    assert!(shown.rfind("\u{1b}[?25l") <= shown.rfind("\u{1b}[?25h"), "{shown:?}");
    home.write("Dockerfile", "FROM base:1\nRUN echo the reason; false\n");
    let failed = run(&format!("stty cols 120; {SHIPLAP} build .")).ends_with(1).out;
    assert!(failed.contains("the reason"), "{failed}");
}
