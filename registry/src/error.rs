//! What can go wrong with images.

use std::path::{Path, PathBuf};

use shiplap_cache::{Digest, ImageId, LayerId, TreePath};

use crate::{Platform, Reference, Repository};

/// A failure of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] shiplap_cache::Error),
    /// A file or folder could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A registry could not be reached, or refused.
    #[error(transparent)]
    Remote(Box<RemoteError>),
    /// The name or its registry's credentials cannot be used.
    #[error(transparent)]
    Auth(#[from] crate::auth::AuthError),
    /// A release tag stands for another image already.
    #[error(
        "{reference} exists and is {existing}, not {wanted}: a release tag never moves; release under a new version"
    )]
    TagExists {
        /// The tag.
        reference: Box<Reference>,
        /// What it stands for.
        existing: Digest,
        /// What it should have stood for.
        wanted: Digest,
    },
    /// A name in the form of a release's stands for another image already.
    #[error("{reference} is the name of image {} already, not of {}: a release tag never moves; use a new version", existing.short(), wanted.short())]
    NameTaken {
        /// The name.
        reference: Box<Reference>,
        /// The image that has it.
        existing: ImageId,
        /// The image that should have got it.
        wanted: ImageId,
    },
    /// A name stands for another manifest than it should.
    #[error("{reference} is {existing}, not {wanted}")]
    OtherDigest {
        /// The name.
        reference: Box<Reference>,
        /// What it stands for.
        existing: Digest,
        /// What it should stand for.
        wanted: Digest,
    },
    /// A tag must be given and is not, or cannot be one.
    #[error(
        "`{tag}` cannot be a tag of {repository}: 1 to 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`"
    )]
    BadTag {
        /// Where it should have been.
        repository: Box<Repository>,
        /// The tag.
        tag: String,
    },
    /// No image in the store has this id.
    #[error("image {} is not in the store", .0.short())]
    NoImage(ImageId),
    /// Something in an image is missing or has another size.
    #[error("image {manifest} is not whole: {what} {digest} {problem}")]
    NotWhole {
        /// The manifest of the image.
        manifest: Digest,
        /// Which part of it.
        what: &'static str,
        /// The part.
        digest: Digest,
        /// What is wrong with it.
        problem: String,
    },
    /// What a manifest names cannot be known.
    #[error(
        "{name} stands for the manifest {digest}, which cannot be read ({why}): push, pull or release it again, remove the name, or pass --ignore-damaged"
    )]
    Unreadable {
        /// What stands for it.
        name: String,
        /// The manifest.
        digest: Digest,
        /// Why.
        why: String,
    },
    /// A JSON document of an image cannot be read.
    #[error("the {what} {digest} cannot be read: {why}")]
    BadDocument {
        /// `manifest`, `config`, `index`.
        what: &'static str,
        /// Its digest.
        digest: Digest,
        /// What is wrong.
        why: String,
    },
    /// The image has something that Shiplap does not handle.
    #[error(
        "the manifest {manifest} has media type `{media_type}`, which is not an image layer that can be unpacked{hint}"
    )]
    MediaType {
        /// The manifest.
        manifest: Digest,
        /// The media type.
        media_type: String,
        /// What to do.
        hint: &'static str,
    },
    /// An index has no image for the platform.
    #[error("{name} has no image for {wanted}; it has {has}")]
    NoPlatform {
        /// Which index.
        name: String,
        /// What was looked for.
        wanted: Box<Platform>,
        /// What there is.
        has: String,
    },
    /// The file of a layer is not what the layer's index says.
    #[error("{} of layer {} is damaged: {why}; remove layers/{} from the store and build again, which makes it anew", path, layer.short(), &layer.hex()[..32])]
    DamagedLayer {
        /// The layer.
        layer: LayerId,
        /// The file.
        path: TreePath,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A layer has a name that means something else in an image.
    #[error(
        "{0} cannot be put into an image: names that begin with `.wh.` mark removed files there (image-spec, layer.md)"
    )]
    ReservedName(TreePath),
    /// A tar cannot be unpacked.
    #[error("{archive} cannot be unpacked: {problem}")]
    BadTar {
        /// Which tar.
        archive: String,
        /// What is wrong with it.
        problem: crate::unpack::TarProblem,
    },
    /// The tar inside a layer is another than the image's config says.
    #[error("the layer {blob} has the DiffID {actual}, the image's config says {expected}")]
    WrongDiffId {
        /// The layer's blob.
        blob: String,
        /// What the config says.
        expected: Digest,
        /// What the tar has.
        actual: Digest,
    },
    /// A file is no image archive of a kind that is known.
    #[error("{} is no image: {why}", path.display())]
    NoArchive {
        /// The file or folder.
        path: PathBuf,
        /// What was expected.
        why: String,
    },
    /// An archive holds several images and none was named.
    #[error("{} holds {} images, say which one: {}", path.display(), names.len(), names.join(", "))]
    SeveralImages {
        /// The archive.
        path: PathBuf,
        /// What it holds.
        names: Vec<String>,
    },
    /// The destination of an export is there already.
    #[error("{} exists already: name a new or an empty folder", .0.display())]
    Exists(PathBuf),
}

/// What the functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure on the way to or in a registry.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: {trouble}")]
pub struct RemoteError {
    /// The repository.
    pub repository: Box<Repository>,
    /// What was tried: "pull the manifest of docker.io/library/debian:12".
    pub what: String,
    /// What went wrong.
    #[source]
    pub trouble: Trouble,
}

/// What went wrong with a registry.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nobody answers.
    #[error("no answer from {registry} ({why}); is the name right, and does the registry run?")]
    Unreachable {
        /// The registry.
        registry: String,
        /// What the network says.
        why: String,
    },
    /// The certificate is not trusted.
    #[error(
        "the certificate of {registry} is not trusted ({why}); add its authority to the system's, or set SSL_CERT_FILE"
    )]
    Certificate {
        /// The registry.
        registry: String,
        /// What TLS says.
        why: String,
    },
    /// The credentials are wrong, or none were given.
    #[error(
        "{registry} refused {who} ({why}); log in with `docker login {registry}`, and check the name: some registries say the same of a repository that is not there"
    )]
    Refused {
        /// The registry.
        registry: String,
        /// As whom: "user `campus` from /home/me/.docker/config.json".
        who: String,
        /// What the registry says.
        why: String,
    },
    /// The manifest, tag, blob or repository is not there.
    #[error("it is not there")]
    NotFound,
    /// The bytes are others than their digest promises.
    #[error("the registry sent something else for {expected}: {actual}")]
    Corrupt {
        /// What was asked for.
        expected: Digest,
        /// What came.
        actual: String,
    },
    /// The registry keeps a blob or manifest other than what it was given.
    #[error(
        "after the push the tag stands for {actual}, not for {expected}: somebody else pushed it, or the registry changed it"
    )]
    ReadBack {
        /// What was pushed.
        expected: Digest,
        /// What the registry has.
        actual: String,
    },
    /// The registry answers with an error.
    #[error("the registry answers with {status}: {message}")]
    Status {
        /// The HTTP status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl From<RemoteError> for Error {
    fn from(e: RemoteError) -> Self {
        Self::Remote(Box::new(e))
    }
}

/// Adds what and where to an I/O error.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|e| {
            let source: std::io::Error = e.into();
            // A blob's reader finds out at its end that the bytes are others: that is no trouble with the file being written.
            match source.downcast::<shiplap_cache::Error>() {
                Ok(error) => Error::Store(error),
                Err(source) => Error::Io { what, path: path.to_owned(), source },
            }
        })
    }
}
