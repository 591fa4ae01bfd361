//! `ADD` of git repositories and of files of the web.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex};

use crate::common::{Home, Repo};

#[test]
fn a_git_repository_at_a_ref_and_a_folder_of_it() {
    let home = Home::with_base();
    let repo = Repo::of(&home.path("remote.git"));
    repo.write("themes/campus/a.scss", "red");
    repo.write("README", "one");
    repo.commit("theme");
    repo.git(&["tag", "v1"]);
    repo.write("themes/campus/a.scss", "blue");
    repo.commit("blue");
    let url = format!("file://{}", repo.path.display());
    let dockerfile = format!(
        "FROM base:1\nADD {url}#v1:themes/campus /theme\nADD {url}#main /all\nADD --keep-git-dir=true {url}#v1 /whole\n"
    );
    let first = home.build("app:1", &dockerfile, &[]);
    let files = home.files("app:1");
    assert_eq!(files["theme/a.scss"], b"red");
    assert_eq!(files["all/themes/campus/a.scss"], b"blue");
    assert!(!files.contains_key("all/.git/HEAD") && files.contains_key("whole/.git/HEAD"));

    // A branch that moved is another input, a tag that did not is the same.
    repo.write("themes/campus/a.scss", "green");
    repo.commit("green");
    let second = home.build_again("app:1", &[]);
    assert_eq!(second.reused().first(), first.ran().first());
    assert!(second.ran().iter().any(|step| step.contains("#main")));
    assert_eq!(home.file("app:1", "all/themes/campus/a.scss"), "green");
}

#[test]
fn a_file_of_the_web_is_asked_for_again_and_fetched_when_it_changed() {
    let home = Home::with_base();
    let web = Web::start("one");
    let built = home.build("app:1", &format!("FROM base:1\nADD {}/page.txt /srv/\n", web.url), &[]);
    assert_eq!(built.ran().len(), 1);
    assert_eq!(home.file("app:1", "srv/page.txt"), "one");
    assert_eq!(home.build_again("app:1", &[]).ran(), Vec::<&str>::new());
    *web.content.lock().unwrap() = "two".to_owned();
    assert_eq!(home.build_again("app:1", &[]).ran().len(), 1);
    assert_eq!(home.file("app:1", "srv/page.txt"), "two");
    let statuses = web.statuses.lock().unwrap().clone();
    assert!(statuses.contains(&304), "what did not change was fetched again: {statuses:?}");

    home.write("Dockerfile", format!("FROM base:1\nADD {}/missing /\n", web.url));
    let ran = home.run(["build", "."]);
    assert_ne!(ran.code, Some(0));
    ran.says("404").says("Dockerfile:2");
}

/// Docker 28 takes them and then compares them with a sha256.
#[test]
fn a_checksum_may_be_a_longer_one() {
    let home = Home::with_base();
    let web = Web::start("one");
    for (algorithm, sum) in [
        ("sha256", "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"),
        ("sha384", "5dbcbedb00d131a29e0593f976f2b43794293923919ad42766de817fec824a6262799fec8d04cb9b17c48e8eae912658"),
        (
            "sha512",
            "05f70341078acf6a06d423d21720f9643d5f953626d88a02636dc3a9e79582aeb0c820857fd3f8dc502aa8360d2c8fa97a985fda5b629b809cad18ffb62d3899",
        ),
    ] {
        let dockerfile = format!("FROM base:1\nADD --checksum={algorithm}:{sum} {}/page.txt /srv/\n", web.url);
        home.build("app:1", &dockerfile, &[]);
        let wrong =
            dockerfile.replace(&format!("{algorithm}:{}", &sum[..2]), &format!("{algorithm}:zz").replace('z', "0"));
        home.write("Dockerfile", wrong);
        home.run(["build", "."]).says("has the checksum").says(&format!("{algorithm}:{sum}"));
    }
}

/// Docker needs the program `xz` for this.
#[test]
fn an_archive_of_xz_is_unpacked() {
    let home = Home::with_base();
    home.write("in/page.txt", "packed");
    let packed = Command::new("tar").args(["-cJf", "a.tar.xz", "-C", "in", "."]).current_dir(home.work()).status();
    if !packed.is_ok_and(|status| status.success()) {
        return eprintln!("skipped: no tar with xz");
    }
    home.build("app:1", "FROM base:1\nADD a.tar.xz /srv/\n", &[]);
    assert_eq!(home.file("app:1", "srv/page.txt"), "packed");
}

/// A web server on loopback with one page, which tells its state by an `ETag`.
struct Web {
    url: String,
    content: Arc<Mutex<String>>,
    statuses: Arc<Mutex<Vec<u16>>>,
}

impl Web {
    fn start(content: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let content = Arc::new(Mutex::new(content.to_owned()));
        let statuses = Arc::new(Mutex::new(Vec::new()));
        let web = Self { url, content: content.clone(), statuses: statuses.clone() };
        // It lives as long as the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut head = String::new();
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                while lines.read_line(&mut head).unwrap() > 2 {}
                let body = content.lock().unwrap().clone();
                let etag = format!("\"{body}\"");
                let known = head.to_lowercase().contains(&format!("if-none-match: {etag}"));
                let (status, body) = match (head.contains("/page.txt"), known) {
                    (false, _) => (404, String::new()),
                    (true, true) => (304, String::new()),
                    (true, false) => (200, body),
                };
                statuses.lock().unwrap().push(status);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status} X\r\nETag: {etag}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        web
    }
}

/// As the image `codejail` of Tutor does it.
#[test]
fn stages_side_by_side_take_from_one_repository() {
    let home = Home::with_base();
    let repo = Repo::of(&home.path("code.git"));
    let mut dockerfile = String::new();
    for n in 0..8 {
        repo.write(&format!("d{n}/file"), format!("{n}"));
        dockerfile += &format!("FROM scratch AS s{n}\nADD file://{}#main:d{n} /\n", repo.path.display());
    }
    repo.commit("all");
    dockerfile += "FROM base:1\n";
    (0..8).for_each(|n| dockerfile += &format!("COPY --from=s{n} /file /f{n}\n"));
    home.build("app:1", &dockerfile, &[]);
    (0..8).for_each(|n| assert_eq!(home.file("app:1", &format!("f{n}")), n.to_string()));
}
