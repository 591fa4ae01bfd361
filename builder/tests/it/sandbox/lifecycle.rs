//! How steps start and end.

use std::time::{Duration, Instant};

use shiplap_builder::sandbox::{Cancel, Exit, Mount, Sandbox, SandboxError, Stream};

use super::lab::{Lab, run, run_until};

#[test]
fn exit_codes_and_signals() {
    let lab = Lab::new();
    assert_eq!(lab.sh("exit 0").exit, Exit::Code(0));
    assert_eq!(lab.sh("exit 42").exit, Exit::Code(42));
    let killed = lab.sh("kill -9 $$").exit;
    assert_eq!((killed.clone(), killed.code()), (Exit::Signal(9), 137));
    // Signals have their default action, whatever the Rust runtime ignores.
    assert_eq!(lab.sh("kill -PIPE $$").exit, Exit::Signal(13));
    assert_eq!(
        lab.sh("grep -E 'Sig(Ign|Blk)' /proc/self/status | tr -d '\\t'").ok(),
        "SigBlk:0000000000000000\nSigIgn:0000000000000000\n"
    );
}

#[test]
fn a_program_that_cannot_be_executed() {
    let mut lab = Lab::new();
    let layer = lab.layer();
    std::fs::create_dir(layer.join("bin")).unwrap();
    std::fs::write(layer.join("bin/data"), "text").unwrap();
    std::fs::write(layer.join("bin/script"), "#!/no/such/interpreter\n").unwrap();
    std::fs::write(layer.join("bin/text"), "no format\n").unwrap();
    for name in ["script", "text"] {
        let path = layer.join("bin").join(name);
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    for (program, code, words) in [
        ("missing", 127, "not found in PATH (/usr/bin:/bin)"),
        ("/bin/missing", 127, "no such file"),
        ("", 127, "empty"),
        ("data", 126, "ermission denied"),
        ("/etc", 126, "ermission denied"),
        ("script", 127, "interpreter"),
        ("text", 126, "#! line"),
    ] {
        let mut spec = lab.spec("");
        spec.argv = vec![program.into(), "argument".into()];
        match run(&spec).unwrap().exit {
            Exit::NotStarted { code: found, message } => {
                assert_eq!(found, code, "{program}: {message}");
                assert!(message.contains(words), "{program}: {message}");
            }
            exit => panic!("{program}: {exit:?}"),
        }
    }
}

#[test]
fn output_comes_in_order_and_whole() {
    let lab = Lab::new();
    let ran = lab.sh("seq 1 200000; seq 1 1000 >&2");
    let lines = |count: u32| (1..=count).map(|n| format!("{n}\n")).collect::<String>();
    assert_eq!(ran.err, lines(1000));
    assert_eq!(ran.ok(), lines(200_000));
}

/// The step ends only when somebody who saw its first line lets it.
#[test]
fn output_comes_while_the_step_runs() {
    let lab = Lab::new();
    let dir = lab.path("gate");
    std::fs::create_dir(&dir).unwrap();
    let gate = dir.join("open");
    let mut spec = lab.spec("echo early; while [ ! -e /gate/open ]; do sleep 0.01; done; echo late");
    spec.mounts = vec![Mount::Cache { dir, target: "/gate".into(), read_only: false }];
    let watch = |_: Stream, bytes: &[u8]| {
        if bytes == b"early\n" {
            std::fs::write(&gate, "").unwrap();
        }
    };
    assert_eq!(run_until(&spec, &Cancel::new().unwrap(), watch).unwrap().ok(), "early\nlate\n");
}

#[test]
fn standard_input_is_given_or_empty() {
    let lab = Lab::new();
    let mut spec = lab.spec("cat; echo end");
    assert_eq!(run(&spec).unwrap().ok(), "end\n");
    spec = lab.spec("cat; echo end");
    spec.stdin = Some(b"a\0b\n".to_vec());
    assert_eq!(run(&spec).unwrap().ok(), "a\0b\nend\n");
}

/// A process in the background neither outlives the step nor holds its end up.
#[test]
fn what_a_step_leaves_running_dies_with_it() {
    let lab = Lab::new();
    let ran = lab.sh("(sleep 20; echo late; touch /late) & (exec sleep 1061.5) & echo started");
    assert_eq!(ran.changed(), Vec::<String>::new());
    assert_eq!(ran.ok(), "started\n");
    assert!(!alive("1061.5"));
}

#[test]
fn orphans_are_reaped() {
    let lab = Lab::new();
    // The double fork leaves a zombie to pid 1.
    let out = lab.sh("for i in 1 2 3; do (true & ) ; done; sleep 0.3; ps | grep -c '\\[true\\]' || true").ok();
    assert_eq!(out, "0\n");
}

pub fn alive(argument: &str) -> bool {
    std::fs::read_dir("/proc").unwrap().any(|entry| {
        let command = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        command.split(|&byte| byte == 0).any(|word| word == argument.as_bytes())
    })
}

#[test]
fn cancelling_kills_everything_soon() {
    let lab = Lab::new();
    let cancel = Cancel::new().unwrap();
    let other = cancel.clone();
    let spec = lab.spec("trap '' TERM INT HUP; (exec sleep 1062.5) & echo up; sleep 1063.5");
    let watch = |_: Stream, _: &[u8]| other.cancel();
    let error = run_until(&spec, &cancel, watch).err().unwrap();
    assert!(matches!(error, SandboxError::Cancelled), "{error}");
    assert!(!alive("1062.5") && !alive("1063.5"));
    // Nothing is mounted on it any more.
    std::fs::remove_dir_all(spec.work.parent().unwrap()).unwrap();
    // A cancelled build starts no more steps.
    assert!(matches!(run_until(&lab.spec("true"), &cancel, |_, _| ()), Err(SandboxError::Cancelled)));
}

/// The supervisor dies with whoever started it, and the step with the supervisor.
#[test]
fn a_killed_builder_leaves_nothing_running() {
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};
    let lab = Lab::new();
    let spec = lab.spec("echo up; (exec sleep 1064.5) & sleep 1065.5");
    let mut builder =
        Command::new(super::lab::child()).arg("run").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    builder.stdin.take().unwrap().write_all(&serde_json::to_vec(&spec).unwrap()).unwrap();
    let mut line = String::new();
    BufReader::new(builder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "up\n");
    builder.kill().unwrap();
    builder.wait().unwrap();
    let begun = Instant::now();
    while alive("1064.5") || alive("1065.5") {
        assert!(begun.elapsed() < Duration::from_secs(60), "the step is still alive");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_supervisor_that_is_none_is_reported() {
    let lab = Lab::new();
    let mut output = |_: Stream, _: &[u8]| ();
    let cancel = Cancel::new().unwrap();
    let missing = Sandbox::program("/no/such/program").run(&lab.spec("true"), &mut output, &cancel);
    assert!(matches!(missing, Err(SandboxError::Start { .. })));
    let wrong = Sandbox::program("/bin/false").run(&lab.spec("true"), &mut output, &cancel);
    assert!(matches!(wrong, Err(SandboxError::Vanished { .. })));
}

#[test]
fn a_failed_set_up_names_what_failed() {
    let lab = Lab::new();
    let mut spec = lab.spec("true");
    spec.lower.insert(0, lab.path("not-there").into());
    let text = run(&spec).err().unwrap().to_string();
    assert!(text.contains("not-there") && text.contains("No such file"), "{text}");
}

/// The design's limit for one is 10 ms. The machine of the tests does other things meanwhile, so this only shows what it
/// is, in processor time of this process and its children.
#[test]
fn many_steps_one_after_another() {
    const RUNS: u32 = 40;
    let lab = Lab::new();
    let mut best = Duration::MAX;
    let before = processor_time();
    for _ in 0..RUNS {
        let mut spec = lab.spec("");
        spec.argv = vec!["/bin/true".into()];
        let begun = Instant::now();
        run(&spec).unwrap().ok();
        best = best.min(begun.elapsed());
    }
    let each = (processor_time() - before) / RUNS;
    println!("a step costs {each:?} of processor time, and {best:?} at best");
}

/// User and system time of this process and its children: fields 14 to 17 of proc_pid_stat(5).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split_whitespace().skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second())
}
