//! What a build in a container needs of this machine.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use shiplap_builder::build::{Context, Request, context_files};
use shiplap_builder::plan::{BuildContext, ImageOrigin};
use shiplap_cache::durable::DurableFile;
use shiplap_cache::{ContentHash, SourceTree};
use shiplap_manifests::Config;
use shiplap_manifests::config::Secret;

use super::wire::{Entry, File, Folder, Job, Kind as EntryKind};
use crate::cli::Global;
use crate::commands::build::{Args, default_in, secrets};
use crate::failure::{Failure, Kind, Result};
use crate::release_images::request;
use crate::{app, docker_config};

/// Variables that mean something to a build.
const VARIABLES: [&str; 12] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SOURCE_DATE_EPOCH",
    "BUILDKIT_PROGRESS",
    "SHIPLAP_PROGRESS",
    "DOCKER_DEFAULT_PLATFORM",
];
/// Where the container has things of its own.
const TAKEN: [&str; 13] =
    ["", "bin", "dev", "etc", "lib", "lib64", "proc", "run", "shiplap", "store", "sys", "tmp", "usr"];
const TAKEN_BELOW: [&str; 4] = ["dev", "proc", "store", "sys"];

/// A build, and where its contents are.
pub struct Gathered {
    pub job: Job,
    /// The bytes of the job's files.
    pub files: Vec<Vec<u8>>,
    /// The folders of the job.
    trees: Vec<(SourceTree, PathBuf)>,
}

/// Folders and files, by the path that they have in the container.
#[derive(Default)]
struct Places {
    /// Each with the Dockerfile whose ignore file may be the folder's.
    folders: BTreeMap<PathBuf, Option<PathBuf>>,
    files: BTreeMap<PathBuf, Vec<u8>>,
    variables: BTreeMap<String, String>,
}

/// Gathers what the words of a command line mean.
pub fn gather(global: &Global, args: &Args, words: &[OsString]) -> Result<Gathered> {
    args.refuse_for_engine()?;
    let cwd = std::env::current_dir().map_err(|e| Failure::new(Kind::Failed, format!("which folder is this? {e}")))?;
    let mut places = Places::default();
    places.of_flags(args, &cwd)?;
    places.of_what(global, args, &cwd)?;
    for name in VARIABLES.iter().chain(&["NO_COLOR"]) {
        places.variable(name);
    }
    for name in args.flags.build_arg.iter().filter(|given| !given.contains('=')) {
        places.variable(name);
    }
    let mut gathered = Gathered {
        job: Job { args: passed(words)?, cwd: text(&cwd)?, ..Job::default() },
        files: Vec::new(),
        trees: Vec::new(),
    };
    let memories = app::home(global)?.join("worker");
    for (folder, dockerfile) in &places.folders.clone() {
        check_place(folder)?;
        gathered.folder(folder, dockerfile.as_deref(), &memories)?;
        places.ignore_files(folder, dockerfile.as_deref());
    }
    for (at, bytes) in places.files {
        if !gathered.has(&at) {
            gathered.job.files.push(File { at: text(&at)?, size: bytes.len() as u64 });
            gathered.files.push(bytes);
        }
    }
    gathered.job.env = places.variables;
    Ok(gathered)
}

impl Places {
    fn of_flags(&mut self, args: &Args, cwd: &Path) -> Result<()> {
        for given in &args.flags.build_context {
            let place = given.split_once('=').map_or("", |(_, place)| place);
            // What is wrong with it the build itself says.
            if let Ok(context) = BuildContext::parse(place) {
                self.context(&context, cwd);
            }
        }
        for secret in &args.flags.secret {
            let (file, variable) = secrets::place(secret)?;
            variable.iter().for_each(|name| self.variable(name));
            if let Some(file) = file {
                self.file(&absolute(cwd, Path::new(&file)))?;
            }
        }
        if let Some(path) = docker_config::path()
            && let Ok(bytes) = std::fs::read(path)
        {
            self.files.insert("/run/docker/config.json".into(), bytes);
        }
        Ok(())
    }

    /// A folder, or the images of instances.
    fn of_what(&mut self, global: &Global, args: &Args, cwd: &Path) -> Result<()> {
        if let Some(what) = &args.what {
            if Path::new(what).is_dir() {
                let folder = absolute(cwd, Path::new(what));
                let dockerfile = args.flags.file.clone().unwrap_or_else(|| default_in(Path::new(what)));
                let dockerfile = absolute(cwd, &dockerfile);
                if dockerfile.is_file() {
                    self.file(&dockerfile)?;
                }
                self.folders.insert(folder, Some(dockerfile));
                return Ok(());
            }
            if what.contains("://") || what.starts_with("git@") || what.starts_with("github.com/") {
                return Ok(());
            }
        }
        let path = match &global.config {
            Some(path) => Some(path.clone()),
            None => Config::find(Path::new(".")),
        };
        // Without one the build says what is missing.
        let Some(path) = path else { return Ok(()) };
        let config = Config::load(&path)?;
        self.file(&absolute(cwd, &path))?;
        let named = args.what.as_deref().filter(|what| config.instances.keys().any(|name| name.as_str() == *what));
        let wanted = config.instances.iter().filter(|(name, _)| named.is_none_or(|named| name.as_str() == named));
        for image in wanted.flat_map(|(_, instance)| instance.image.values()) {
            let Request { context, dockerfile, options, .. } = request(&config, image)?;
            if let Context::Folder(folder) = context {
                let dockerfile = absolute(cwd, &dockerfile);
                self.file(&dockerfile)?;
                self.folders.insert(absolute(cwd, &folder), Some(dockerfile));
            }
            options.build_contexts.values().for_each(|context| self.context(context, cwd));
            for secret in image.secrets.values() {
                match secret {
                    Secret::Env(name) => self.variable(name),
                    Secret::File(file) => self.file(&absolute(cwd, &config.folder().join(file)))?,
                }
            }
        }
        Ok(())
    }

    fn context(&mut self, context: &BuildContext, cwd: &Path) {
        let folder = match context {
            BuildContext::Directory(folder) => folder,
            BuildContext::Image(ImageOrigin::OciLayout { path, .. }) => path,
            _ => return,
        };
        if folder.is_dir() {
            self.folders.entry(absolute(cwd, folder)).or_default();
        }
    }

    fn file(&mut self, path: &Path) -> Result<()> {
        let bytes = std::fs::read(path);
        let bytes = bytes.map_err(|e| Failure::new(Kind::Missing, format!("cannot read {}: {e}", path.display())))?;
        self.files.insert(path.to_owned(), bytes);
        Ok(())
    }

    fn variable(&mut self, name: &str) {
        if let Ok(value) = std::env::var(name) {
            self.variables.insert(name.to_owned(), value);
        }
    }

    /// The files that say what is left out may leave out themselves.
    fn ignore_files(&mut self, folder: &Path, dockerfile: Option<&Path>) {
        let own = dockerfile.map(|path| {
            let mut own = path.as_os_str().to_owned();
            own.push(".dockerignore");
            PathBuf::from(own)
        });
        for path in own.into_iter().chain([folder.join(".dockerignore")]) {
            if let Ok(bytes) = std::fs::read(&path) {
                self.files.insert(path, bytes);
            }
        }
    }
}

impl Gathered {
    fn folder(&mut self, folder: &Path, dockerfile: Option<&Path>, memories: &Path) -> Result<()> {
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let id = ContentHash::of(format!("{host}\0{}", folder.display()).as_bytes()).to_string();
        let memory = memories.join(&id);
        let tree = context_files(folder, dockerfile, &std::fs::read(&memory).unwrap_or_default());
        let tree = tree.map_err(|error| Failure::of(Kind::Missing, &error))?;
        let files = tree.files().iter().filter(|(_, file)| file.meta.is_file());
        tree.hash_all(files.map(|(path, _)| path).collect::<Vec<_>>())?;
        let mut entries = Vec::new();
        for (path, file) in tree.files() {
            let at = tree.locate(path);
            let kind = if path.is_root() || file.meta.is_dir() {
                EntryKind::Dir
            } else if file.meta.is_symlink() {
                let target = std::fs::read_link(&at);
                let target =
                    target.map_err(|e| Failure::new(Kind::Failed, format!("cannot read {}: {e}", at.display())))?;
                EntryKind::Link { target: text(&target)? }
            } else if file.meta.is_file() {
                EntryKind::File { size: file.meta.len(), hash: tree.hash(path)? }
            } else {
                continue;
            };
            let path = if path.is_root() { String::new() } else { text(&path.below(Path::new("")))? };
            let mtime = (file.meta.mtime(), file.meta.mtime_nsec());
            entries.push(Entry { path, mode: file.meta.permissions().mode() & 0o7777, mtime, kind });
        }
        self.job.folders.push(Folder { at: text(folder)?, id, entries });
        self.trees.push((tree, memory));
        Ok(())
    }

    /// Whether a file is in one of the folders.
    fn has(&self, path: &Path) -> bool {
        self.job.folders.iter().any(|folder| {
            let inside = path.strip_prefix(&folder.at).ok().and_then(Path::to_str);
            inside.is_some_and(|inside| folder.entries.iter().any(|entry| entry.path == inside))
        })
    }

    /// The content of an entry of a folder.
    pub fn content(&self, folder: usize, entry: usize) -> Result<Vec<u8>> {
        let Some(found) = self.job.folders.get(folder).and_then(|folder| folder.entries.get(entry)) else {
            return Err(Failure::new(Kind::Failed, "the worker asks for a file that was not offered"));
        };
        let path = self.trees[folder].0.root().join(&found.path);
        let bytes = std::fs::read(&path);
        let bytes = bytes.map_err(|e| Failure::new(Kind::Failed, format!("cannot read {}: {e}", path.display())))?;
        match found.kind {
            EntryKind::File { size, .. } if size == bytes.len() as u64 => Ok(bytes),
            _ => {
                Err(Failure::new(Kind::Failed, format!("{} changed while it was sent", path.display()))
                    .hint("build again"))
            }
        }
    }

    /// Bytes of all files in the folders.
    pub fn size(&self) -> u64 {
        let entries = self.job.folders.iter().flat_map(|folder| &folder.entries);
        entries.map(|entry| if let EntryKind::File { size, .. } = entry.kind { size } else { 0 }).sum()
    }

    /// Remembers what was read, so that it is not read again the next time. Without a memory all is read.
    pub fn remember(&self) {
        for (tree, memory) in &self.trees {
            let Some(folder) = memory.parent() else { continue };
            let written = std::fs::create_dir_all(folder).and_then(|()| {
                let mut file = DurableFile::new_in(folder)?;
                std::io::Write::write_all(&mut file, &tree.memory())?;
                file.persist(memory)
            });
            if let Err(error) = written {
                tracing::debug!("{} is not remembered: {error}", tree.root().display());
            }
        }
    }
}

/// The words for the program in the container: all but those about it.
fn passed(words: &[OsString]) -> Result<Vec<String>> {
    const WITH_VALUE: [&str; 4] = ["--engine", "--engine-program", "--home", "--progress"];
    let mut passed = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let word = text(Path::new(word))?;
        if WITH_VALUE.contains(&word.as_str()) {
            rest.next();
        } else if !WITH_VALUE.iter().any(|flag| word.strip_prefix(flag).is_some_and(|rest| rest.starts_with('='))) {
            passed.push(word);
        }
    }
    Ok(passed)
}

/// A path as it is meant from a folder, without `.` and `..`.
fn absolute(cwd: &Path, path: &Path) -> PathBuf {
    let mut whole = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
    }
    whole
}

fn check_place(folder: &Path) -> Result<()> {
    let place = folder.display().to_string();
    let place = place.trim_start_matches('/');
    let first = place.split('/').next().unwrap_or_default();
    if TAKEN.contains(&place) || TAKEN_BELOW.contains(&first) {
        return Err(Failure::new(Kind::Usage, format!("{} cannot be sent to an engine", folder.display()))
            .hint("the container has a folder of its own there: build in another one"));
    }
    Ok(())
}

fn text(path: &Path) -> Result<String> {
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| {
        Failure::new(Kind::Usage, format!("the name {} is not UTF-8, and cannot be sent to an engine", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_about_the_container_stay_here() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in [
            "build --engine docker -t x .",
            "build --engine=docker=tcp://x -t x .",
            "--home /x build --engine-program=/s -t x .",
            "build --progress plain --engine docker --progress=tty -t x .",
        ] {
            assert_eq!(passed(&words(line)).unwrap(), ["build", "-t", "x", "."], "{line}");
        }
    }

    #[test]
    fn paths_are_those_that_the_build_means() {
        for (path, expected) in [(".", "/a/b"), ("../c/./d", "/a/c/d"), ("/x/../y", "/y"), ("../../../z", "/z")] {
            assert_eq!(absolute(Path::new("/a/b"), Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn a_folder_does_not_cover_what_the_container_needs() {
        for taken in ["/", "/etc", "/proc/self", "/store/x", "/tmp"] {
            assert!(check_place(Path::new(taken)).is_err(), "{taken}");
        }
        for free in ["/tmp/x", "/home", "/etc/site", "/storefront"] {
            assert!(check_place(Path::new(free)).is_ok(), "{free}");
        }
    }
}
