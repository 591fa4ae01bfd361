//! What is built: a folder, files from elsewhere, or the images of an instance; and the Dockerfile that goes with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiplap_builder::build::{BuildError, Builder, Context, FetchedContext, Request, Watch};
use shiplap_builder::plan::{BuildContext, GitSource};
use shiplap_registry::Images;

use super::flags::Flags;
use super::only_instance;
use crate::app::App;
use crate::cli::go_bool;
use crate::failure::{Failure, Kind, Result, build_failure};

/// Docker's word for standard input.
const STDIN: &str = "-";
/// The build argument that BuildKit has for a repository that is the context.
const KEEP_GIT_DIR: &str = "BUILDKIT_CONTEXT_KEEP_GIT_DIR";

/// BuildKit takes the name in lower case too.
const DEFAULTS: [&str; 2] = ["Dockerfile", "dockerfile"];

/// What a word on the command line means.
pub enum What {
    Context(Place),
    Instance(String),
}

/// Where a build context is.
pub enum Place {
    Folder(PathBuf),
    Stdin,
    Git(GitSource),
    Web(String),
}

impl What {
    /// Decides: a directory if there is one, else what has the form of a URL, else an instance.
    pub fn of(app: &App, given: Option<&str>) -> Result<Self> {
        let Some(given) = given else { return only_instance(app).map(What::Instance) };
        if given == STDIN {
            return Ok(Self::Context(Place::Stdin));
        }
        if Path::new(given).is_dir() {
            return Ok(Self::Context(Place::Folder(given.into())));
        }
        // A repository of GitHub may be written without scheme (BuildKit, dfgitutil).
        let url = if given.starts_with("github.com/") { github(given) } else { given.to_owned() };
        let wrong = |why: String| Failure::new(Kind::Usage, why);
        match BuildContext::parse(&url).map_err(wrong)? {
            BuildContext::Git(source) => return Ok(Self::Context(Place::Git(source))),
            BuildContext::Http(url) => return Ok(Self::Context(Place::Web(url))),
            BuildContext::Directory(_) => {}
            BuildContext::Image(_) => {
                let why = format!("{given}: an image is no build context by itself");
                return Err(wrong(why).hint("--build-context NAME=... gives it to a build of something else"));
            }
        }
        if given.contains('/') || given.starts_with('.') {
            return Err(Failure::new(Kind::Missing, format!("there is no directory {given}")));
        }
        if app.config()?.is_none() {
            let why = format!("there is no directory {given} here, and no shiplap.toml that could name an instance so");
            return Err(Failure::new(Kind::Missing, why)
                .hint("`shiplap build DIR` builds a directory; `shiplap init` writes a shiplap.toml"));
        }
        Ok(Self::Instance(given.to_owned()))
    }
}

/// `github.com/NAME/REPOSITORY[#...]` as a URL.
fn github(text: &str) -> String {
    let end = text.find(['#', '?']).unwrap_or(text.len());
    let (path, rest) = text.split_at(end);
    let path = path.trim_end_matches('/');
    format!("https://{}.git{rest}", path.strip_suffix(".git").unwrap_or(path))
}

impl Place {
    /// The build of what is there.
    pub async fn request(&self, app: &App, images: &Images, flags: &Flags) -> Result<Request> {
        let fetch = Fetch { builder: app.builder(images)?, watch: app.progress.watch(None) };
        let file = flags.file.as_deref();
        let elsewhere = match file {
            Some(file) => self.dockerfile_elsewhere(&fetch, file).await?,
            None => None,
        };
        let (context, dockerfile, text) = match (self, elsewhere) {
            (Self::Folder(folder), Some((name, text))) => (Context::Folder(folder.clone()), name, Some(text)),
            (Self::Folder(folder), None) => {
                let dockerfile = file.map_or_else(|| default_in(folder), Path::to_owned);
                (Context::Folder(folder.clone()), dockerfile, None)
            }
            (place, elsewhere) => {
                let context = fetch.context(place, flags).await?;
                let (name, text) = match elsewhere {
                    Some(elsewhere) => elsewhere,
                    None => place.dockerfile_inside(&context, file)?,
                };
                (Context::Fetched(context), name, Some(text))
            }
        };
        flags.request(context, dockerfile, text)
    }

    /// A Dockerfile that is on standard input, in the web or on this machine and not in the context, with a name for messages.
    async fn dockerfile_elsewhere(&self, fetch: &Fetch, file: &Path) -> Result<Option<(PathBuf, String)>> {
        let url = file.to_str().filter(|text| text.starts_with("http://") || text.starts_with("https://"));
        if let Some(url) = url {
            let text = fetch.builder.download_text(url, &fetch.watch).await.map_err(failed)?;
            return Ok(Some((Self::Web(url.to_owned()).as_dockerfile(), text)));
        }
        let name = match self {
            Self::Stdin if is_stdin(file) => {
                let why = "standard input is for the context or for the Dockerfile, not for both";
                return Err(Failure::new(Kind::Usage, why));
            }
            _ if is_stdin(file) => "Dockerfile".into(),
            Self::Git(_) | Self::Web(_) if file.is_absolute() => file.to_owned(),
            _ => return Ok(None),
        };
        let text = match is_stdin(file) {
            true => std::io::read_to_string(std::io::stdin()),
            false => std::fs::read_to_string(file),
        };
        let from = if is_stdin(file) { "standard input".into() } else { file.display().to_string() };
        let text =
            text.map_err(|e| Failure::new(Kind::Missing, format!("cannot read the Dockerfile from {from}: {e}")))?;
        Ok(Some((name, text)))
    }

    /// The Dockerfile of files from elsewhere.
    fn dockerfile_inside(&self, context: &FetchedContext, file: Option<&Path>) -> Result<(PathBuf, String)> {
        match (context.dockerfile(), file) {
            (Some(text), None) => Ok((self.as_dockerfile(), text.to_owned())),
            (Some(_), Some(file)) => {
                let why = format!("what is built is a Dockerfile itself, and --file {} is another", file.display());
                Err(Failure::new(Kind::Usage, why).hint("a context is a tar, plain or compressed"))
            }
            (None, file) => {
                let names = file.map_or_else(|| DEFAULTS.map(Path::new).to_vec(), |file| vec![file]);
                let name = names[0].to_owned();
                let text = context.read(&names).map_err(|error| build_failure(error, &name, ""))?;
                Ok((name, text))
            }
        }
    }

    /// The name of a Dockerfile that is fetched as one, for messages.
    fn as_dockerfile(&self) -> PathBuf {
        match self {
            Self::Web(url) => url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(url).into(),
            _ => "Dockerfile".into(),
        }
    }
}

/// The Dockerfile of a folder.
pub fn default_in(folder: &Path) -> PathBuf {
    let [usual, lower] = DEFAULTS.map(|name| folder.join(name));
    if !usual.exists() && lower.exists() { lower } else { usual }
}

fn is_stdin(file: &Path) -> bool {
    file.as_os_str() == STDIN
}

struct Fetch {
    builder: Arc<Builder>,
    watch: Arc<dyn Watch>,
}

impl Fetch {
    async fn context(&self, place: &Place, flags: &Flags) -> Result<FetchedContext> {
        let fetched = match place {
            Place::Git(source) => {
                let keep = flags.build_args()?.get(KEEP_GIT_DIR).is_some_and(|value| go_bool(value) == Ok(true));
                let source = GitSource { keep_git_dir: source.keep_git_dir || keep, ..source.clone() };
                self.builder.fetch_repository(&source, &self.watch).await
            }
            Place::Web(url) => self.builder.download_context(url, &self.watch).await,
            Place::Stdin | Place::Folder(_) => self.builder.read_context("standard input", std::io::stdin()).await,
        };
        fetched.map_err(failed)
    }
}

fn failed(error: BuildError) -> Failure {
    build_failure(error, Path::new("Dockerfile"), "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_of_github_need_no_scheme() {
        for (text, url) in [
            ("github.com/openedx/edx-platform", "https://github.com/openedx/edx-platform.git"),
            ("github.com/a/b.git#main:sub", "https://github.com/a/b.git#main:sub"),
            ("github.com/a/b/?ref=main", "https://github.com/a/b.git?ref=main"),
        ] {
            assert_eq!(github(text), url);
        }
    }
}
