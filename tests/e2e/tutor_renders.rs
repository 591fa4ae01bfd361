//! The Dockerfiles that real Tutor renders, releases 18 to 22, with its plugins: every one of them plans, and what needs no network
//! is built.
//!
//! `SHIPLAP_TEST_TUTOR_RELEASES` is the folder that `scripts/tutor-releases` fills. Tutor itself says which images there are and with
//! which flags they are built: it runs `docker`, and here that is a script that writes down its arguments. What a build would fetch
//! is replaced: images by `--build-context` with an OCI layout, repositories by git's own `url.<base>.insteadOf`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use shiplap_builder::dockerfile::{self, BuildOptions};
use shiplap_builder::plan::{
    AddSource, BuildContext, CopySource, GitSource, ImageConfig, ImageOrigin, MountKind, Op, Source,
};

use crate::common::{Home, Repo, sh, write};

const PLUGIN: &str = include_str!("../fixtures/tutor/every_patch.py");

/// One release of Tutor with a project of its own.
struct Tutor {
    program: PathBuf,
    home: Home,
    asked: usize,
}

/// One `docker buildx build` that Tutor asked for.
#[derive(Debug)]
struct Asked {
    /// The flags of the build itself, not of where its image goes.
    flags: Vec<String>,
    context: PathBuf,
}

/// What builds fetch from elsewhere.
#[derive(Debug, Default)]
struct Outside {
    images: BTreeSet<String>,
    /// By the base of the URL, as far as its host.
    repositories: Vec<GitSource>,
    urls: BTreeSet<String>,
    /// Paths that steps take from images, repositories and stages.
    taken: BTreeSet<String>,
    /// Paths that steps take from contexts besides the main one.
    of_contexts: BTreeMap<String, BTreeSet<String>>,
}

impl Tutor {
    fn new(release: u32) -> Option<Self> {
        let Some(folder) = std::env::var_os("SHIPLAP_TEST_TUTOR_RELEASES") else {
            eprintln!("skipped: SHIPLAP_TEST_TUTOR_RELEASES is not set (scripts/tutor-releases makes what it names)");
            return None;
        };
        let program = Path::new(&folder).join(format!("{release}/bin/tutor"));
        if !program.exists() {
            eprintln!("skipped: there is no {}", program.display());
            return None;
        }
        let tutor = Self { program, home: Home::new(), asked: 0 };
        let docker = write(
            &tutor.home.path("bin/docker"),
            "#!/bin/sh\nprintf '%s\\n' \"$@\" > \"$(mktemp \"$ASKED/XXXXXX\")\"\n",
        );
        fs::set_permissions(docker, fs::Permissions::from_mode(0o755)).unwrap();
        write(&tutor.home.path("plugins/every_patch.py"), PLUGIN);
        let plugins = tutor.run(&["plugins", "list"]);
        let names = plugins.lines().skip_while(|line| !line.starts_with("NAME")).skip(1);
        let names: Vec<_> = names.filter_map(|line| line.split_whitespace().next()).collect();
        assert!(names.contains(&"mfe") && names.contains(&"every_patch"), "{plugins}");
        tutor.run(&[&["plugins", "enable"], &names[..]].concat());
        tutor.run(&["config", "save"]);
        Some(tutor)
    }

    /// Runs Tutor; what it asks of docker is written down in a folder of its own.
    fn run(&self, args: &[&str]) -> String {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(&self.program);
        command.args(args).current_dir(self.home.work()).stdin(Stdio::null()).env_clear();
        command.envs(self.home.environment()).env("TUTOR_ROOT", self.home.path("tutor"));
        command.env("TUTOR_PLUGINS_ROOT", self.home.path("plugins")).env("ASKED", self.home.path("asked"));
        command.env("PATH", format!("{}:{path}", self.home.path("bin").display()));
        sh(&mut command)
    }

    /// What `tutor images build` asks of docker.
    fn builds(&mut self, images: &[&str]) -> Vec<Asked> {
        let folder = self.home.path("asked");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        self.run(&[&["images", "build"], images].concat());
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        let mut asked: Vec<_> =
            files.iter().filter_map(|file| Asked::read(&fs::read_to_string(file).unwrap())).collect();
        asked.sort_by_key(|asked| (asked.context.clone(), asked.flags.clone()));
        self.asked += asked.len();
        asked
    }

    /// Makes stand-ins for what builds fetch, and gives the flags that name them.
    fn stand_ins(&self, outside: &Outside) -> Vec<String> {
        // One image for all: busybox, and what is copied from any of them.
        let root = self.home.path("image");
        for path in &outside.taken {
            fill(&root, path);
        }
        for (file, text) in
            [("etc/passwd", "root:x:0:0::/:/bin/sh\napp:x:1000:1000::/:/bin/sh\n"), ("etc/group", "app:x:1000:\n")]
        {
            write(&root.join(file), text);
        }
        fs::create_dir_all(root.join("bin")).unwrap();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists()).unwrap();
        fs::copy(busybox, root.join("bin/busybox")).unwrap();
        for applet in ["sh", "chmod", "mkdir", "echo"] {
            let _ = std::os::unix::fs::symlink("busybox", root.join("bin").join(applet));
        }
        let (tar, layout) = (self.home.path("image.tar"), self.home.path("layout"));
        sh(Command::new("tar").arg("-cf").arg(&tar).arg("-C").arg(&root).arg("."));
        self.home.run(["import", tar.to_str().unwrap(), "stand-in:1", "--change", "ENV PATH=/bin"]).ok();
        let _ = fs::remove_dir_all(&layout);
        self.home.run(["export", "stand-in:1", layout.to_str().unwrap()]).ok();

        // One repository for all, under each name that is asked for.
        let repo = Repo::of(&self.home.path("repository"));
        outside.taken.iter().for_each(|path| fill(&repo.path, path));
        for folder in outside.repositories.iter().filter_map(|source| source.subdir.as_deref()) {
            fill(&repo.path.join(folder), "a-file");
        }
        repo.commit("all that is asked for");
        let mut config = String::new();
        for source in &outside.repositories {
            if let Some(name) = &source.reference {
                repo.git(&["update-ref", &format!("refs/tags/{name}"), "HEAD"]);
            }
            let (scheme, rest) = source.url.split_once("://").unwrap();
            let (host, path) = rest.split_once('/').unwrap();
            let at = self.home.path("hosts").join(host).join(path);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            let _ = std::os::unix::fs::symlink(&repo.path, at);
            let base = self.home.path("hosts").join(host);
            config += &format!("[url \"file://{}/\"]\n\tinsteadOf = {scheme}://{host}/\n", base.display());
        }
        // Whoever runs the tests may not own the repository in git's eyes.
        write(&self.home.path("gitconfig"), config + "[safe]\n\tdirectory = *\n");
        let named = |image: &String| format!("--build-context={image}=oci-layout://{}", layout.display());
        outside.images.iter().map(named).collect()
    }

    fn shiplap(&self, verb: &str, asked: &Asked, flags: &[String]) -> Value {
        let words = ["--json", verb].into_iter().map(str::to_owned);
        let words = words.chain(asked.flags.iter().cloned()).chain(flags.iter().cloned());
        let mut command = self.home.command(words.chain([asked.context.display().to_string()]));
        command.env("GIT_CONFIG_GLOBAL", self.home.path("gitconfig"));
        // Nothing is fetched behind our back.
        for proxy in ["http_proxy", "https_proxy"] {
            command.env(proxy, "http://127.0.0.1:9");
        }
        crate::common::Ran::of(command.output().unwrap()).ok().json()
    }
}

impl Asked {
    /// Reads the words of a `docker` command; none when it is no build.
    fn read(words: &str) -> Option<Self> {
        let mut words: Vec<_> = words.lines().map(str::to_owned).collect();
        let context = PathBuf::from(words.pop()?);
        let [buildx, build, flags @ ..] = words.as_slice() else { return None };
        assert_eq!((buildx.as_str(), build.as_str()), ("buildx", "build"));
        // Where the image goes, and where Docker's own cache is, is nothing that changes a plan.
        let elsewhere = ["--tag=", "--output=", "--cache-from=", "--cache-to="];
        let flags = flags.iter().filter(|flag| !elsewhere.iter().any(|name| flag.starts_with(name))).cloned().collect();
        Some(Self { flags, context })
    }

    fn flag(&self, name: &str) -> impl Iterator<Item = &str> {
        self.flags.iter().filter_map(move |flag| flag.strip_prefix(name)?.strip_prefix('='))
    }

    fn target(&self) -> Option<&str> {
        self.flag("--target").last()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.context.join("Dockerfile")).unwrap()
    }

    /// Its name in the tables: where it is, and what of it is built.
    fn name(&self) -> String {
        let path: Vec<_> = self.context.components().map(|part| part.as_os_str().to_str().unwrap()).collect();
        let path: Vec<_> = path.rsplit(|part| *part == "build").next().unwrap_or(&path).to_vec();
        let path = if path.is_empty() { "build".to_owned() } else { path.join("/") };
        self.target().map_or(path.clone(), |target| format!("{path}:{target}"))
    }

    /// Notes what the build fetches.
    fn look(&self, outside: &mut Outside) {
        let pairs = |name| self.flag(name).map(|pair| pair.split_once('=').unwrap());
        let options = BuildOptions {
            target: self.target().map(str::to_owned),
            build_args: pairs("--build-arg").map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            build_contexts: pairs("--build-context")
                .map(|(name, place)| (name.to_owned(), BuildContext::parse(place).unwrap()))
                .collect(),
            ..BuildOptions::default()
        };
        let read = dockerfile::parse("Dockerfile", &self.text()).unwrap().resolve(&options).unwrap();
        for used in read.images().unwrap() {
            let ImageOrigin::Registry(name) = used.image.origin else { panic!("{used:?}") };
            outside.images.insert(name);
        }
        let plan = read.lower(&|_| Some(ImageConfig::default())).unwrap();
        for step in plan.stages.iter().flat_map(|stage| &stage.steps) {
            match &step.op {
                Op::Copy(copy) => {
                    for source in &copy.sources {
                        let CopySource::Path { base, pattern } = source else { continue };
                        outside.take(&copy.from, &format!("{base}/{pattern}"));
                    }
                }
                Op::Run(run) => {
                    for mount in &run.mounts {
                        if let MountKind::Bind { from, source, .. } = &mount.kind {
                            outside.take(from, source);
                        }
                    }
                }
                Op::Add(add) => {
                    for source in &add.sources {
                        match source {
                            AddSource::Git(git) => outside.repositories.push(git.clone()),
                            AddSource::Http { url, .. } => drop(outside.urls.insert(url.clone())),
                            AddSource::Path { .. } | AddSource::Inline(_) => {}
                        }
                    }
                }
                Op::Workdir { .. } | Op::Meta => {}
            }
        }
    }
}

impl Outside {
    fn take(&mut self, from: &Source, path: &str) {
        let path = path.trim_matches('/').replace('*', "any");
        match from {
            Source::Context(name) if name.to_string() == "." => {}
            Source::Context(name) => drop(self.of_contexts.entry(name.to_string()).or_default().insert(path)),
            _ => drop(self.taken.insert(path)),
        }
    }
}

/// Makes sure that there is something at a path.
fn fill(root: &Path, path: &str) {
    let at = root.join(path);
    // What is a folder for somebody else holds the file.
    match path.is_empty() || at.is_dir() {
        true => drop(write(&at.join("a-file"), "a file\n")),
        false if at.ancestors().skip(1).take_while(|above| *above != root).any(Path::is_file) => {}
        false => drop(write(&at, "a file\n")),
    }
}

/// The patches that the templates of Dockerfiles ask for; one with a name in it ends in a dash.
fn patches(program: &Path) -> BTreeSet<String> {
    let packages = program.parent().unwrap().parent().unwrap().join("lib");
    let found = sh(Command::new("grep")
        .args(["-rhoE", "--include=Dockerfile*", r#"patch\(.[a-z-]*dockerfile[^"']*"#])
        .arg(packages));
    let name = |line: &str| line.trim_start_matches("patch(").trim_start_matches(['"', '\'']).replace("{}", "");
    found.lines().map(name).collect()
}

fn every_dockerfile_plans(release: u32) {
    let Some(mut tutor) = Tutor::new(release) else { return };
    let asked = tutor.builds(&["all"]);
    let mut outside = Outside::default();
    asked.iter().for_each(|asked| asked.look(&mut outside));
    let flags = tutor.stand_ins(&outside);

    let rendered: String = asked.iter().map(Asked::text).collect();
    let mut table = String::new();
    let mut planned = String::new();
    for asked in &asked {
        let plan = tutor.shiplap("plan", asked, &flags);
        let steps = plan["images"][0]["steps"].as_array().unwrap();
        let text = asked.text();
        let lines: Vec<&str> = text.lines().collect();
        let mut counts = BTreeMap::<String, usize>::new();
        for step in steps {
            let said = step["text"].as_str().unwrap();
            let keyword = said.split_whitespace().next().unwrap().to_uppercase();
            // It stands where it says.
            let line = lines[step["at"]["line_start"].as_u64().unwrap() as usize - 1].trim_start();
            assert!(line.to_uppercase().starts_with(&keyword), "{said}: {line}");
            planned += said;
            *counts.entry(keyword).or_default() += 1;
        }
        let stages: BTreeSet<_> = steps.iter().map(|step| step["stage"].as_str().unwrap()).collect();
        let counts: Vec<_> = counts.iter().map(|(keyword, count)| format!("{count} {keyword}")).collect();
        table += &format!("{}: {} stages, {}\n", asked.name(), stages.len(), counts.join(", "));
    }
    for patch in patches(&tutor.program).iter().filter(|name| !name.ends_with("-site")) {
        assert!(rendered.contains(&format!("every-patch {patch}")), "the plugin does not use {patch}");
    }
    // What plugins add is part of what is planned.
    for marked in rendered.split("every-patch ").skip(1) {
        let name: String = marked.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect();
        assert!(name.is_empty() || planned.contains(&format!("every-patch {name}")), "{name} is in no plan");
    }
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/tutor/{release}.plans"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &table).unwrap();
    }
    assert_eq!(table, fs::read_to_string(golden).unwrap_or_default());
    eprintln!("Tutor {release}: {} builds plan", asked.len());
}

#[test]
fn every_dockerfile_of_tutor_18_plans() {
    every_dockerfile_plans(18);
}

#[test]
fn every_dockerfile_of_tutor_19_plans() {
    every_dockerfile_plans(19);
}

#[test]
fn every_dockerfile_of_tutor_20_plans() {
    every_dockerfile_plans(20);
}

#[test]
fn every_dockerfile_of_tutor_21_plans() {
    every_dockerfile_plans(21);
}

#[test]
fn every_dockerfile_of_tutor_22_plans() {
    every_dockerfile_plans(22);
}

/// `tutor mounts add`: folders of the developer take the place of stages.
#[test]
fn mounted_folders_take_the_place_of_stages() {
    for release in [18, 22] {
        let Some(mut tutor) = Tutor::new(release) else { continue };
        let folders = ["edx-platform", "frontend-app-authn", "xblock-poll"];
        for folder in folders {
            let at = tutor.home.path(folder);
            fs::create_dir(&at).unwrap();
            tutor.run(&["mounts", "add", at.to_str().unwrap()]);
        }
        tutor.run(&["config", "save"]);
        let asked = tutor.builds(&["openedx", "openedx-dev", "mfe"]);
        let mut outside = Outside::default();
        asked.iter().for_each(|asked| asked.look(&mut outside));
        let given: BTreeSet<_> = asked.iter().flat_map(|asked| asked.flag("--build-context")).collect();
        let mut replaced = 0;
        for (stage, place) in given.iter().map(|pair| pair.split_once('=').unwrap()) {
            for path in outside.of_contexts.get(stage).into_iter().flatten() {
                fill(Path::new(place), path);
                replaced += 1;
            }
        }
        assert!(given.len() >= folders.len() && replaced > 5, "{given:?}");
        let flags = tutor.stand_ins(&outside);
        for asked in &asked {
            let plan = tutor.shiplap("plan", asked, &flags);
            let steps = plan["images"][0]["steps"].as_array().unwrap();
            for (stage, _) in asked.flag("--build-context").map(|pair| pair.split_once('=').unwrap()) {
                assert!(steps.iter().all(|step| step["stage"] != stage), "{stage} is planned");
            }
        }
    }
}

/// What a machine without a network can do of what Tutor renders.
#[test]
fn what_needs_no_network_is_built() {
    for release in [18, 22] {
        let Some(mut tutor) = Tutor::new(release) else { continue };
        let mut outside = Outside::default();
        let permissions = tutor.builds(&["permissions"]).pop().unwrap();
        permissions.look(&mut outside);
        let mut mfe = tutor.builds(&["mfe"]).pop().unwrap();
        mfe.look(&mut outside);
        let flags = tutor.stand_ins(&outside);

        let tag = |name: &str| ["--tag".to_owned(), name.to_owned()];
        tutor.shiplap("build", &permissions, &[&flags[..], &tag("permissions:1")].concat());
        let files = tutor.home.files("permissions:1");
        assert!(files["usr/local/bin/setowner"].starts_with(b"#!"), "Tutor {release}");
        assert_eq!(tutor.home.config("permissions:1")["config"]["Entrypoint"], serde_json::json!(["setowner"]));

        // A stage that is a repository.
        let text = mfe.text();
        let source = text.lines().zip(text.lines().skip(1)).find_map(|(from, next)| {
            next.starts_with("ADD --keep-git-dir").then_some(from.strip_prefix("FROM scratch AS ")).flatten()
        });
        if let Some(stage) = source {
            mfe.flags.push(format!("--target={stage}"));
            tutor.shiplap("build", &mfe, &[&flags[..], &tag("source:1")].concat());
            let files = tutor.home.files("source:1");
            assert!(files.contains_key("package.json") && files.contains_key(".git/HEAD"), "{:?}", files.keys());
        }
    }
}
