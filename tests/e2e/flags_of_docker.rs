//! The flags of `docker buildx build`, spelled as Docker lets them be.

use std::os::unix::net::UnixListener;

use crate::campus::CONFIG;
use crate::common::{Home, Ran, write};

#[test]
fn switches_take_values_and_the_last_word_counts() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1 AS one\nRUN touch /one\nFROM one AS two\nRUN touch /two\n", &[]);
    let ran = |flags: &[&str]| home.build_again("app:1", flags).ran().len();
    assert_eq!(ran(&["--no-cache=false", "--pull=0"]), 0);
    assert_eq!(ran(&["--no-cache=true"]), 2);
    assert_eq!(ran(&["--no-cache", "--no-cache=F"]), 0);
    assert_eq!(ran(&["--no-cache", "--target", "two", "--target=one"]), 1);

    let built = |flags: &[&str]| home.run([&["build"], flags, &["."]].concat()).ok().out;
    assert!(built(&["-qt", "app:2"]).trim().len() > 60, "only the id");
    assert!(built(&["-q=false", "-t=app:2"]).contains("2 steps reused"));
    for wrong in ["--no-cache=maybe", "--pull=2", "-q=x"] {
        home.run(["build", wrong, "."]).ends_with(2).says("expected true or false");
    }
    // A switch takes no word that stands apart.
    home.run(["build", "--no-cache", "true"]).ends_with(4).says("no directory true");
}

#[test]
fn stages_are_chosen_that_run_again() {
    let home = Home::with_base();
    let dockerfile = "FROM base:1 AS one\nRUN touch /one\nFROM base:1 AS two\nCOPY Dockerfile /two\nRUN date +%N >/n\n\
                      FROM one\nCOPY --from=two /two /\nRUN touch /three\n";
    home.build("app:1", dockerfile, &[]);
    let ran = |flags: &[&str]| {
        let built = home.build_again("app:1", flags);
        built.ran().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(ran(&["--no-cache-filter", "ONE"]), ["RUN touch /one"]);
    assert_eq!(ran(&["--no-cache-filter=two"]), ["COPY Dockerfile /two", "RUN date +%N >/n"]);
    assert_eq!(ran(&["--no-cache-filter=one,stage-2"]).len(), 3, "{dockerfile}");
    assert_eq!(ran(&["--no-cache-filter=one", "--no-cache-filter", "two"]).len(), 3);
    assert!(ran(&["--no-cache-filter=other"]).is_empty());
    home.run(["plan", "--no-cache-filter", "one", "."]).ok().says("--no-cache-filter");
    home.run(["build", "--no-cache", "--no-cache-filter", "one", "."]).ends_with(2).says("give one of them");
}

#[test]
fn flags_without_effect_are_accepted_and_told() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM base:1\n");
    let silent = "--rm --force-rm=true --compress --disable-content-trust --provenance=false --sbom=0 --allow network.host \
                  --attest type=provenance,disabled=true";
    let ran = home.run(["build", "."].into_iter().chain(silent.split(' '))).ok();
    assert!(!ran.err.contains("note:"), "{}", ran.err);
    let told = "--cache-to type=inline \
                --builder big --allow security.insecure --cgroup-parent x -D -m 1g --memory-swap -1 -c 3 --cpu-period 1 \
                --cpu-quota -1 --cpuset-cpus 0 --cpuset-mems 0 --isolation process --security-opt seccomp=unconfined --squash";
    let ran = home.run(["build", "."].into_iter().chain(told.split_whitespace())).ok();
    let notes: Vec<&str> = ran.err.lines().filter_map(|line| line.strip_prefix("note: ")).collect();
    for flag in told.split_whitespace().filter(|word| word.starts_with("--")) {
        assert_eq!(
            notes
                .iter()
                .filter(|note| note.starts_with(&format!("{flag}:")) || note.starts_with(&format!("{flag} ")))
                .count(),
            1,
            "{flag}: {notes:?}"
        );
    }
    assert_eq!(notes.len(), 15, "{notes:?}");
    let quiet = home.run(["build", ".", "-q"].into_iter().chain(told.split_whitespace())).ok();
    assert!(!quiet.err.contains("note:"));
    for (flags, says) in [
        (["--cache-from", "a=b"], "type=registry"),
        (["--cache-to", "type=,a=b"], "type=registry"),
        (["--attest", "type=vex"], "type=provenance or type=sbom"),
        (["--provenance", "maybe"], "true, false"),
        (["--allow", "everything"], "network.host"),
        (["--cpu-shares", "many"], "invalid value"),
    ] {
        home.run([&["build", "."], &flags[..]].concat()).ends_with(2).says(says);
    }
}

/// `proxies` in Docker's `config.json`, and `SOURCE_DATE_EPOCH`: the `docker` command makes build arguments of them.
#[test]
fn some_build_arguments_come_from_around() {
    let home = Home::with_base();
    let proxies =
        r#"{"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a,b"}, "tcp://x": {"ftpProxy": "no"}}}"#;
    write(&home.path("user/.docker/config.json"), proxies);
    let dockerfile = "FROM base:1\nARG SOURCE_DATE_EPOCH\nRUN env | grep -i -e proxy -e EPOCH | sort >/env\n";
    home.write("Dockerfile", dockerfile);
    let env = |flags: &[&str], epoch: &str| {
        let mut command = home.command([&["build", "-t", "app:1", "--no-cache", "."], flags].concat());
        Ran::of(command.env("SOURCE_DATE_EPOCH", epoch).output().unwrap()).ok();
        home.file("app:1", "env")
    };
    let proxies = |http: &str| format!("HTTP_PROXY={http}\nNO_PROXY=a,b\n");
    let lower = |http: &str| proxies(http).replace("HTTP_PROXY", "http_proxy").replace("NO_PROXY", "no_proxy");
    let of = |http: &str, epoch: &str| format!("{}{epoch}{}", proxies(http), lower(http));
    assert_eq!(env(&[], "1000"), of("http://p:1", "SOURCE_DATE_EPOCH=1000\n"));
    assert_eq!(env(&["--build-arg=http_proxy=mine"], ""), of("mine", ""));
    assert_eq!(env(&["--build-arg", "SOURCE_DATE_EPOCH=7"], "1000"), of("http://p:1", "SOURCE_DATE_EPOCH=7\n"));
    // No proxy is part of an image or of a key.
    assert!(!home.config("app:1").to_string().contains("http://p:1"));
    assert!(home.build_again("app:1", &["--build-arg=HTTP_PROXY=other"]).ran().is_empty());

    let made = |flags: &[&str]| {
        home.run([&["build", "-q", "-o", "type=oci,dest=app.tar", "."], flags].concat()).ok();
        home.run(["import", "app.tar", "app:2"]).ok();
        home.config("app:2")["created"].as_str().unwrap().to_owned()
    };
    assert_eq!(made(&["--build-arg=SOURCE_DATE_EPOCH=1000"]), "1970-01-01T00:16:40Z");
    assert_ne!(made(&[]), "1970-01-01T00:16:40Z");
    home.run(["build", "--build-arg=SOURCE_DATE_EPOCH=soon", "."]).ends_with(2).says("not a number of seconds");
    write(&home.path("user/.docker/config.json"), "{");
    home.run(["build", "."]).ends_with(2).says("the proxies for builds");
}

#[test]
fn labels_need_no_value() {
    let home = Home::with_base();
    home.build("app:1", "FROM base:1\n", &["--label", "a", "--label", "b=", "--label", "c=d=e"]);
    let labels = &home.config("app:1")["config"]["Labels"];
    assert_eq!(*labels, serde_json::json!({"a": "", "b": "", "c": "d=e"}));
}

#[test]
fn steps_have_the_hosts_limits_and_sizes_that_were_given() {
    let home = Home::with_base();
    let flags = [
        "--add-host=db:10.0.0.1",
        "--add-host=six=[fe80::1],me:host-gateway",
        "--ulimit=nofile=1",
        "--ulimit",
        "nofile=100:200",
        "--shm-size=1.5MiB",
        "--shm-size",
        "2m",
    ];
    let dockerfile =
        "FROM base:1\nRUN ulimit -Sn >/n; ulimit -Hn >>/n; grep /dev/shm /proc/mounts >/shm; cp /etc/hosts /h\n";
    home.build("app:1", dockerfile, &flags);
    assert_eq!(home.file("app:1", "n"), "100\n200\n");
    assert!(home.file("app:1", "shm").contains("size=2048k"));
    let hosts = home.file("app:1", "h");
    for (address, name) in [("10.0.0.1", "db"), ("fe80::1", "six"), ("127.0.0.1", "me")] {
        let line = |line: &str| line.split_whitespace().eq([address, name]);
        assert!(hosts.lines().any(line), "{address} {name}: {hosts}");
    }
    for (flags, says) in [
        (["--ulimit", "files=1"], "there is no limit `files`"),
        (["--ulimit", "nofile=2:1"], "above the hard one"),
        (["--add-host", "db=ten"], "NAME=ADDRESS"),
    ] {
        home.run([&["build", "."], &flags[..]].concat()).ends_with(2).says(says);
    }
}

#[test]
fn secrets_come_from_files_and_variables() {
    let home = Home::with_base();
    home.write("a,file", "of the file");
    home.write(
        "Dockerfile",
        "FROM base:1\nRUN --mount=type=secret,id=a --mount=type=secret,id=b \
         cat /run/secrets/a /run/secrets/b >/both\n",
    );
    let args = ["build", "-t", "app:1", "--secret", "id=a,\"src=a,file\"", "--secret", "id=b,type=env,src=WORD", "."];
    Ran::of(home.command(args).env("WORD", " of the variable").output().unwrap()).ok();
    assert_eq!(home.file("app:1", "both"), "of the file of the variable");
    for (spec, code, says) in [
        ("id=a,type=vault", 2, "no type `vault`"),
        ("id=a,mode=0400", 2, "no key `mode`"),
        ("src=x", 2, "id=ID"),
        ("id=a,type=env,src=NOT_SET", 4, "NOT_SET is not set"),
        ("id=a,src=not-there", 4, "not-there"),
    ] {
        home.run(["build", "--secret", spec, "."]).ends_with(code).says(says);
    }
}

#[test]
fn an_agent_is_a_socket_and_a_key_is_refused() {
    let home = Home::with_base();
    let _agent = UnixListener::bind(home.work().join("agent")).unwrap();
    home.write("id_ed25519", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    home.write(
        "Dockerfile",
        "FROM base:1\nRUN --mount=type=ssh,required=true,id=site test -S \"$SSH_AUTH_SOCK\" && touch /seen\n",
    );
    home.run(["build", "-t", "app:1", "--ssh", "site=agent", "."]).ok();
    assert!(home.files("app:1").contains_key("seen"));
    let default = ["build", "-t", "app:1", "--no-cache", "--ssh", "site", "."];
    Ran::of(home.command(default).env("SSH_AUTH_SOCK", "agent").output().unwrap()).ok();
    home.run(["build", "--ssh", "site", "."]).ends_with(4).says("SSH_AUTH_SOCK is not set");
    for keys in ["site=id_ed25519", "site=id_ed25519,id_rsa"] {
        home.run(["build", "--ssh", keys, "."]).ends_with(2).says("id_ed25519 is not the socket").says("ssh-add");
    }
    home.run(["build", "--ssh", "site=gone", "."]).ends_with(4).says("gone");
}

#[test]
fn a_build_is_for_one_platform() {
    let home = Home::with_base();
    home.write("Dockerfile", "FROM scratch\nCOPY Dockerfile /\n");
    for flags in [&["--platform=linux/amd64,linux/arm64"][..], &["--platform=linux/amd64", "--platform", "linux/arm64"]]
    {
        let ran = home.run([&["build", "."], flags].concat()).ends_with(2);
        ran.says("linux/amd64,linux/arm64: a build is for one platform").says("once for each platform");
    }
    home.build_again("app:1", &["--platform", "linux/s390x, linux/s390x"]);
    assert_eq!(home.config("app:1")["architecture"], "s390x");
    home.build_again("app:2", &["--platform=local"]);
    home.build_again("app:3", &[]);
    assert_eq!(home.config("app:2")["architecture"], home.config("app:3")["architecture"]);
    let build = ["build", "-t", "app:4", "."];
    Ran::of(home.command(build).env("DOCKER_DEFAULT_PLATFORM", "linux/riscv64").output().unwrap()).ok();
    assert_eq!(home.config("app:4")["architecture"], "riscv64");
}

/// What `shiplap.toml` has no word for is taken from the command line there too.
#[test]
fn an_instance_takes_what_is_around_its_steps() {
    let home = Home::with_base();
    home.write("shiplap.toml", CONFIG);
    home.write("openedx/Dockerfile", "FROM base:1\nRUN ulimit -n >/n; cp /etc/hosts /h\n");
    home.write("mfe/Dockerfile", "FROM base:1\n");
    let flags = ["--ulimit", "nofile=123", "--add-host", "db:10.0.0.1", "--iidfile", "id"];
    home.run([&["build", "campus"], &flags[..]].concat()).ends_with(2).says("one image").says("--image");
    home.run([&["build", "campus", "--image", "openedx"], &flags[..]].concat()).ok();
    let name = "shiplap.local/campus/openedx:latest";
    assert_eq!(home.file(name, "n"), "123\n");
    assert!(home.file(name, "h").contains("10.0.0.1"));
    assert!(std::fs::read_to_string(home.work().join("id")).unwrap().len() > 60);
}
