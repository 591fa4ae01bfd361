//! Builds of what is no folder: URLs and standard input. What Docker does with the same was tried with 28.5 and buildx 0.29.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{Home, Ran, Repo, sh};

const DOCKERFILE: &str = "FROM base:1\nCOPY . /all/\n";

/// A folder with a Dockerfile, one in a folder of it, and an ignore file that no such context looks at.
fn fill(folder: &Path) {
    let write = |path: &str, text: &str| {
        let at = folder.join(path);
        std::fs::create_dir_all(at.parent().unwrap()).unwrap();
        std::fs::write(at, text).unwrap();
    };
    write("Dockerfile", DOCKERFILE);
    write(".dockerignore", "*.md\n");
    write("Dockerfile.dockerignore", "*.md\n");
    write("a.txt", "a");
    write("b.md", "b");
    write("sub/Dockerfile", "FROM base:1\nCOPY . /sub/\n");
    write("sub/s.txt", "s");
    std::os::unix::fs::symlink("sub/Dockerfile", folder.join("linked")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", folder.join("escape")).unwrap();
}

/// A tar of it, in which `a.txt` belongs to somebody.
fn tar(home: &Home, name: &str, flags: &[&str]) -> PathBuf {
    let (folder, to) = (home.path("source"), home.work().join(name));
    if !folder.exists() {
        fill(&folder);
    }
    sh(Command::new("tar")
        .args(flags)
        .args(["--owner=1000", "--group=1001", "-cf"])
        .arg(&to)
        .arg("-C")
        .arg(folder)
        .arg("."));
    to
}

/// Builds with a file as standard input and gives the paths below a folder of the image.
#[track_caller]
fn built(home: &Home, args: &[&str], stdin: Option<&Path>, below: &str) -> Vec<String> {
    build(home, args, stdin).ok();
    let files = home.files("app:1").into_keys();
    files.filter_map(|path| path.strip_prefix(below).map(str::to_owned)).filter(|path| !path.is_empty()).collect()
}

fn build(home: &Home, args: &[&str], stdin: Option<&Path>) -> Ran {
    let mut command = home.command([&["build", "-t", "app:1"], args].concat());
    if let Some(path) = stdin {
        command.stdin(Stdio::from(File::open(path).unwrap()));
    }
    Ran::of(command.output().unwrap())
}

const WHOLE: [&str; 9] = [
    ".dockerignore",
    "Dockerfile",
    "Dockerfile.dockerignore",
    "a.txt",
    "b.md",
    "escape",
    "linked",
    "sub/",
    "sub/Dockerfile",
];

#[test]
fn a_tar_on_standard_input_is_the_context() {
    let home = Home::with_base();
    for (name, flags) in
        [("a.tar", &[][..]), ("a.gz", &["-z"]), ("a.bz2", &["-j"]), ("a.xz", &["-J"]), ("a.zst", &["--zstd"])]
    {
        let tar = tar(&home, name, flags);
        assert_eq!(built(&home, &["-"], Some(&tar), "all/")[..9], WHOLE, "{name}");
    }
}

#[test]
fn files_of_a_tar_keep_their_owners_and_the_dockerfile_is_in_it() {
    let home = Home::with_base();
    let tar = tar(&home, "a.tar", &[]);
    for file in ["sub/Dockerfile", "linked", "./sub/../sub/Dockerfile"] {
        assert!(built(&home, &["-f", file, "-"], Some(&tar), "sub/").contains(&"sub/s.txt".to_owned()), "{file}");
    }
    home.write("d", "FROM base:1\nCOPY a.txt /\nRUN --mount=target=/c stat -c %u:%g /a.txt /c/a.txt >/owners\n");
    let text = std::fs::read(home.work().join("d")).unwrap();
    std::fs::write(home.path("source/Dockerfile"), text).unwrap();
    let tar = self::tar(&home, "b.tar", &[]);
    built(&home, &["-"], Some(&tar), "");
    assert_eq!(home.file("app:1", "owners"), "1000:1001\n1000:1001\n");
    assert!(build(&home, &["-"], Some(&tar)).ok().err.contains("CACHED"));

    // A link out of the context leads nowhere.
    build(&home, &["-f", "escape", "-"], Some(&tar)).ends_with(4).says("there is no Dockerfile escape");
    build(&home, &["-f", "../x", "-"], Some(&tar)).ends_with(4).says("there is no Dockerfile ../x");
    build(&home, &["-f", "-", "-"], Some(&tar)).ends_with(2).says("not for both");
}

#[test]
fn a_dockerfile_on_standard_input_has_no_context() {
    let home = Home::with_base();
    home.write("not-seen", "");
    let dockerfile = home.write("d", "FROM base:1\nCOPY . /all/\nRUN echo hello >/greeting\n");
    assert_eq!(built(&home, &["-"], Some(&dockerfile), "all/"), Vec::<String>::new());
    assert_eq!(home.file("app:1", "greeting"), "hello\n");
    let wrong = home.write("w", "FROM base:1\nCOPY gone /\n");
    build(&home, &["-"], Some(&wrong)).ends_with(2).says("gone").says("Dockerfile:2");
    build(&home, &["-f", "other", "-"], Some(&dockerfile)).ends_with(2).says("--file other is another");
    let empty = home.write("empty", "");
    build(&home, &["-"], Some(&empty)).ends_with(2);
}

/// With `-f -` the Dockerfile has no ignore file of its own.
#[test]
fn a_dockerfile_on_standard_input_for_a_folder() {
    let home = Home::with_base();
    fill(&home.work());
    let dockerfile = home.path("d");
    std::fs::write(&dockerfile, DOCKERFILE).unwrap();
    std::fs::write(home.work().join(".dockerignore"), "a.txt").unwrap();
    let files = built(&home, &["-f", "-", "."], Some(&dockerfile), "all/");
    assert!(files.contains(&"b.md".to_owned()) && !files.contains(&"a.txt".to_owned()), "{files:?}");
    let files = built(&home, &["."], None, "all/");
    assert!(!files.contains(&"b.md".to_owned()) && files.contains(&"a.txt".to_owned()), "{files:?}");
    // The ignore file of a Dockerfile outside is beside it.
    std::fs::write(home.path("outside"), DOCKERFILE).unwrap();
    std::fs::write(home.path("outside.dockerignore"), "sub").unwrap();
    let files = built(&home, &["-f", "../outside", "."], None, "all/");
    assert!(files.contains(&"b.md".to_owned()) && !files.iter().any(|path| path.starts_with("sub")), "{files:?}");
    std::fs::rename(home.work().join("Dockerfile"), home.work().join("dockerfile")).unwrap();
    assert!(built(&home, &["."], None, "all/").contains(&"dockerfile".to_owned()));
}

#[test]
fn a_git_repository_is_the_context() {
    let home = Home::with_base();
    let at = home.path("site.git");
    fill(&at);
    let repo = Repo::of(&at);
    repo.git(&["tag", "v1"]);
    repo.write("zlater", "");
    let commit = repo.commit("later");
    let url = format!("file://{}", at.display());
    assert_eq!(built(&home, &[&url], None, "all/")[..9], WHOLE);
    assert!(home.files("app:1").contains_key("all/zlater"));
    for of_tag in [format!("{url}#v1"), format!("{url}?tag=v1")] {
        built(&home, &[&of_tag], None, "all/");
        assert!(!home.files("app:1").contains_key("all/zlater"), "{of_tag}");
    }
    for of_folder in [format!("{url}#main:sub"), format!("{url}?subdir=sub&ref={commit}")] {
        assert_eq!(built(&home, &[&of_folder], None, "sub/"), ["Dockerfile", "s.txt"], "{of_folder}");
    }
    assert!(built(&home, &["-f", "sub/Dockerfile", &url], None, "sub/").contains(&"a.txt".to_owned()));
    let dockerfile = home.write("d", "FROM base:1\nCOPY a.txt /only/\n");
    assert_eq!(built(&home, &["-f", "-", &url], Some(&dockerfile), "only/"), ["a.txt"]);
    assert_eq!(built(&home, &["-f", dockerfile.to_str().unwrap(), &url], None, "only/"), ["a.txt"]);
    build(&home, &["-f", "d", &url], None).ends_with(4).says("there is no Dockerfile d");

    assert!(!built(&home, &[&url], None, "all/.git/").contains(&"HEAD".to_owned()));
    let keep = "--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=1";
    assert!(built(&home, &[keep, &url], None, "all/.git/").contains(&"HEAD".to_owned()));
    build(&home, &[&format!("{url}#none")], None).ends_with(5).says("no branch, tag or commit `none`");
    build(&home, &[&format!("{url}#main:none")], None).ends_with(5).says("no directory `none`");
    home.run(["plan", &url]).ok().says("COPY . /all/");
}

#[test]
fn files_of_the_web_are_contexts_and_dockerfiles() {
    let home = Home::with_base();
    tar(&home, "a.tar", &[]);
    tar(&home, "a.tgz", &["-z"]);
    home.write("d/Dockerfile", "FROM base:1\nCOPY . /web/\n");
    let url = serve(home.work());
    for name in ["a.tar", "a.tgz"] {
        assert_eq!(built(&home, &[&format!("{url}/{name}")], None, "all/")[..9], WHOLE, "{name}");
    }
    let tar = format!("{url}/a.tar");
    assert!(built(&home, &["-f", "sub/Dockerfile", &tar], None, "sub/").contains(&"a.txt".to_owned()));
    // BuildKit's name for the one file that is there then.
    assert_eq!(built(&home, &[&format!("{url}/d/Dockerfile")], None, "web/"), ["context"]);
    let dockerfile = format!("{url}/d/Dockerfile");
    assert_eq!(built(&home, &["-f", &dockerfile, "d"], None, "web/"), ["Dockerfile"]);
    assert!(built(&home, &["-f", &dockerfile, &tar], None, "web/").contains(&"b.md".to_owned()));
    build(&home, &[&format!("{url}/none.tar")], None).ends_with(5).says("none.tar").says("404");
    build(&home, &["-f", &format!("{url}/none"), "d"], None).ends_with(5).says("404");
    build(&home, &["-f", "x", &dockerfile], None).ends_with(2).says("--file x is another");
}

/// No ignore file is looked at in those that are fetched, as in BuildKit.
#[test]
fn named_contexts_of_every_kind() {
    let home = Home::with_base();
    tar(&home, "a.tar", &[]);
    let at = home.path("site.git");
    fill(&at);
    Repo::of(&at);
    home.build("image:1", "FROM base:1\nRUN mkdir /x && touch /x/image\n", &[]);
    home.run(["export", "image:1", "layout"]).ok();
    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(home.work().join("layout/index.json")).unwrap()).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap();
    home.write("folder/seen.txt", "");
    home.write("folder/b.md", "");
    home.write("folder/.dockerignore", "*.md");
    home.write("Dockerfile", "FROM base:1\nCOPY --from=of . /of/\nRUN --mount=from=of,target=/m ls -A /m >/seen\n");
    let url = serve(home.work());
    for (place, first, rest) in [
        ("folder".to_owned(), ".dockerignore", vec!["seen.txt"]),
        (format!("{url}/a.tar"), ".dockerignore", WHOLE[1..].to_vec()),
        (format!("file://{}#main:sub", at.display()), "Dockerfile", vec!["s.txt"]),
        ("docker-image://image:1".to_owned(), "bin/", vec![]),
        ("oci-layout://layout".to_owned(), "bin/", vec![]),
        ("oci-layout://layout:1".to_owned(), "bin/", vec![]),
        (format!("oci-layout://layout:old@{digest}"), "bin/", vec![]),
    ] {
        let files = built(&home, &["--build-context", &format!("of={place}"), "."], None, "of/");
        assert_eq!(files[0], first, "{place}");
        assert!(
            rest.is_empty() || files[1..].starts_with(&rest.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>()),
            "{place}: {files:?}"
        );
        assert_eq!(
            files.contains(&"x/image".to_owned()),
            place.contains("image:") || place.contains("layout"),
            "{place}"
        );
        let seen = home.file("app:1", "seen");
        assert_eq!(seen.lines().next(), Some(first.trim_end_matches('/')), "{place}");
    }
    build(&home, &["--build-context", "of=oci-layout://layout:2", "."], None).ends_with(1).says("no tag 2, but 1");
    let other = format!("of=oci-layout://layout@sha256:{}", "0".repeat(64));
    build(&home, &["--build-context", &other, "."], None).ends_with(1).says("its index does not hold sha256:000");
    build(&home, &["--build-context", "of=oci-layout://none", "."], None).ends_with(1).says("none");
    build(&home, &["--build-context", "of=none", "."], None).ends_with(4).says("none");
}

/// A server of the files of a folder.
pub fn serve(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let request = lines.by_ref().next().unwrap_or_default();
            lines.take_while(|line| !line.is_empty()).for_each(drop);
            let path = request.split_whitespace().nth(1).unwrap_or("/").trim_start_matches('/');
            let (status, body) = match std::fs::read(folder.join(path)) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    url
}
