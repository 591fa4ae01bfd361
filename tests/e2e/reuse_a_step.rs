//! Steps that run again only when something changed that they read, and the commands that say why: `plan`, `why`, `verify`.

use std::fs;

use serde_json::{Value, json};

use crate::common::{BuiltImage, Home};

/// Two copied folders, a step for each.
const TWO: &str = "
FROM base:1 AS site
ARG TOKEN=one
COPY first /first
COPY second /second
RUN cat /first/a >/from-first
RUN cat /second/b >/from-second
";

fn two_folders() -> Home {
    let home = Home::with_base();
    home.write("first/a", "old\n");
    home.write("second/b", "old\n");
    home.write("Dockerfile", TWO);
    home
}

#[test]
fn a_step_is_reused_when_what_changed_is_not_what_it_reads() {
    let home = two_folders();
    home.build_again("app:1", &[]);
    home.write("first/a", "new\n");
    let built = home.build_again("app:1", &[]);
    assert_eq!(built.ran(), ["COPY first /first", "RUN cat /first/a >/from-first"]);
    let outcome = |text: &str| {
        let steps = built.0["steps"].as_array().unwrap();
        steps.iter().find(|step| step["text"] == text).unwrap()["outcome"].clone()
    };
    assert_eq!(outcome("RUN cat /second/b >/from-second"), "reused");

    let clean = two_folders();
    clean.write("first/a", "new\n");
    assert_eq!(clean.build_again("app:1", &[]).ran().len(), 4);
    assert_eq!(home.files("app:1"), clean.files("app:1"));
    assert_eq!(home.file("app:1", "from-first"), "new\n");
    // The layers that came from elsewhere are applied to what is below them now.
    assert_eq!(home.build_again("app:2", &["--no-cache"]).ran().len(), 4);
    assert_eq!(home.files("app:2"), clean.files("app:1"));
}

/// Found by the soundness fuzzer. The layer of `touch` is one on both trees, and its directory was made where `/` was closed.
#[test]
fn a_layer_that_was_made_on_another_root_does_not_bring_that_root_along() {
    let home = Home::with_base();
    let build = |name: &str, dockerfile: &str| {
        home.write("Dockerfile", dockerfile);
        home.build_again(name, &[]);
    };
    build("closed:1", "FROM base:1\nRUN true\nRUN chmod 711 /\nRUN touch -d @0 /made\nRUN stat -c %a / >/mode\n");
    assert_eq!(home.file("closed:1", "mode"), "711\n");
    build(
        "open:1",
        "FROM base:1 AS stage\nRUN true\nRUN touch -d @0 /made\nRUN stat -c %a / >/mode\nFROM stage\n\
         RUN --mount=type=bind,from=stage,target=/m stat -c %a /m >/mounted\n\
         RUN --mount=type=bind,from=stage,target=/m,rw stat -c %a /m >/mounted-rw\n",
    );
    for file in ["mode", "mounted", "mounted-rw"] {
        assert_eq!(home.file("open:1", file), "755\n", "{file}");
    }
}

/// A step, and after an edit of the folder `/data` below it: does it run?
#[test]
fn what_a_step_asks_decides_what_makes_it_run() {
    let remove = |home: &Home, name: &str| fs::remove_file(home.work().join("data").join(name)).unwrap();
    let rows: [(&str, [bool; 4]); 6] = [
        // command, and whether it runs after: an edit of `a`; a new name `c`; `b` gone; the name `absent` there
        ("cat /data/a >/out", [true, false, false, false]),
        ("echo /data/* >/out", [false, true, true, true]),
        ("test -e /data/absent || echo no >/out", [false, false, false, true]),
        ("test -d /data && echo yes >/out", [false, false, false, false]),
        ("mkdir /data/b || echo taken >/out", [false, false, true, false]),
        // The status of a file stands for its content.
        ("test -e /data/a && echo yes >/out", [true, false, false, false]),
    ];
    let home = Home::with_base();
    // Side by side, so that none stands on what another made.
    let (mut stages, mut copies) = (String::new(), String::new());
    for (n, (command, _)) in rows.iter().enumerate() {
        stages.push_str(&format!("FROM data AS s{n}\nRUN {command}\n"));
        copies.push_str(&format!("COPY --from=s{n} /etc/passwd /{n}\n"));
    }
    let dockerfile = format!("FROM base:1 AS data\nCOPY data /data\n{stages}FROM scratch\n{copies}");
    for edit in 0..4 {
        let _ = fs::remove_dir_all(home.work().join("data"));
        home.write("data/a", format!("before {edit}"));
        home.write("data/b", "b");
        home.build("app:1", &dockerfile, &["--no-cache"]);
        match edit {
            0 => drop(home.write("data/a", "after")),
            1 => drop(home.write("data/c", format!("{edit}"))),
            2 => remove(&home, "b"),
            _ => drop(home.write("data/absent", "x")),
        }
        let built = home.build_again("app:1", &[]);
        for (command, runs) in &rows {
            let step = format!("RUN {command}");
            assert_eq!(built.ran().contains(&step.as_str()), runs[edit], "{command}, edit {edit}: {:?}", built.0);
        }
    }
}

/// The parts of a site, each with a step that reads it, and one that reads what a step makes.
const SITE: &str = "
FROM base:1 AS site
COPY themes /openedx/themes
COPY plugins /mnt
COPY settings /openedx/config
COPY platform /openedx/edx-platform
COPY requirements /openedx/edx-platform/requirements
RUN cat /openedx/themes/a.scss >/css
RUN cat /mnt/badges.py >/badges
RUN cat /openedx/config/lms.yml >/lms
RUN cat /openedx/edx-platform/lms/urls.py >/urls
RUN cat /openedx/edx-platform/requirements/base.txt >/pip
RUN cat /css >/bundle
";

/// The file of the context, its path in the image, its input in JSON and in words, and the step that reads it.
const PARTS: [(&str, &str, &str, &str, &str); 5] = [
    ("themes/a.scss", "openedx/themes/a.scss", "themes", "themes", "/css"),
    ("plugins/badges.py", "mnt/badges.py", "plugins", "plugins", "/badges"),
    ("settings/lms.yml", "openedx/config/lms.yml", "settings", "settings", "/lms"),
    ("platform/lms/urls.py", "openedx/edx-platform/lms/urls.py", "platform_code", "platform code", "/urls"),
    ("requirements/base.txt", "openedx/edx-platform/requirements/base.txt", "requirements", "requirements", "/pip"),
];

fn site() -> Home {
    let home = Home::with_base();
    PARTS.iter().for_each(|(file, ..)| drop(home.write(file, "old\n")));
    home.write("Dockerfile", SITE);
    home.build_again("app:1", &[]);
    home
}

/// What `plan` decides: the texts of the steps by decision.
fn plan(home: &Home, flags: &[&str]) -> Vec<(String, Value)> {
    let report = home.json(&[&["plan"], flags, &["."]].concat());
    let steps = report["images"][0]["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["text"].as_str().unwrap().to_owned(), step.clone())).collect()
}

fn decided<'p>(plan: &'p [(String, Value)], decision: &str) -> Vec<&'p str> {
    plan.iter().filter(|(_, step)| step["decision"] == decision).map(|(text, _)| text.as_str()).collect()
}

#[test]
fn a_plan_names_the_path_that_changed_and_the_part_of_the_site() {
    let home = site();
    for (file, path, input, words, made) in PARTS {
        home.write(file, "new\n");
        let plan = plan(&home, &[]);
        let run = decided(&plan, "run");
        assert_eq!(run.len(), 2, "{file}: {plan:?}");
        assert!(run[0].starts_with("COPY") && run[1].ends_with(made), "{file}: {run:?}");
        for (_, step) in plan.iter().filter(|(_, step)| step["decision"] == "run") {
            let change = &step["why"]["changes"][0];
            assert_eq!(change["path"].as_str().unwrap().trim_start_matches('/'), path, "{step}");
            assert_eq!((&change["what"], &change["input"]), (&json!("changed"), &json!(input)), "{step}");
        }
        let open = decided(&plan, "open");
        assert_eq!(open, if file.starts_with("themes") { vec!["RUN cat /css >/bundle"] } else { vec![] });
        let ran = home.run(["plan", "."]).ok().says(&format!("{words}: ")).says("changed");
        ran.says("steps that run, by what changed").says(&format!("{words} (2)"));
        home.write(file, "old\n");
    }
}

#[test]
fn a_plan_runs_nothing_and_the_build_does_what_it_says() {
    let home = site();
    home.write("themes/a.scss", "new\n");
    let ran = home.run(["plan", "."]).ok().says("8 reused, 2 to run, 1 open");
    assert!(!ran.err.contains("DONE") && !ran.err.contains("RUN cat"), "{}", ran.err);
    let planned = plan(&home, &[]);
    let built = home.build_again("app:1", &[]);
    let expected: Vec<_> = planned.iter().filter(|(_, s)| s["decision"] == "run" || s["decision"] == "open").collect();
    assert_eq!(built.ran(), expected.iter().map(|(text, _)| text.as_str()).collect::<Vec<_>>());
    assert_eq!(home.file("app:1", "bundle"), "new\n");
    assert!(plan(&home, &[]).iter().all(|(_, step)| step["decision"] == "cached"));
}

#[test]
fn why_shows_the_lines_that_are_different() {
    let home = two_folders();
    home.build_again("app:1", &[]);
    home.write("first/a", "new\n");
    for step in ["6", "site:6", "cat  /first/a"] {
        let ran = home.run(["why", step, "."]).ok().says("site, line 6: RUN cat /first/a").says("runs: one thing");
        ran.says("first/a changed").says("-old").says("+new");
    }
    home.run(["why", "7", "."]).ok().says("reused: what changed below it is nothing that it reads");
    home.run(["why", "site", "."]).ok().says("line 4:").says("line 5:").says("line 6:").says("line 7:");
    let steps = home.json(&["why", "6", "."]);
    assert_eq!(steps["steps"][0]["why"]["reason"], "files", "{steps}");
    for unknown in ["99", "site:99", "nowhere:6", "no such words"] {
        home.run(["why", unknown, "."]).ends_with(4).says("no step is").says("`shiplap plan` lists the steps");
    }
}

#[test]
fn why_names_a_variable_and_never_its_value() {
    let home = two_folders();
    home.build_again("app:1", &["--build-arg", "TOKEN=hunter2"]);
    for args in [&["why", "6", "."][..], &["plan", "."], &["--json", "why", "6", "."], &["--json", "plan", "."]] {
        let ran = home.run([args, &["--build-arg", "TOKEN=hunter3"]].concat()).ok();
        let ran = ran.says("the variable TOKEN is another");
        assert!(!ran.out.contains("hunter") && !ran.err.contains("hunter"), "{ran:?}");
    }
    home.write("Dockerfile", TWO.replace("ARG TOKEN=one", "ENV WORD=hunter4"));
    let ran = home.run(["why", "6", "."]).ok().says("the variable WORD is another").says("the variable TOKEN is gone");
    assert!(!ran.out.contains("hunter"), "{ran:?}");
}

#[test]
fn a_build_explains_the_steps_that_run() {
    let home = two_folders();
    home.run(["build", "--explain", "-t", "app:1", "."]).ok().says("WHY nothing like it ran here before");
    home.write("first/a", "new\n");
    let ran = home.run(["build", "--explain", "-t", "app:1", "."]).ok();
    // The COPY and the step that reads the copy.
    assert_eq!(ran.err.matches("first/a changed").count(), 2, "{}", ran.err);
    ran.says("WHY one thing that it reads is different").says("-old").says("+new");
    let ran = home.run(["build", "--explain", "-t", "app:1", "."]).ok();
    assert!(!ran.err.contains("WHY"), "{}", ran.err);
}

#[test]
fn a_step_that_is_not_watched_runs_when_anything_below_it_changed() {
    let home = two_folders();
    home.build_again("app:1", &["--no-trace"]);
    home.run(["plan", "--no-trace", "."]).ok().says("untraced: --no-trace");
    // What was not watched is not found by a build that watches, and the other way round.
    home.run(["plan", "."]).ok().says("results of steps that were watched and of others are kept apart");
    assert_eq!(home.build_again("app:1", &["--no-trace"]).ran(), Vec::<&str>::new());
    home.write("first/a", "new\n");
    let runs = plan(&home, &["--no-trace"]);
    let reasons: Vec<_> = runs.iter().map(|(_, step)| &step["why"]["reason"]).collect();
    assert_eq!(json!(reasons), json!(["instruction", null, "untraced", "untraced"]));
    let built = home.build_again("app:1", &["--no-trace"]);
    assert_eq!(built.ran(), ["COPY first /first", "RUN cat /first/a >/from-first", "RUN cat /second/b >/from-second"]);
}

fn verdicts(report: &Value) -> Vec<(&str, &str)> {
    let steps = report["steps"].as_array().unwrap();
    steps.iter().map(|step| (step["text"].as_str().unwrap(), step["verdict"].as_str().unwrap())).collect()
}

#[test]
fn verify_tells_what_is_the_same_and_what_is_never() {
    let home = Home::with_base();
    let dockerfile = "FROM base:1\nRUN echo a >/a\nRUN head -c 16 /dev/urandom | md5sum >/random\n";
    let built = home.build("app:1", dockerfile, &[]);
    let (a, random) = ("RUN echo a >/a", "RUN head -c 16 /dev/urandom | md5sum >/random");
    let report = home.json(&["verify", "--steps", "."]);
    assert_eq!(verdicts(&report), [(a, "same"), (random, "not_deterministic")]);
    assert_eq!(report["steps"][1]["paths"], json!(["/random"]));
    home.run(["verify", "--steps", "."])
        .ok()
        .says("same: ")
        .says("not deterministic: ")
        .says("2 steps run again, 0 stale");
    assert_eq!(verdicts(&home.json(&["verify", "--steps", "--sample", "1", "."])).len(), 1);
    // What was reused stays.
    assert_eq!(home.build_again("app:1", &[]).id(), built.id());
    home.run(["verify", "."]).ends_with(2).says("--steps");
}

#[test]
fn verify_finds_a_stale_result_and_drops_it() {
    let home = two_folders();
    home.build("other:1", "FROM base:1\nRUN echo wrong >/from-second\n", &[]);
    let wrong = newest_layer(&home);
    home.build("app:1", TWO, &[]);
    let right = newest_layer(&home);
    assert_eq!(home.file("app:1", "from-second"), "old\n");
    let db = database(&home);
    for table in ["runs", "exact"] {
        let change = format!("UPDATE {table} SET result = replace(result, ?1, ?2) WHERE result LIKE '%' || ?1 || '%'");
        assert_eq!(db.execute(&change, [&right, &wrong]).unwrap(), 1, "{table}");
    }
    drop(db);
    assert_eq!(home.build_again("app:1", &[]).ran(), Vec::<&str>::new());
    assert_eq!(home.file("app:1", "from-second"), "wrong\n");

    let ran = home.run(["verify", "--steps", "."]).ends_with(1).says("STALE: site:7 RUN cat /second/b");
    ran.says("from-second").says("2 steps run again, 1 stale").says("stale results were dropped: 1").says("report");
    home.run(["verify", "--steps", "."]).ok().says("0 stale");
    assert_eq!(home.build_again("app:1", &[]).ran(), Vec::<&str>::new());
    assert_eq!(home.file("app:1", "from-second"), "old\n");
}

fn database(home: &Home) -> rusqlite::Connection {
    rusqlite::Connection::open(home.store().join("cache.db")).unwrap()
}

/// The layer of the newest run of a step.
fn newest_layer(home: &Home) -> String {
    let result: String =
        database(home).query_row("SELECT result FROM runs ORDER BY seq DESC LIMIT 1", [], |row| row.get(0)).unwrap();
    let result: Value = serde_json::from_str(&result).unwrap();
    result["layers"][0].as_str().unwrap().to_owned()
}

/// It asks an address of documentation (RFC 5737), where nobody answers.
const FETCH: &str = "RUN nc -w 1 192.0.2.1 9 </dev/null || echo fetched >/fetched";

fn fetching() -> String {
    format!("FROM base:1 AS site\nRUN echo a >/a\n{FETCH}\nRUN cat /fetched >/copy\n")
}

#[test]
fn steps_that_used_the_network_run_again_when_asked() {
    let home = Home::with_base();
    home.build("app:1", &fetching(), &[]);
    assert_eq!(home.build_again("app:1", &[]).ran(), Vec::<&str>::new());
    home.run(["plan", "."]).ok().says("from the network, just now").says("3 reused");
    home.run(["why", "3", "."]).ok().says("took something from the network").says("--refresh network");
    for flag in ["network", "network=3", "network=site:3", "network=site", "network=192.0.2.1 9"] {
        assert_eq!(home.build_again("app:1", &["--refresh", flag]).ran(), [FETCH], "{flag}");
        let plan = plan(&home, &["--refresh", flag]);
        assert_eq!(decided(&plan, "run"), [FETCH], "{flag}");
    }
    // Another step, and one that used no network.
    for flag in ["network=99", "network=2"] {
        assert_eq!(home.build_again("app:1", &["--refresh", flag]).ran(), Vec::<&str>::new(), "{flag}");
    }
    for wrong in ["all", "network=", "", "step=3"] {
        for command in ["build", "plan"] {
            home.run([command, "--refresh", wrong, "."]).ends_with(2).says("expected network, or network=STEP");
        }
    }
}

#[test]
fn a_step_on_a_network_of_its_own_is_not_of_the_network() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1\nRUN --network=none nc -w 1 127.0.0.1 9 </dev/null || echo none >/none\n", &[]);
    assert_eq!(home.build_again("app:1", &["--refresh", "network"]).ran(), Vec::<&str>::new());
}

/// An instance with one image, and what `[build]` says.
fn instance(build: &str, dockerfile: &str) -> Home {
    let home = Home::with_base();
    home.write("openedx/Dockerfile", dockerfile);
    configure(&home, build);
    home
}

fn configure(home: &Home, build: &str) {
    let image = "[instance.campus.image.openedx]\ncontext = \"openedx\"\nrepository = \"campus/openedx\"\n";
    home.write("shiplap.toml", format!("[build]\n{build}\n{image}"));
}

/// The local name of the instance's image.
const LOCAL: &str = "shiplap.local/campus/openedx:latest";

fn build_instance(home: &Home) -> BuiltImage {
    BuiltImage(home.json(&["build", "campus"])["images"][0].clone())
}

#[test]
fn what_came_from_the_network_has_an_age() {
    let home = instance("max-age = \"1h\"", &fetching());
    assert_eq!(build_instance(&home).ran().len(), 3);
    // Ages are whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(build_instance(&home).ran(), Vec::<&str>::new());
    configure(&home, "max-age = \"0s\"");
    home.run(["plan", "campus"]).ok().says("older than max-age");
    assert_eq!(build_instance(&home).ran(), [FETCH]);
    configure(&home, "max-age = \"soon\"");
    home.run(["build", "campus"]).ends_with(2).says("is no length of time").says("12h");
}

/// A result that was made anew is as new as that, also where an older run made the same.
#[test]
fn what_was_refreshed_is_new() {
    let home = Home::with_base();
    let dockerfile = "FROM base:1\nCOPY data /data\nRUN cat /data; nc -w 1 192.0.2.1 9 </dev/null || echo x >/x\n";
    for text in ["1", "2"] {
        home.write("data", text);
        home.build("app:1", dockerfile, &[]);
    }
    let created = || plan(&home, &[])[1].1["last"]["created"].as_i64().unwrap();
    let before = created();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    home.build_again("app:1", &["--refresh", "network"]);
    assert!(created() > before);
}

#[test]
fn logs_and_stamps_are_in_no_layer() {
    let write = "RUN mkdir -p /root/.npm/_logs /tmp/mine && echo x >/root/.npm/_logs/x && echo y >/root/.npm/kept && echo z >/tmp/mine/z\n";
    let home = instance("", &format!("FROM base:1\n{write}"));
    let found = |home: &Home| {
        build_instance(home);
        let files = home.files(LOCAL);
        ["root/.npm/kept", "root/.npm/_logs/x", "tmp/mine/z"].map(|path| files.contains_key(path))
    };
    assert_eq!(found(&home), [true, false, true]);
    configure(&home, "noise = [\"tmp/mine\"]");
    assert_eq!(found(&home), [true, false, false]);
    configure(&home, "noise = [\"tmp/mine\"]\ndefault-noise = false");
    assert_eq!(found(&home), [true, true, false]);
    configure(&home, "default-noise = false");
    assert_eq!(found(&home), [true, true, true]);
    // A build of a directory leaves out what always is.
    home.run(["build", "-t", "app:1", "openedx"]).ok();
    assert!(!home.files("app:1").contains_key("root/.npm/_logs/x"));
}

/// A step that logs does not make a later one run that lists the folder of logs.
#[test]
fn noise_ties_no_steps_together() {
    let home = Home::with_base();
    home.write("a", "1");
    let dockerfile = "
FROM base:1
COPY a /a
RUN mkdir -p /root/.npm/_logs; cat /a >/root/.npm/_logs/$(cat /a); cat /a >/made
RUN mkdir -p /root/.npm/_logs; ls /root/.npm/_logs; echo second >/second
";
    home.build("app:1", dockerfile, &[]);
    home.write("a", "2");
    let built = home.build_again("app:1", &[]);
    assert_eq!(built.reused().len(), 1, "{:?}", built.0);
}
