//! What clients pushed into the repositories that `shiplap serve` serves.
//!
//! Blobs are in the one blob store; these tables say which repository has what. All three are references: what they name is kept, and
//! [`Store`](super::Store) changes them and takes blobs away under one write lock, so that no reference is made to a blob that is on its way out.
//!
//! ```text
//! served_blobs      a blob may be read through a repository, and was asked for or acknowledged there at `linked`
//! served_manifests  a manifest or index of a repository, with what referrers are asked by
//! served_tags       a tag of a repository
//! ```
//!
//! Digests are written out, `sha256:<hex>`; times are seconds since 1970.

/// The tables.
pub(super) const SCHEMA: &str = "
CREATE TABLE served_blobs (repository TEXT NOT NULL, digest TEXT NOT NULL, linked INTEGER NOT NULL,
    PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE TABLE served_manifests (repository TEXT NOT NULL, digest TEXT NOT NULL, media TEXT NOT NULL, size INTEGER NOT NULL,
    subject TEXT, artifact TEXT, annotations TEXT, pushed INTEGER NOT NULL, PRIMARY KEY (repository, digest)) WITHOUT ROWID;
CREATE INDEX served_subjects ON served_manifests (repository, subject);
CREATE TABLE served_tags (repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL, pushed INTEGER NOT NULL,
    PRIMARY KEY (repository, tag)) WITHOUT ROWID;
";
