//! What can go wrong with releases and deployments.

use std::path::PathBuf;

use jiff::Timestamp;
use semver::Version;
use shiplap_cache::Digest;
use shiplap_registry::tag::{ReleaseTag, TagError};

use crate::config::ConfigError;
use crate::deployment::DeploymentSeq;
use crate::git::GitError;
use crate::images::ImageProblem;
use crate::names::{ImageName, InstanceName, Reference};
use crate::release::{ManifestError, Migration, ReleaseSeq, by_app};
use crate::target::TargetError;
use crate::version::VersionError;

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a release, a deployment or a rollback. Nothing is half done when one is returned, except where the variant says so.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `shiplap.toml` is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Git could not be asked.
    #[error(transparent)]
    Git(#[from] GitError),
    /// Not a version.
    #[error(transparent)]
    Version(#[from] VersionError),
    /// Not a tag.
    #[error(transparent)]
    Tag(#[from] TagError),
    /// The place that histories share.
    #[error(transparent)]
    Share(#[from] crate::share::ShareError),
    /// A deploy target cannot be read or written.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The blob store failed.
    #[error(transparent)]
    Store(#[from] shiplap_cache::Error),
    /// A manifest cannot be written.
    #[error(transparent)]
    Canonical(#[from] crate::canonical::CanonicalError),
    /// A file or folder of the history could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("the history {} failed: {source}", path.display())]
    Database {
        /// The database file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The history was written by a newer Shiplap. It is left as it is.
    #[error("the history {} has version {found}, this shiplap knows {known}: use a newer shiplap; nothing was changed", path.display())]
    NewerHistory {
        /// The database file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The version that this program writes.
        known: i64,
    },
    /// The file is a database of something else.
    #[error("{} is not a history of shiplap; nothing was changed", .0.display())]
    NotAHistory(PathBuf),
    /// A record of the history makes no sense.
    #[error("the history of `{instance}` is damaged: {what}")]
    Damaged {
        /// Whose history.
        instance: InstanceName,
        /// What is wrong.
        what: String,
    },
    /// A manifest is not what the history says it is.
    #[error("the manifest of release {sequence} of `{instance}` ({digest}) is damaged: {source}")]
    Manifest {
        /// Whose release.
        instance: InstanceName,
        /// Which.
        sequence: ReleaseSeq,
        /// The digest in the history.
        digest: Digest,
        /// What is wrong.
        source: ManifestError,
    },
    /// The instance has no release at all.
    #[error("`{0}` has no release yet: make one with `shiplap release {0}`")]
    NoRelease(InstanceName),
    /// The instance has no release of that version.
    #[error(
        "`{instance}` has no release {version}: the newest is {newest}; `shiplap releases {instance}` shows them all"
    )]
    UnknownRelease {
        /// Whose.
        instance: InstanceName,
        /// The version asked for.
        version: Version,
        /// The newest version.
        newest: Version,
    },
    /// The tree has changes that are in no commit.
    #[error(
        "{} changed and {} in no commit ({}): commit, or release with --allow-dirty, which says so in the tag",
        plural(files.len(), "file"), if files.len() == 1 { "is" } else { "are" }, first_few(files)
    )]
    DirtyTree {
        /// The files.
        files: Vec<String>,
    },
    /// The version was released before, from something else.
    #[error(
        "version {version} of `{instance}` was released before as {tag} ({created}), and a release never changes: choose another version, or --bump"
    )]
    VersionTaken {
        /// Whose.
        instance: InstanceName,
        /// The version.
        version: Version,
        /// The tag of the release that has it.
        tag: Box<ReleaseTag>,
        /// When it was made.
        created: Timestamp,
    },
    /// The version was released before from the same commit, with other images.
    #[error(
        "version {version} of `{instance}` was released before with another `{image}` ({released}, now {found}): choose another version"
    )]
    OtherImages {
        /// Whose.
        instance: InstanceName,
        /// The version.
        version: Box<Version>,
        /// The first image that differs.
        image: ImageName,
        /// The digest in the release.
        released: Digest,
        /// The digest given now.
        found: Digest,
    },
    /// The images given are not the set that the instance consists of.
    #[error("a release of `{instance}` is all of its images or none: {}", set_problem(missing, unknown))]
    NotTheSet {
        /// Whose.
        instance: InstanceName,
        /// Images of the instance that were not given.
        missing: Vec<ImageName>,
        /// Images given that the instance does not have.
        unknown: Vec<ImageName>,
    },
    /// An image has another reference than the release's.
    #[error("the image `{image}` is tagged {found}, and this release's is {expected}")]
    WrongReference {
        /// The image.
        image: ImageName,
        /// What the draft says.
        expected: Box<Reference>,
        /// What was given.
        found: Box<Reference>,
    },
    /// An image is not there, or not whole.
    #[error("the image `{image}` ({reference}@{digest}) {problem}; nothing was changed")]
    Image {
        /// The image.
        image: ImageName,
        /// Where it should be.
        reference: Box<Reference>,
        /// Its digest.
        digest: Digest,
        /// What is wrong with it.
        problem: ImageProblem,
    },
    /// The instance has no deploy target.
    #[error("`{0}` has no deploy target: add [[instance.{0}.deploy]] to shiplap.toml")]
    NoTarget(InstanceName),
    /// Someone else is deploying.
    #[error("`{instance}` is being deployed{}; try again when that is done", holder(actor.as_deref(), *since))]
    Busy {
        /// Whose.
        instance: InstanceName,
        /// By whom, if it is known.
        actor: Option<String>,
        /// Since when, if it is known.
        since: Option<Timestamp>,
    },
    /// Another deployment came first.
    #[error(
        "`{instance}` was deployed meanwhile: {} came first ({version} by {actor}, {at}), and {} was to be replaced; look at `shiplap status {instance}` and try again",
        ordinal(Some(*found)), ordinal(*expected)
    )]
    Superseded {
        /// Whose.
        instance: InstanceName,
        /// The deployment that was to be replaced.
        expected: Option<DeploymentSeq>,
        /// The one that is current.
        found: DeploymentSeq,
        /// What it deployed.
        version: Box<Version>,
        /// Who did it.
        actor: String,
        /// When.
        at: Timestamp,
    },
    /// The deployment to be replaced is not there.
    #[error("`{instance}` has no deployment yet, and {} was to be replaced", ordinal(Some(*expected)))]
    NothingToReplace {
        /// Whose.
        instance: InstanceName,
        /// The deployment that was to be replaced.
        expected: DeploymentSeq,
    },
    /// A deployment was begun here and did not end, and another machine recorded one of that number: the claim of this store was ended by hand.
    #[error(
        "deployment {deployment} of `{instance}` was begun here and did not end, and {actor} recorded another deployment {deployment} meanwhile ({version}, {at}): the claim of this store was ended by hand. Look at the deploy targets of this machine, put {} aside, which has nothing else that the others lack, and deploy again", path.display()
    )]
    Overtaken {
        /// Whose.
        instance: InstanceName,
        /// The number of both.
        deployment: DeploymentSeq,
        /// Who recorded the other.
        actor: String,
        /// What the other deployed.
        version: Box<Version>,
        /// When it began.
        at: Timestamp,
        /// The history of this store.
        path: PathBuf,
    },
    /// Automatic deploys are held off.
    #[error("automatic deploys of `{instance}` are held since {since} by {actor}{}: lift the hold first, or deploy by hand", because(reason.as_deref()))]
    Held {
        /// Whose.
        instance: InstanceName,
        /// By whom.
        actor: String,
        /// Since when.
        since: Timestamp,
        /// Why.
        reason: Option<String>,
    },
    /// Nothing was deployed yet.
    #[error("`{0}` was never deployed, so there is nothing to go back from: use `shiplap deploy {0}`")]
    NeverDeployed(InstanceName),
    /// There is no earlier deployment to go back to.
    #[error(
        "`{instance}` has no earlier deployment that succeeded to go back to: it runs {version}; name a version, or use `shiplap deploy`"
    )]
    NothingEarlier {
        /// Whose.
        instance: InstanceName,
        /// What it runs.
        version: Version,
    },
    /// The release was never run, so going to it is not going back.
    #[error(
        "{version} of `{instance}` was never deployed with success, so going to it is no rollback: use `shiplap deploy {instance} {version}`"
    )]
    NotDeployedBefore {
        /// Whose.
        instance: InstanceName,
        /// The version asked for.
        version: Version,
    },
    /// The release runs already.
    #[error(
        "`{instance}` runs {version} already; if a target says something else, `shiplap deploy {instance} {version}` writes it again"
    )]
    AlreadyCurrent {
        /// Whose.
        instance: InstanceName,
        /// The version asked for.
        version: Version,
    },
    /// The database may have been migrated further than the older release knows.
    #[error(
        "{from} has {} that {to} lacks: {}; the database is not rolled back, and {to} may not work on it; go on with --accept-migrations",
        plural(migrations.len(), "migration"), by_app(migrations)
    )]
    Migrations {
        /// The newer version.
        from: Version,
        /// The older version.
        to: Version,
        /// What the older one lacks.
        migrations: Vec<Migration>,
    },
    /// The site did not get well after a deploy or rollback.
    #[error("`{instance}` is not well with {version} ({illness}); {then}")]
    Unhealthy {
        /// Whose.
        instance: InstanceName,
        /// With which version.
        version: Version,
        /// What is wrong.
        illness: String,
        /// What was done about it.
        then: String,
    },
    /// A target could not be written; all are as they were before.
    #[error("deployment {deployment} of `{instance}` failed and was undone, every target is as it was: {why}")]
    Undone {
        /// Whose.
        instance: InstanceName,
        /// Which.
        deployment: DeploymentSeq,
        /// What went wrong.
        why: String,
    },
    /// A target could not be written, and not all could be taken back. The journal still holds what was meant.
    #[error(
        "deployment {deployment} of `{instance}` failed ({why}) and could not be undone yet ({undo}): put that right and run any command on `{instance}`, which finishes or undoes it"
    )]
    NotUndone {
        /// Whose.
        instance: InstanceName,
        /// Which.
        deployment: DeploymentSeq,
        /// What went wrong first.
        why: String,
        /// Why it could not be undone.
        undo: String,
    },
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn first_few<T: ToString>(items: &[T]) -> String {
    let shown: Vec<_> = items.iter().take(5).map(T::to_string).collect();
    let more = if items.len() > 5 { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}

fn set_problem(missing: &[ImageName], unknown: &[ImageName]) -> String {
    let list = |names: &[ImageName]| names.iter().map(ImageName::as_str).collect::<Vec<_>>().join(", ");
    match (missing.is_empty(), unknown.is_empty()) {
        (false, true) => format!("{} missing", list(missing)),
        (true, _) => format!("{} not in shiplap.toml, or given twice", list(unknown)),
        (false, false) => format!("{} missing, {} not in shiplap.toml", list(missing), list(unknown)),
    }
}

fn holder(actor: Option<&str>, since: Option<Timestamp>) -> String {
    let by = actor.map(|a| format!(" by {a}")).unwrap_or_default();
    let since = since.map(|s| format!(" since {s}")).unwrap_or_default();
    format!("{by}{since}")
}

fn because(reason: Option<&str>) -> String {
    reason.map(|r| format!(" ({r})")).unwrap_or_default()
}

fn ordinal(deployment: Option<DeploymentSeq>) -> String {
    deployment.map_or("no deployment".to_owned(), |d| format!("deployment {d}"))
}
