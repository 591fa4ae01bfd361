//! Build contexts that are no folder of this machine: a git repository, an archive of the web, an archive that somebody hands in.
//! No ignore file is looked at in them, as in BuildKit (frontend/dockerui, `context.go`), and their files keep their owners.

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiplap_cache::{Stack, Store, TreePath};

use super::error::{BuildError, FetchError, StepError};
use super::events::{Event, Watch};
use super::files::Files;
use super::sources::blocking;
use super::{Builder, archive, git, http};
use crate::plan::GitSource;

/// What BuildKit calls a file that it downloads as a context.
const DOWNLOADED: &str = "context";

/// The build context.
#[derive(Debug, Clone)]
pub enum Context {
    /// A directory.
    Folder(PathBuf),
    /// Files from elsewhere.
    Fetched(FetchedContext),
}

/// A build context that was fetched.
#[derive(Debug, Clone)]
pub struct FetchedContext {
    files: Files,
    /// The repository without credentials, and its commit.
    git: Option<(String, String)>,
    /// What was fetched, for people.
    place: String,
    dockerfile: Option<String>,
}

impl FetchedContext {
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    pub(crate) fn git(&self) -> Option<&(String, String)> {
        self.git.as_ref()
    }

    /// The Dockerfile, where what was fetched is one and no archive.
    pub fn dockerfile(&self) -> Option<&str> {
        self.dockerfile.as_deref()
    }

    /// Reads the first of these files that is there. Links are followed inside the context alone.
    ///
    /// # Errors
    /// None is there, or it cannot be read.
    pub fn read(&self, names: &[&Path]) -> Result<String, BuildError> {
        use std::os::unix::ffi::OsStrExt;
        let failed = |name: &Path, source| BuildError::Read { path: name.to_owned(), source };
        for name in names {
            let Ok(path) = TreePath::new(name.as_os_str().as_bytes()) else { continue };
            let resolved = self.files.tree().resolve(&path, true);
            if resolved.found.is_none() {
                continue;
            }
            let Some(item) = self.files.below(&resolved.path).into_iter().next() else { continue };
            return std::fs::read_to_string(&item.at).map_err(|e| failed(name, e));
        }
        let name = names.first().copied().unwrap_or(Path::new("Dockerfile"));
        Err(failed(name, std::io::Error::new(std::io::ErrorKind::NotFound, format!("it is not in {}", self.place))))
    }
}

impl Builder {
    /// The files of a repository.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub async fn fetch_repository(
        &self,
        source: &GitSource,
        watch: &Arc<dyn Watch>,
    ) -> Result<FetchedContext, BuildError> {
        let place = git::without_credentials(&source.url);
        let what = format!("fetching {place}");
        watch.event(Event::Fetching { what: &what, bytes: None });
        let (store, source) = (self.store().clone(), source.clone());
        let work = move || -> Result<_, StepError> {
            let commit = git::resolve(&source)?;
            Ok((git::fetch(&store, &commit)?, commit.sha))
        };
        let (files, sha) = blocking(work).await.map_err(|e| unpacked(&place, e))?;
        watch.event(Event::Fetched { what: &what });
        Ok(FetchedContext { files, git: Some((place.clone(), sha)), place, dockerfile: None })
    }

    /// The files of an archive of the web; of anything else the Dockerfile that it is.
    ///
    /// # Errors
    /// It cannot be fetched or unpacked.
    pub async fn download_context(&self, url: &str, watch: &Arc<dyn Watch>) -> Result<FetchedContext, BuildError> {
        let at = self.download(url, watch).await?;
        let (store, place) = (self.store().clone(), git::without_credentials(url));
        let name = place.clone();
        let work = move || -> Result<_, StepError> {
            if archive::is_archive(&at)? {
                return Ok((archive::files(&store, &at, &name)?, None));
            }
            let bytes = std::fs::read(&at).map_err(|source| StepError::Io { what: "read", path: at, source })?;
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Ok((single(&store, &bytes)?, Some(text)))
        };
        let (files, dockerfile) = blocking(work).await.map_err(|e| unpacked(&place, e))?;
        Ok(FetchedContext { files, git: None, place, dockerfile })
    }

    /// A text file of the web.
    ///
    /// # Errors
    /// It cannot be fetched, or is no text.
    pub async fn download_text(&self, url: &str, watch: &Arc<dyn Watch>) -> Result<String, BuildError> {
        let at = self.download(url, watch).await?;
        std::fs::read_to_string(&at)
            .map_err(|source| BuildError::Read { path: git::without_credentials(url).into(), source })
    }

    async fn download(&self, url: &str, watch: &Arc<dyn Watch>) -> Result<PathBuf, BuildError> {
        let what = format!("downloading {}", git::without_credentials(url));
        watch.event(Event::Fetching { what: &what, bytes: None });
        let fetched = http::fetch(self.store(), self.http()?, url).await?;
        watch.event(Event::Fetched { what: &what });
        Ok(fetched.path(self.store()))
    }

    /// The files of an archive that is read to its end; of anything else the Dockerfile that it is, with no other files.
    ///
    /// # Errors
    /// It cannot be read or unpacked.
    pub async fn read_context(
        &self,
        place: &str,
        mut from: impl Read + Send + 'static,
    ) -> Result<FetchedContext, BuildError> {
        let (store, name) = (self.store().clone(), place.to_owned());
        let work = move || -> Result<_, StepError> {
            let folder = store.temporary()?;
            let at = folder.path().join("context");
            let io = |source| StepError::Io { what: "read", path: PathBuf::from(&name), source };
            let mut file = std::fs::File::create_new(&at).map_err(io)?;
            std::io::copy(&mut from, &mut file).and_then(|_| file.flush()).map_err(io)?;
            if archive::is_archive(&at)? {
                return Ok((archive::files(&store, &at, &name)?, None));
            }
            let text = String::from_utf8_lossy(&std::fs::read(&at).map_err(io)?).into_owned();
            Ok((Files::of_stack(&store, &Stack::default())?, Some(text)))
        };
        let (files, dockerfile) = blocking(work).await.map_err(|e| unpacked(place, e))?;
        Ok(FetchedContext { files, git: None, place: place.to_owned(), dockerfile })
    }
}

/// A context of one file.
fn single(store: &Store, bytes: &[u8]) -> Result<Files, StepError> {
    let folder = store.temporary()?;
    let root = folder.path().join("tree");
    let at = root.join(DOWNLOADED);
    std::fs::create_dir(&root)
        .and_then(|()| std::fs::write(&at, bytes))
        .and_then(|()| std::fs::set_permissions(&at, std::fs::Permissions::from_mode(0o600)))
        .map_err(|source| StepError::Io { what: "write", path: at.clone(), source })?;
    Ok(Files::of_temporary(folder, root, store.overlay())?)
}

/// No step is under way here.
fn unpacked(place: &str, error: StepError) -> BuildError {
    match error {
        StepError::Fetch(error) => error.into(),
        StepError::Store(error) => error.into(),
        StepError::Io { what, path, source } => FetchError::Io { what, path, source }.into(),
        StepError::Archive { what, why } => BuildError::Unpack { what, why },
        other => BuildError::Unpack { what: place.to_owned(), why: other.to_string() },
    }
}
