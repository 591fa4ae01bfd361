//! Two stores with the images that cases start from, and builds in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use shiplap_builder::build::{BuildError, Builder, Built, Request, Unwatched};
use shiplap_builder::plan::Network;
use shiplap_builder::sandbox::{Cancel, Sandbox};
use shiplap_cache::{Store, Tree};
use shiplap_registry::Images;
use tempfile::TempDir;

use crate::case::State;
use crate::tools::Tools;

/// A build that takes this long hangs.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Lab {
    folder: TempDir,
    runtime: tokio::runtime::Runtime,
    /// In which results are reused.
    kept: Images,
    /// In which every step runs.
    forced: Images,
}

/// How a build ended: with an image, or with an error in words.
pub type Ended = Result<Built, String>;

impl Lab {
    pub fn new(tools: &Tools) -> Self {
        let folder = tempfile::Builder::new().prefix("shiplap-soundness-").tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let open = |name: &str| Images::new(Arc::new(Store::open(&folder.path().join(name)).unwrap()));
        let (kept, forced) = (open("kept"), open("forced"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let lab = Self { folder, runtime, kept, forced };
        for (name, tar) in tools.images() {
            let context = lab.folder.path().join("image");
            fs::create_dir(&context).unwrap();
            fs::copy(tar, context.join("image.tar")).unwrap();
            for images in [&lab.kept, &lab.forced] {
                let built = lab.build(images, &context, "FROM scratch\nADD image.tar /\n", false).unwrap();
                images.name(&name.parse().unwrap(), &built.id).unwrap();
            }
            fs::remove_dir_all(context).unwrap();
        }
        lab
    }

    /// Writes the context of a build anew.
    pub fn write_context(&self, state: &State) {
        let context = self.context();
        if context.exists() {
            fs::remove_dir_all(&context).unwrap();
        }
        fs::create_dir_all(context.join("src")).unwrap();
        fs::write(context.join("base.tar"), state.base.to_tar()).unwrap();
        state.context.to_folder(&context.join("src"));
    }

    fn context(&self) -> PathBuf {
        self.folder.path().join("context")
    }

    /// Builds and reuses what there is.
    pub fn build_reusing(&self, dockerfile: &str) -> Ended {
        self.build(&self.kept, &self.context(), dockerfile, false)
    }

    /// Runs every step.
    pub fn build_forced(&self, dockerfile: &str) -> Ended {
        self.build(&self.forced, &self.context(), dockerfile, true)
    }

    /// The files of an image of the store that reuses.
    pub fn reused_tree(&self, built: &Built) -> Arc<Tree> {
        self.kept.store().tree(&built.image.layers).unwrap()
    }

    /// The files of an image of the other store.
    pub fn forced_tree(&self, built: &Built) -> Arc<Tree> {
        self.forced.store().tree(&built.image.layers).unwrap()
    }

    /// Where an image's file is on the disk, for messages.
    pub fn read(&self, forced: bool, built: &Built, path: &str) -> Option<Vec<u8>> {
        let store = if forced { self.forced.store() } else { self.kept.store() };
        let tree = store.tree(&built.image.layers).ok()?;
        let found = tree.find(&shiplap_cache::TreePath::new(path).ok()?)?;
        fs::read(store.layer_dir(&built.image.layers[found.layer]).join(path.trim_start_matches('/'))).ok()
    }

    fn build(&self, images: &Images, context: &Path, dockerfile: &str, no_cache: bool) -> Ended {
        let request = Request {
            dockerfile_text: Some(dockerfile.to_owned()),
            network: Network::None,
            no_cache,
            ..Request::new(context, context.join("Dockerfile"))
        };
        let cancel = Cancel::new().unwrap();
        let sandbox = Sandbox::program(env!("CARGO_BIN_EXE_shiplap"));
        let builder = Arc::new(Builder::new(images.clone(), sandbox, None, cancel.clone()));
        self.runtime.block_on(async {
            let build = builder.build(request, Arc::new(Unwatched));
            match tokio::time::timeout(PATIENCE, build).await {
                Ok(Ok(built)) => Ok(built),
                Ok(Err(error)) => Err(words(&error)),
                Err(_) => {
                    cancel.cancel();
                    panic!("this build hangs:\n{dockerfile}");
                }
            }
        })
    }
}

/// An error with all its causes.
fn words(error: &BuildError) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words += &format!(": {error}");
        cause = error.source();
    }
    words
}
