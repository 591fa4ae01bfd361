//! What can go wrong with a deploy target.

use std::path::PathBuf;

use semver::Version;

use crate::git::GitError;
use crate::names::ImageName;

/// Why a target cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// A file could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The folder of a file to be written is missing.
    #[error("the folder {} of {} does not exist: make it, or correct the path in shiplap.toml", path.parent().unwrap_or(path).display(), path.display())]
    NoFolder {
        /// The file.
        path: PathBuf,
    },
    /// A file is no YAML, or not of the expected form.
    #[error("{} cannot be read as YAML: {why}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// A file is no JSON, or not of the expected form.
    #[error("{} cannot be read as JSON: {why}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        why: String,
    },
    /// A file lacks something that the target is about.
    #[error("{}: {what}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is missing or in the way, and what to do.
        what: String,
    },
    /// A file that Shiplap did not write stands where it would write.
    #[error("{} was not written by shiplap and would be replaced whole: move it away, name another file, or set `overwrite = true` in shiplap.toml", .0.display())]
    Foreign(PathBuf),
    /// A file that Shiplap wrote holds something that it did not write.
    #[error("{} was written by shiplap and then edited by hand, and would be replaced whole: move the edits to another override file, or set `overwrite = true` in shiplap.toml", .0.display())]
    EditedByHand(PathBuf),
    /// No Tutor project is there.
    #[error("{} is no Tutor project: {what} is missing; run `tutor config save` there, or correct the root in shiplap.toml", root.display())]
    NoProject {
        /// The root.
        root: PathBuf,
        /// What is missing.
        what: &'static str,
    },
    /// Nobody knows which key of `config.yml` holds an image.
    #[error(
        "it is not known which key of Tutor's config.yml holds the image `{0}`: say it with `images = {{ {0} = \"..._DOCKER_IMAGE\" }}`"
    )]
    NoKey(ImageName),
    /// A service is in no Compose file of the Tutor project.
    #[error("the service `{service}` is in no Compose file of {}: correct `services` in shiplap.toml, or enable the plugin and run `tutor config save`", root.display())]
    UnknownService {
        /// The service.
        service: String,
        /// The root of the Tutor project.
        root: PathBuf,
    },
    /// A key could not be set without touching something else.
    #[error("cannot set {key} in {} without changing something else: set it there by hand once, as `{key}: {value}`, and try again", path.display())]
    CannotEdit {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// Its value.
        value: String,
    },
    /// The release has no such image.
    #[error(
        "release {version} has no image `{image}`, which a deploy target wants: deploy a release that has it, or take it out of the target in shiplap.toml"
    )]
    NotInRelease {
        /// The image.
        image: ImageName,
        /// The release's version.
        version: Version,
    },
    /// A file changed between the plan and the write.
    #[error("{} was changed by someone else meanwhile: try again", .0.display())]
    Changed(PathBuf),
    /// Git could not be asked, or refused.
    #[error(transparent)]
    Git(#[from] GitError),
    /// A file that is to be committed has changes of somebody in it.
    #[error("{} has changes that no commit holds, and with `git` a deploy would commit them too: commit them or take them back first", .0.display())]
    Uncommitted(PathBuf),
    /// A file that is to be committed is none of git's.
    #[error("{} is ignored by git, so no commit can hold it: take it out of .gitignore, or take `git` out of the target in shiplap.toml", .0.display())]
    Ignored(PathBuf),
    /// A branch moved between the plan and the commit.
    #[error("{reference} of {} was moved by someone else meanwhile: try again", repository.display())]
    Moved {
        /// The repository.
        repository: PathBuf,
        /// The branch.
        reference: String,
    },
    /// Nothing is checked out that has a name there.
    #[error("no branch is checked out in {}: say where to push with `git = {{ push = true, branch = \"main\" }}`", .0.display())]
    NoBranch(PathBuf),
    /// A push that somebody else was faster with.
    #[error("{branch} of {remote} has commits that {} lacks, so the push was refused: run `git pull` there and deploy again", repository.display())]
    PushRefused {
        /// The repository.
        repository: PathBuf,
        /// The remote.
        remote: String,
        /// The branch there.
        branch: String,
    },
    /// More than one push would have to succeed or fail together.
    #[error(
        "the targets of the instance push to more than one place ({0}), and nothing takes a push back: let one of them push, or make two instances"
    )]
    TwoPushes(String),
    /// A program of an `exec` target did not do it.
    #[error("`{command}` {why}")]
    Program {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        why: String,
    },
}
