//! `shiplap serve`: what a team does with it, against the program itself.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Command;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::common::{Home, sh};
use crate::serving::{PASSWORD, Serving, log_in, write_passwords};

fn has_skopeo() -> bool {
    let there = Command::new("skopeo").arg("--version").output().is_ok();
    if !there {
        eprintln!("skipped in part: no skopeo in PATH (scripts/test installs it)");
    }
    there
}

/// A certificate for this machine's names, with an authority of its own, in `folder`.
pub fn certificate(folder: &Path, name: &str) {
    std::fs::create_dir_all(folder).unwrap();
    let script = format!(
        "set -e
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.crt -days 2 -subj '/CN=test authority'
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout tls.key -out tls.csr -subj '/CN=test'
        printf 'subjectAltName=IP:127.0.0.1,DNS:{name}' >ext
        openssl x509 -req -in tls.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile ext"
    );
    sh(Command::new("sh").args(["-c", &script]).current_dir(folder));
}

#[test]
fn on_this_machine_it_needs_nothing_and_keeps_releases_where_they_are() {
    let (registry, here, there) = (Home::new(), Home::with_base(), Home::new());
    let serving = Serving::start(&registry, &["--immutable", "campus/*:v*"]);
    assert_eq!((&serving.ready["tls"], &serving.ready["login"]), (&false.into(), &false.into()));
    let name = |tag: &str| format!("{}/campus/app:{tag}", serving.address());
    here.build("app:1", "FROM base:1\nRUN echo hello >/greeting\n", &[]);
    here.build("app:2", "FROM base:1\nRUN echo other >/greeting\n", &[]);
    let pushed = here.json(&["push", "app:1", "--as", &name("1.0.0-g3f2c1ab09d4e")]);
    assert_eq!(there.json(&["pull", &name("1.0.0-g3f2c1ab09d4e")])["digest"], pushed["digest"]);
    assert_eq!(there.file(&name("1.0.0-g3f2c1ab09d4e"), "greeting"), "hello\n");
    here.run(["push", "app:1", "--as", &name("1.0.0-g3f2c1ab09d4e")]).ok();
    here.run(["push", "app:2", "--as", &name("1.0.0-g3f2c1ab09d4e")]).ends_with(3);
    here.run(["push", "app:1", "--as", &name("latest")]).ok();
    here.run(["push", "app:2", "--as", &name("latest")]).ok();
    // Our client does not know this pattern; the server does.
    here.run(["push", "app:1", "--as", &name("v1")]).ok();
    here.run(["push", "app:2", "--as", &name("v1")]).ends_with(5).says("409");
}

#[test]
fn for_other_machines_it_needs_tls_and_users_or_does_not_start() {
    let home = Home::new();
    let passwords = write_passwords(&home);
    let everywhere = ["serve", "--listen", "0.0.0.0:0"];
    let with = |more: &[&str]| home.run([&everywhere[..], more].concat());
    with(&[]).ends_with(3).says("--tls-cert and --tls-key").says("--behind-proxy");
    with(&["--htpasswd", &passwords]).ends_with(3).says("passwords would travel for all to read");
    with(&["--behind-proxy"]).ends_with(3).says("anybody could push and delete").says("--htpasswd");
    home.run(["serve", "--listen", "127.0.0.1:0", "--behind-proxy"]).ends_with(3).says("a proxy lets others in");
    home.run(["serve", "--listen", "127.0.0.1:0", "--anonymous-pull"]).ends_with(2).says("--htpasswd or --tokens");
    home.run(["serve", "--tls-cert", "x"]).ends_with(2).says("--tls-key");
    home.run(["serve", "--body-timeout", "0s"]).ends_with(2).says("--body-timeout");
    home.run(["serve", "--listen", "everywhere"]).ends_with(2).says("127.0.0.1:5000");
}

#[test]
fn what_cannot_be_used_is_said_before_it_begins() {
    let home = Home::new();
    home.write("htpasswd", "ada:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=\n");
    let serve = |more: &[&str]| home.run([&["serve", "--listen", "127.0.0.1:0"], more].concat());
    serve(&["--htpasswd", "htpasswd"]).ends_with(2).says("htpasswd, line 1").says("htpasswd -B");
    serve(&["--htpasswd", "missing"]).ends_with(2).says("missing");
    serve(&["--immutable", "campus/openedx"]).ends_with(2).says("repository:tag");
    serve(&["--tls-cert", "htpasswd", "--tls-key", "htpasswd"]).ends_with(2).says("no certificate in PEM");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    home.run(["serve", "--listen", &address]).ends_with(1).says("another program listens there");
}

#[test]
fn users_and_tokens_over_tls_and_no_secret_in_the_log() {
    let (registry, here) = (Home::new(), Home::with_base());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    certificate(&registry.work(), &host);
    let passwords = write_passwords(&registry);
    let access = "[users]\nada = [\"repository:campus/*:pull,push,delete\", \"registry:catalog:*\"]\n";
    let access = registry.write("access.toml", access);
    let create = |name: &str, scope: &str| {
        let made = registry.run(["serve", "token", "create", name, "--scope", scope, "--expires", "90d"]).ok();
        made.out.trim().to_owned()
    };
    let ci = create("ci", "repository:campus/*:pull,push");
    let reader = create("reader", "repository:campus/app:pull");
    let files = ["tls.pem", "tls.key"].map(|file| registry.work().join(file).to_str().unwrap().to_owned());
    let serving = Serving::start(
        &registry,
        &[
            "--tls-cert",
            &files[0],
            "--tls-key",
            &files[1],
            "--htpasswd",
            &passwords,
            "--access",
            access.to_str().unwrap(),
        ],
    );
    here.build("app:1", "FROM base:1\nRUN echo hello >/greeting\n", &[]);

    // By a name that is no loopback address, or our client would not use TLS.
    let named = (host.as_str(), 0).to_socket_addrs().is_ok_and(|mut all| all.any(|a| a.ip().is_loopback()));
    if named && host != "localhost" {
        let name = format!("{host}:{}/campus/app:ours", serving.port());
        let run = |home: &Home, args: &[&str]| {
            let mut command = home.command(args);
            command.env("SSL_CERT_FILE", registry.work().join("ca.crt")).env("NO_PROXY", "*");
            crate::common::Ran::of(command.output().unwrap())
        };
        let push = ["push", "app:1", "--as", &name];
        let server = format!("{host}:{}", serving.port());
        run(&here, &push).ends_with(5).says("docker login");
        log_in(&here, &server, "ada", "wrong-horse");
        run(&here, &push).ends_with(5);
        log_in(&here, &server, "ada", PASSWORD);
        run(&here, &push).ok();
        let there = Home::new();
        log_in(&there, &server, "anybody", &reader);
        run(&there, &["pull", &name]).ok();
        run(&there, &["push", &name]).ends_with(5);
        assert_eq!(there.file(&name, "greeting"), "hello\n");
    }

    if has_skopeo() {
        here.run(["export", "app:1", "image", "--format", "oci-layout"]).ok();
        let skopeo = |args: &[&str]| {
            let mut command = Command::new("skopeo");
            command.args(args).current_dir(here.work()).env("HOME", here.path("user"));
            let output = command.output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        // skopeo takes a key beside a certificate for a client's.
        std::fs::create_dir(registry.path("trust")).unwrap();
        std::fs::copy(registry.work().join("ca.crt"), registry.path("trust/ca.crt")).unwrap();
        let folder = registry.path("trust").to_str().unwrap().to_owned();
        let image = |name: &str| format!("docker://{}/{name}", serving.address());
        let push = |creds: &str, name: &str| {
            skopeo(&[
                "copy",
                "--insecure-policy",
                "--dest-cert-dir",
                &folder,
                "--dest-creds",
                creds,
                "oci:image",
                &image(name),
            ])
        };
        let ada = format!("ada:{PASSWORD}");
        let (pushed, why) = push(&ada, "campus/app:1");
        assert!(pushed, "{why}");
        assert!(push(&format!("robot:{ci}"), "campus/other:1").0);
        for (creds, name, expected) in [
            ("ada:wrong-horse", "campus/app:1", "unauthorized"),
            (&ada, "other/app:1", "403"),
            (&format!("robot:{reader}"), "campus/app:2", "denied"),
        ] {
            let (pushed, why) = push(creds, name);
            assert!(!pushed && why.contains(expected), "{name}: {why}");
        }
        let with =
            |verb: &str, creds: &str| skopeo(&[verb, "--cert-dir", &folder, "--creds", creds, &image("campus/app:1")]);
        assert!(with("inspect", &format!("robot:{reader}")).0);
        assert!(with("delete", &format!("robot:{ci}")).1.contains("403"));
        assert!(with("delete", &ada).0);
    }

    registry.run(["serve", "token", "list"]).ok().says("ci").says("repository:campus/*:pull,push");
    registry.run(["serve", "token", "revoke", "ci"]).ok();
    registry.run(["serve", "token", "revoke", "ci"]).ends_with(4);
    let log = serving.log();
    let secrets = [PASSWORD, "wrong-horse", &ci, &reader, "eyJ", &BASE64_STANDARD.encode(format!("ada:{PASSWORD}"))];
    for secret in secrets {
        assert!(!log.contains(secret), "a secret is in the log:\n{log}");
    }
    assert!(log.contains("path=/v2/token") && log.contains("user=user:ada"), "{log}");
}

/// A lease of a process that never ends would keep everything on disk for ever.
#[test]
fn a_server_that_rests_holds_nothing_back_from_the_collector() {
    let home = Home::new();
    let serving = Serving::start(&home, &[]);
    assert!(serving.ask("GET /readyz HTTP/1.1").ends_with("ready\n"));
    assert!(serving.ask("GET / HTTP/1.1").contains("Nothing here yet"));
    assert!(serving.ask("POST /v2/a/blobs/uploads/ HTTP/1.1").starts_with("HTTP/1.1 202"));
    let left: Vec<_> =
        std::fs::read_dir(home.store().join("tmp")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn sigterm_lets_a_download_finish() {
    let home = Home::new();
    let mut serving = Serving::start(&home, &[]);
    let blob = vec![b'x'; 48 << 20];
    let digest = shiplap_cache::Digest::of(&blob);
    let mut push = TcpStream::connect(serving.address()).unwrap();
    let head = format!(
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        blob.len()
    );
    push.write_all(head.as_bytes()).unwrap();
    push.write_all(&blob).unwrap();
    let mut answer = String::new();
    push.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");

    let mut pull = TcpStream::connect(serving.address()).unwrap();
    write!(pull, "GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut got = vec![0; 1000];
    pull.read_exact(&mut got).unwrap();
    serving.signal("TERM");
    // It takes nobody any more, and yet sends the rest.
    while TcpStream::connect(serving.address()).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    pull.read_to_end(&mut got).unwrap();
    let body = got.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    assert!(got[body..] == blob);
    assert_eq!(serving.wait().code(), Some(0));
    assert!(serving.log().contains("all requests done"), "{}", serving.log());
}

#[test]
fn a_second_signal_does_not_wait_for_anybody() {
    let home = Home::new();
    let mut serving = Serving::start(&home, &["--drain", "1h"]);
    let mut push = TcpStream::connect(serving.address()).unwrap();
    let digest = shiplap_cache::Digest::of(b"12345");
    write!(
        push,
        "POST /v2/a/blobs/uploads/?digest={digest} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\n12"
    )
    .unwrap();
    // The request has begun when it is counted.
    while !serving.ask("GET /metrics HTTP/1.1").contains("shiplap_http_requests_running 2") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    serving.signal("TERM");
    while TcpStream::connect(serving.address()).is_ok() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    serving.signal("TERM");
    assert_eq!(serving.wait().code(), Some(130));
}

#[test]
fn metrics_have_a_port_of_their_own_and_the_log_is_json_where_asked_for() {
    let home = Home::new();
    let mut serving = Serving::start(&home, &["--metrics-listen", "127.0.0.1:0", "--log-format", "json", "--tokens"]);
    let url = serving.ready["metrics"].as_str().unwrap().to_owned();
    let address = url.trim_start_matches("http://").trim_end_matches("/metrics");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.contains("shiplap_connections") && text.contains("# EOF"), "{text}");
    assert!(serving.ask("GET /metrics HTTP/1.1").starts_with("HTTP/1.1 404"));
    assert!(serving.ask("GET /v2/_catalog?token=t0psecret HTTP/1.1").starts_with("HTTP/1.1 401"));
    assert!(serving.ask("GET /healthz HTTP/1.1").ends_with("ok\n"));
    serving.signal("INT");
    assert_eq!(serving.wait().code(), Some(0));
    let log = serving.log();
    assert!(!log.contains("t0psecret"), "{log}");
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let catalog = lines.iter().find(|line| line["path"] == "/v2/_catalog").unwrap_or_else(|| panic!("{log}"));
    assert_eq!((&catalog["status"], &catalog["method"], &catalog["user"]), (&401.into(), &"GET".into(), &"-".into()));
    assert!(catalog["ms"].is_u64() && catalog["bytes"].is_u64() && catalog["remote"] == "127.0.0.1");
}

#[test]
fn the_secret_of_a_token_is_shown_once() {
    let home = Home::new();
    let made =
        home.json(&["serve", "token", "create", "ci", "--scope", "repository:a:pull", "--scope", "registry:catalog:*"]);
    let secret = made["secret"].as_str().unwrap();
    assert!(secret.starts_with("shiplap_") && secret.len() > 40);
    let listed = home.json(&["serve", "token", "list"]);
    assert_eq!(listed[0]["scopes"], serde_json::json!(["repository:a:pull", "registry:catalog:*"]));
    assert!(!listed.to_string().contains(secret));
    home.run(["serve", "token", "create", "ci", "--scope", "repository:a:pull"]).ends_with(3).says("revoke it first");
    home.run(["serve", "token", "create", "x", "--scope", "repository:a:write"])
        .ends_with(2)
        .says("pull, push and delete");
    // The environment of a server does not stand in the way.
    let mut command = home.command(["serve", "token", "list"]);
    command.env("SHIPLAP_SERVE_LISTEN", "0.0.0.0:5000");
    assert!(command.output().unwrap().status.success());
}
