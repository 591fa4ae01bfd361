//! Help, completions, exit codes: the command line itself.

use crate::common::{Home, Ran};

/// The verbs, as the help lists them.
fn verbs(home: &Home) -> Vec<String> {
    let help = home.run(["--help"]).ok().out;
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|l| l.split_whitespace().next().unwrap().to_owned())
        .collect()
}

#[test]
fn every_verb_explains_itself() {
    let home = Home::new();
    let verbs = verbs(&home);
    for wanted in
        "init build plan release releases deploy rollback status tags images import export push pull doctor".split(' ')
    {
        assert!(verbs.iter().any(|verb| verb == wanted), "{wanted} is not in {verbs:?}");
    }
    for verb in verbs.iter().filter(|verb| *verb != "help") {
        let help = home.run([verb.as_str(), "--help"]).ok().out;
        assert!(help.contains("Usage: shiplap ") && help.lines().next().unwrap().len() > 10, "{verb}: {help}");
        // Every option says what it is for.
        let mut lines = help.lines().peekable();
        while let Some(line) = lines.next() {
            let alone = line.trim_start().starts_with('-')
                && !line.trim_start().starts_with("- ")
                && !line.trim().contains("  ");
            let next = lines.peek().map_or("", |next| next.trim());
            assert!(!alone || !(next.is_empty() || next.starts_with('-')), "{verb}: `{line}` is not explained");
        }
    }
    let version = home.run(["--version"]).ok().out;
    assert_eq!(version.trim(), format!("shiplap {}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn completions_know_every_verb() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = home.run(["completions", shell]).ok().out;
        for verb in verbs(&home) {
            assert!(script.contains(&verb), "{shell}: {verb}");
        }
    }
}

/// The help names these codes and no others.
#[test]
fn exit_codes_are_the_documented_ones() {
    let home = Home::with_base();
    let help = home.run(["--help"]).ok().out;
    let codes = help.split_once("Exit codes:").unwrap().1;
    for code in ["0 done", "1 failed", "2 the", "3 refused", "4 what", "5 a registry", "6 the store", "130 cancelled"] {
        let words: Vec<_> = codes.split_whitespace().collect();
        assert!(words.join(" ").contains(code), "{code}: {codes}");
    }
    home.run(["images"]).ends_with(0);
    home.write("Dockerfile", "FROM base:1\nRUN false\n");
    home.run(["build", "."]).ends_with(1);
    home.run(["no-such-verb"]).ends_with(2);
    home.run(["build", "--no-such-flag"]).ends_with(2);
    home.write("bad/Dockerfile", "FROM base:1\nRUNN false\n");
    home.run(["build", "bad"]).ends_with(2).says("RUNN");
    home.write("shiplap.toml", "[instance.a]\nimages = 3\n");
    home.run(["status"]).ends_with(2).says("shiplap.toml");
    home.run(["export", "nothing:1", "out"]).ends_with(4).says("nothing:1");
    home.run(["pull", "127.0.0.1:1/nothing:1"]).ends_with(5).says("127.0.0.1:1");
    let file = home.write("a-file", "");
    Ran::of(home.command(["images", "--home"]).arg(file).output().unwrap()).ends_with(6);
}

#[test]
fn the_store_is_where_the_flag_the_variable_or_the_platform_says() {
    let home = Home::new();
    home.run(["images", "--home", "elsewhere"]).ok();
    assert!(home.work().join("elsewhere").is_dir() && !home.store().exists());
    home.run(["images"]).ok();
    assert!(home.store().is_dir());
    let mut command = home.command(["images"]);
    Ran::of(command.env_remove("SHIPLAP_HOME").output().unwrap()).ok();
    assert!(home.path("user/.local/share/shiplap").is_dir());
}

#[test]
fn doctor_says_that_this_machine_is_able() {
    let home = Home::new();
    home.run(["doctor"]).ok().says("this machine can build images");
    let report = home.json(&["doctor"]);
    assert_eq!(report["able"], true);
    assert!(report["checks"].as_array().unwrap().iter().all(|check| check["ok"] == true), "{report}");
    assert!(!home.store().exists(), "looking makes nothing");
}

/// `shiplap images | head -1`.
#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let home = Home::with_base();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = home.command(["images"]).stdout(writer).output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
