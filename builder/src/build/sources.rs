//! Where files come from: contexts, images, repositories, stages. Each is resolved once a build.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiplap_cache::{ContentHash, Digest, SourceTree, Stack, TreePath, Walk};
use shiplap_registry::Image;
use tokio::sync::{Mutex, OnceCell};

use super::error::{BuildError, StepError};
use super::files::Files;
use super::stage::DIGESTS;
use super::{Builder, Context, git, http};
use crate::ignore::IgnoreRules;
use crate::plan::{ContextName, GitSource, ImageRef, Source, StageId};

/// The sources of one build.
#[derive(Debug)]
pub(crate) struct Sources {
    /// Images by the name that the Dockerfile has for them.
    pub(crate) images: HashMap<ImageRef, Image>,
    contexts: BTreeMap<ContextName, PathBuf>,
    /// The files of the main context, where it is no folder.
    fetched: Option<Files>,
    ignore: IgnoreRules,
    /// The trees of stages that are done.
    stages: Mutex<HashMap<StageId, Stack>>,
    commits: Arc<Cells<git::Commit>>,
    names: Vec<String>,
    /// The files of stages.
    staged: Cells<Files>,
    /// All other files.
    files: Arc<Cells<Files>>,
    used: Arc<std::sync::Mutex<Used>>,
}

type Cells<T> = Mutex<HashMap<String, Arc<OnceCell<T>>>>;

/// What a build took from outside, for its record.
#[derive(Debug, Default, Clone)]
pub(crate) struct Used {
    contexts: BTreeMap<String, Files>,
    /// Repositories without credentials, each with its commit.
    pub(crate) git: BTreeMap<String, String>,
    /// Files of the web without credentials, each with the digest of its bytes.
    pub(crate) http: BTreeMap<String, Digest>,
    /// The names under which digests of unchangeable things are remembered.
    memos: BTreeSet<String>,
}

impl Used {
    /// The digest of each build context.
    pub(crate) fn contexts(&self) -> BTreeMap<String, ContentHash> {
        self.contexts.iter().map(|(name, files)| (name.clone(), files.digest(&TreePath::root()))).collect()
    }
}

impl Sources {
    pub(crate) fn new(
        images: HashMap<ImageRef, Image>,
        main: Context,
        named: &BTreeMap<ContextName, PathBuf>,
        ignore: IgnoreRules,
        names: Vec<String>,
    ) -> Self {
        let mut contexts = named.clone();
        let mut used = Used::default();
        let fetched = match main {
            Context::Folder(folder) => {
                contexts.insert(ContextName::MAIN, folder);
                None
            }
            Context::Fetched(context) => {
                used.git.extend(context.git().cloned());
                Some(context.files().clone())
            }
        };
        Self {
            images,
            contexts,
            fetched,
            ignore,
            stages: Mutex::default(),
            commits: Arc::default(),
            names,
            staged: Mutex::default(),
            files: Arc::default(),
            used: Arc::new(std::sync::Mutex::new(used)),
        }
    }

    /// The same world outside, and stages of its own.
    pub(crate) fn with_other_stages(&self) -> Self {
        Self {
            images: self.images.clone(),
            contexts: self.contexts.clone(),
            fetched: self.fetched.clone(),
            ignore: self.ignore.clone(),
            stages: Mutex::default(),
            commits: self.commits.clone(),
            names: self.names.clone(),
            staged: Mutex::default(),
            files: self.files.clone(),
            used: self.used.clone(),
        }
    }

    pub(crate) async fn stage_done(&self, stage: StageId, stack: Stack) {
        self.stages.lock().await.insert(stage, stack);
    }

    /// For people.
    pub(crate) fn describe(&self, source: &Source) -> String {
        match source {
            Source::Scratch => "scratch".to_owned(),
            Source::Stage(id) => format!("stage {}", self.names[id.0]),
            Source::Image(image) => format!("image {image}"),
            Source::Context(name) if *name == ContextName::MAIN => "the build context".to_owned(),
            Source::Context(name) => format!("the build context {name}"),
            Source::Git(source) => git::without_credentials(&source.url),
            Source::Http(url) => git::without_credentials(url),
        }
    }

    /// The files of a source. A stage must be done.
    pub(crate) async fn files(&self, builder: &Arc<Builder>, source: &Source) -> Result<Files, StepError> {
        // Equal sources have equal descriptions in the debug form, which shows every field.
        let cells = if matches!(source, Source::Stage(_)) { &self.staged } else { &*self.files };
        let cell = cells.lock().await.entry(format!("{source:?}")).or_default().clone();
        cell.get_or_try_init(|| self.load(builder, source)).await.cloned()
    }

    async fn load(&self, builder: &Arc<Builder>, source: &Source) -> Result<Files, StepError> {
        let store = builder.store().clone();
        match source {
            Source::Scratch => Ok(Files::of_stack(&store, &Stack::default())?),
            Source::Stage(id) => {
                let stack = self.stages.lock().await.get(id).cloned().unwrap_or_default();
                builder.know(stack.layers()).await?;
                Ok(Files::of_stack(&store, &stack)?)
            }
            Source::Image(image) => {
                let stack = self.image_stack(image);
                builder.know(stack.layers()).await?;
                Ok(Files::of_stack(&store, &stack)?)
            }
            Source::Context(name) => {
                if let (Some(files), true) = (&self.fetched, *name == ContextName::MAIN) {
                    self.note(|used| used.contexts.insert(name.to_string(), files.clone()));
                    return Ok(files.clone());
                }
                let root = self.contexts.get(name).cloned().unwrap_or_default();
                let ignore = if *name == ContextName::MAIN { self.ignore.clone() } else { ignore_of(&root)? };
                let files = blocking(move || Ok(scan(&store, &root, &ignore)?)).await?;
                self.note(|used| used.contexts.insert(name.to_string(), files.clone()));
                Ok(files)
            }
            Source::Git(source) => {
                let commit = self.commit(source).await?;
                blocking(move || Ok(git::fetch(&store, &commit)?)).await
            }
            Source::Http(url) => {
                let fetched = self.fetch(builder, url).await?;
                let (url, at) = (url.clone(), fetched.path(&store));
                blocking(move || super::archive::files(&store, &at, &url)).await
            }
        }
    }

    /// What a source that nobody can change is, without looking into it: equal identities, equal files. None for a directory of
    /// the host.
    pub(crate) async fn identity(&self, builder: &Arc<Builder>, source: &Source) -> Result<Option<String>, StepError> {
        Ok(match source {
            Source::Scratch => Some(format!("tree {}", Stack::default().id())),
            Source::Stage(id) => {
                let stack = self.stages.lock().await.get(id).cloned().unwrap_or_default();
                Some(format!("tree {}", stack.id()))
            }
            Source::Image(image) => Some(format!("tree {}", self.image_stack(image).id())),
            Source::Context(_) => None,
            Source::Git(source) => Some(format!("git2 {:?}", self.commit(source).await?)),
            Source::Http(url) => {
                let fetched = self.fetch(builder, url).await?;
                Some(format!("http {}", fetched.digest))
            }
        })
    }

    /// The commit of a repository's reference, asked for once a build.
    async fn commit(&self, source: &GitSource) -> Result<git::Commit, StepError> {
        let cell = self.commits.lock().await.entry(format!("{source:?}")).or_default().clone();
        let commit = cell
            .get_or_try_init(|| async {
                let of = source.clone();
                blocking(move || Ok(git::resolve(&of)?)).await
            })
            .await?
            .clone();
        let (url, sha) = (git::without_credentials(&source.url), commit.sha.clone());
        self.note(|used| used.git.insert(url, sha));
        Ok(commit)
    }

    /// Fetches a file of the web.
    pub(crate) async fn fetch(&self, builder: &Builder, url: &str) -> Result<http::Fetched, StepError> {
        let fetched = http::fetch(builder.store(), builder.http()?, url).await?;
        self.note(|used| used.http.insert(git::without_credentials(url), fetched.digest));
        Ok(fetched)
    }

    /// Notes that a digest was remembered or recalled under a name.
    pub(crate) fn note_memo(&self, name: String) {
        self.note(|used| used.memos.insert(name));
    }

    /// The names of the digests that this build used, with their space.
    pub(crate) fn memos(&self) -> Vec<(String, String)> {
        self.used().memos.into_iter().map(|name| (DIGESTS.to_owned(), name)).collect()
    }

    fn note<T>(&self, note: impl FnOnce(&mut Used) -> T) {
        note(&mut self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    /// What was taken from outside so far.
    pub(crate) fn used(&self) -> Used {
        self.used.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The layers of an image.
    pub(crate) fn image_stack(&self, image: &ImageRef) -> Stack {
        self.images.get(image).map(|image| image.layers.iter().copied().collect()).unwrap_or_default()
    }
}

/// Runs something that reads and writes many files on a thread where it may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn scan(store: &shiplap_cache::Store, root: &Path, ignore: &IgnoreRules) -> shiplap_cache::Result<Files> {
    let memory = store.source_memory(root);
    let tree = SourceTree::scan(root, &memory, |path, is_dir| ask(ignore, path, is_dir))?;
    let files = Files::of_source(&tree)?;
    let remembered = tree.memory();
    if remembered != memory {
        store.set_source_memory(root, &remembered)?;
    }
    Ok(files)
}

pub(super) fn ask(ignore: &IgnoreRules, path: &TreePath, is_dir: bool) -> Walk {
    if ignore.is_empty() {
        return Walk::Take;
    }
    let path = String::from_utf8_lossy(path.as_bytes());
    match (ignore.matches(&path), is_dir) {
        (false, _) => Walk::Take,
        (true, true) if !ignore.prunes(&path) => Walk::Through,
        (true, _) => Walk::Skip,
    }
}

/// The `.dockerignore` at the root of a context.
fn ignore_of(root: &Path) -> Result<IgnoreRules, StepError> {
    read_ignore(&root.join(".dockerignore")).map(Option::unwrap_or_default).map_err(|e| match e {
        BuildError::Read { path, source } => StepError::Io { what: "read", path, source },
        other => StepError::Pattern { pattern: ".dockerignore".to_owned(), why: other.to_string() },
    })
}

/// Reads an ignore file; none when there is none.
pub(crate) fn read_ignore(path: &Path) -> Result<Option<IgnoreRules>, BuildError> {
    // As in Docker, a comment may be in any encoding, and so may a pattern, which then finds nothing.
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(BuildError::Read { path: path.to_owned(), source }),
    };
    match IgnoreRules::parse(&text) {
        Ok(rules) => Ok(Some(rules)),
        Err(e) => Err(BuildError::Ignore { path: path.to_owned(), why: format!("`{}`: {}", e.pattern, e.why) }),
    }
}
