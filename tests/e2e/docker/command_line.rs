//! Contexts that are no folder, and files that are taken into one.

use std::fs::{self, File};
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::add::repository;
use super::engine::Engine;
use super::{succeeded, tally, tree, with_images};
use crate::common::{Home, sh, write};
use crate::contexts_from_elsewhere::serve;

/// A folder with what contexts are made of.
struct Site {
    home: Home,
    engine: &'static Engine,
}

impl Site {
    fn new() -> Option<Self> {
        let engine = Engine::get()?;
        let site = Self { home: Home::new(), engine };
        let tar = engine.base_tar().to_str().unwrap();
        succeeded(
            site.home.command(["import", tar, &engine.images()[0].0, "--change=ENV PATH=/bin"]).output().unwrap(),
        );
        site.write("Dockerfile", "FROM base\nCOPY . /all/\n");
        site.write("Dockerfile.dockerignore", "*.md\n");
        site.write(".dockerignore", "*.md\n");
        site.write("a.txt", "a");
        site.write("b.md", "b");
        site.write("sub/Dockerfile", "FROM base\nCOPY . /sub/\nCOPY --chown=7:8 a* /owned/\n");
        site.write("sub/a.md", "c");
        std::os::unix::fs::symlink("sub", site.at("link")).unwrap();
        Some(site)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.home.work().join(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        write(&self.at(path), with_images(text, self.engine))
    }

    /// A tar of the folder, in which everything belongs to somebody.
    fn tar(&self, name: &str, flags: &[&str]) -> PathBuf {
        let to = self.home.path(name);
        let owner = ["--owner=1000", "--group=1001", "--numeric-owner", "-cf"];
        sh(Command::new("tar").args(flags).args(owner).arg(&to).arg("-C").arg(self.home.work()).arg("."));
        to
    }

    /// Both build it to the same files.
    #[track_caller]
    fn same(&self, args: &[&str], stdin: Option<&Path>) {
        let (theirs, ours) = (self.home.path("docker.tar"), self.home.path("shiplap.tar"));
        let output = |tar: &Path| format!("--output=type=tar,dest={}", tar.display());
        let stdin = || stdin.map_or_else(Stdio::null, |path| File::open(path).unwrap().into());
        let (to_theirs, to_ours) = (output(&theirs), output(&ours));
        let docker = [&["buildx", "build", "--network=host", &to_theirs], args].concat();
        succeeded(self.engine.docker_with(&docker, stdin()));
        let shiplap = [&["build", "--network=host", &to_ours], args].concat();
        succeeded(self.home.command(shiplap).stdin(stdin()).output().unwrap());
        let read = |tar: &Path| tree::read(File::open(tar).unwrap());
        let differences = tree::differences(&read(&theirs), &read(&ours), |_| false);
        tally::count(if differences.is_empty() { "passed" } else { "failed" }, Location::caller());
        assert!(differences.is_empty(), "{args:?}: docker (-) and shiplap (+) differ:\n{}", differences.join("\n"));
    }
}

#[test]
fn standard_input() {
    let Some(site) = Site::new() else { return };
    for (name, flags) in [("a.tar", &[][..]), ("a.tgz", &["-z"])] {
        let tar = site.tar(name, flags);
        site.same(&["-"], Some(&tar));
        site.same(&["-f", "sub/Dockerfile", "-"], Some(&tar));
        site.same(&["-f", "link/Dockerfile", "-"], Some(&tar));
    }
    let dockerfile = site.write("d", "FROM base\nCOPY . /all/\nRUN echo hello >/greeting\n");
    site.same(&["-"], Some(&dockerfile));
    site.same(&["-f", "-", site.home.work().to_str().unwrap()], Some(&dockerfile));
}

#[test]
fn files_of_the_web() {
    let Some(site) = Site::new() else { return };
    fs::copy(site.tar("a.tgz", &["-z"]), site.at("a.tgz")).unwrap();
    let url = serve(site.home.work());
    let (tar, dockerfile) = (format!("{url}/a.tgz"), format!("{url}/sub/Dockerfile"));
    site.same(&[&tar], None);
    site.same(&["-f", "sub/Dockerfile", &tar], None);
    site.same(&["-f", &dockerfile, &tar], None);
    site.same(&["-f", &dockerfile, site.home.work().to_str().unwrap()], None);
    site.write("only", "FROM base\nCOPY . /all/\n");
    site.same(&[&format!("{url}/only")], None);
}

#[test]
fn repositories() {
    let Some(site) = Site::new() else { return };
    let Some(served) = repository() else { return };
    let url = &served.url;
    let dockerfile = site.write("d", "FROM base\nCOPY . /all/\nCOPY --chown=7 . /owned/\n");
    for context in
        [url.clone(), format!("{url}#v2"), format!("{url}#main:dir"), format!("{url}?tag=v1&subdir=dir/deep")]
    {
        site.same(&["-f", "-", &context], Some(&dockerfile));
    }
    let absolute = dockerfile.to_str().unwrap();
    site.same(&["-f", absolute, "--build-arg=BUILDKIT_CONTEXT_KEEP_GIT_DIR=0", &format!("{url}#v1")], None);
}

#[test]
fn files_in_a_folder() {
    let Some(site) = Site::new() else { return };
    site.write(
        "Dockerfile",
        "FROM base\nRUN mkdir -p /made/deep && echo x >/made/deep/x && chmod 4751 /made/deep/x && chown 7:8 /made/deep/x \
         && ln /made/deep/x /made/y && ln -s deep/x /made/z && ln -s /nowhere /made/lost && mkfifo /made/pipe \
         && chmod 1770 /made/deep && chmod 500 /made\nRUN rm -r /made/y && touch -d @1000000000 /made/deep/x\n",
    );
    let folder = |name: &str| {
        let to = site.home.path(name);
        write(&to.join("mine"), "stays");
        write(&to.join("made/deep/other"), "stays");
        write(&to.join("made/z/in-the-way"), "goes");
        to
    };
    let (theirs, ours) = (folder("theirs"), folder("ours"));
    let work = site.home.work();
    let args = |to: &Path| [format!("--output={}", to.display()), "--network=host".into(), work.display().to_string()];
    let docker = args(&theirs);
    let docker: Vec<&str> = ["buildx", "build"].into_iter().chain(docker.iter().map(String::as_str)).collect();
    succeeded(site.engine.docker(&docker));
    succeeded(site.home.command(["build".to_owned()].into_iter().chain(args(&ours))).output().unwrap());
    let files = |folder: &Path| {
        let tar = folder.with_extension("tar");
        sh(Command::new("tar")
            .args(["--format=pax", "--xattrs", "--sort=name", "-cf"])
            .arg(&tar)
            .arg("-C")
            .arg(folder)
            .arg("."));
        let listed = sh(Command::new("find").arg(folder).args(["-type", "f", "-printf", "%P %T@\n"]));
        let mut times: Vec<String> = listed.lines().filter(|line| line.contains("deep/x")).map(str::to_owned).collect();
        times.sort();
        (tree::read(File::open(tar).unwrap()), times)
    };
    let ((theirs, their_times), (ours, our_times)) = (files(&theirs), files(&ours));
    let differences = tree::differences(&theirs, &ours, |_| false);
    tally::count(if differences.is_empty() { "passed" } else { "failed" }, Location::caller());
    assert!(differences.is_empty(), "docker (-) and shiplap (+) differ:\n{}", differences.join("\n"));
    assert_eq!(our_times, their_times);
}
