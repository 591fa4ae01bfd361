//! The release manifest: an immutable record of what was built, from what, by whom.
//!
//! Its bytes are canonical JSON ([`crate::canonical`]) and its digest is the SHA-256 of them. Each manifest names the digest of the one before:
//! a chain, so that a manifest that is changed or taken out later does not go unseen.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};
use shiplap_cache::{ContentHash, Digest};
use shiplap_registry::tag::ReleaseTag;

use crate::canonical::{self, CanonicalError};
use crate::git::Commit;
use crate::names::{ImageName, InstanceName, Reference};

/// The schema that this program writes and reads.
pub const SCHEMA: &str = "shiplap.release/1";

/// The place of a release in its instance's history, from 1. This is what orders releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseSeq(pub u64);

impl fmt::Display for ReleaseSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A release manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// [`SCHEMA`].
    pub schema: String,
    /// Whose release.
    pub instance: InstanceName,
    /// Its place in the history.
    pub sequence: ReleaseSeq,
    /// Its version, once for ever in this instance.
    pub version: Version,
    /// The tag of all its images.
    pub tag: ReleaseTag,
    /// What it was built from.
    pub git: GitSource,
    /// When it was made, to the second, in UTC.
    pub created: Timestamp,
    /// Who made it.
    pub creator: String,
    /// The digest of the release before; none for the first one.
    pub previous: Option<Digest>,
    /// All images of the instance, by name.
    pub images: Vec<ReleaseImage>,
    /// What went into each image.
    pub inputs: BTreeMap<ImageName, ImageInputs>,
    /// What the build did.
    pub steps: StepSummary,
    /// The Django migrations found in all images together; none if nobody looked, as in releases before this was known.
    pub migrations: Option<MigrationSet>,
}

/// The git side of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GitSource {
    /// The commit.
    pub commit: Commit,
    /// Where the repository comes from, without credentials.
    pub remote: Option<String>,
    /// The git tree of what was really there, when it had changes that the commit does not hold.
    pub dirty: Option<String>,
}

/// One image of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseImage {
    /// Its name in `shiplap.toml`.
    pub name: ImageName,
    /// Where it is: repository and tag.
    pub reference: Reference,
    /// The digest of its manifest or index.
    pub digest: Digest,
    /// Its platform, `linux/amd64`.
    pub platform: String,
    /// The bytes of its manifest, configuration and compressed layers.
    pub size: u64,
}

/// What went into an image. Every part is optional: the builder fills in what it knows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ImageInputs {
    /// The Dockerfile's content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dockerfile: Option<ContentHash>,
    /// The stage that was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Base images as written, and the digests that they stood for.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub base_images: BTreeMap<String, Digest>,
    /// Build contexts by name and the hash of their content; the main one is `.`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub contexts: BTreeMap<String, ContentHash>,
    /// Sources from elsewhere as written, and what they stood for: a git commit, a digest, an ETag.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, String>,
    /// Whatever else identifies the image's content, by a name of the builder's: `tutor`, `platform`, ...
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, String>,
}

/// What the build of the whole set did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepSummary {
    /// Steps taken from the cache.
    pub reused: u64,
    /// Steps that ran.
    pub run: u64,
    /// How long it took.
    pub milliseconds: u64,
}

/// A Django migration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// The application's label.
    pub app: String,
    /// The migration's name, `0001_initial`.
    pub name: String,
}

impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.app, self.name)
    }
}

/// Django migrations by application: names sorted, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MigrationSet(pub BTreeMap<String, BTreeSet<String>>);

impl MigrationSet {
    /// All of them, sorted.
    pub fn iter(&self) -> impl Iterator<Item = Migration> {
        let all = self.0.iter().flat_map(|(app, names)| names.iter().map(move |name| (app, name)));
        all.map(|(app, name)| Migration { app: app.clone(), name: name.clone() })
    }

    /// Takes those of another set in.
    pub fn extend(&mut self, other: Self) {
        for (app, names) in other.0 {
            self.0.entry(app).or_default().extend(names);
        }
    }

    /// Those that `other` lacks, sorted.
    pub fn beyond(&self, other: &Self) -> Vec<Migration> {
        let is_there = |one: &Migration| other.0.get(&one.app).is_some_and(|names| names.contains(&one.name));
        self.iter().filter(|one| !is_there(one)).collect()
    }
}

impl FromIterator<Migration> for MigrationSet {
    fn from_iter<I: IntoIterator<Item = Migration>>(migrations: I) -> Self {
        let mut set = Self::default();
        for Migration { app, name } in migrations {
            set.0.entry(app).or_default().insert(name);
        }
        set
    }
}

/// Migrations for people, by application: `badges (0002_colour, 0003_size), student (0004_x)`.
pub fn by_app(migrations: &[Migration]) -> String {
    let set: MigrationSet = migrations.iter().cloned().collect();
    let app = |(app, names): (String, BTreeSet<String>)| {
        format!("{app} ({})", names.into_iter().collect::<Vec<_>>().join(", "))
    };
    set.0.into_iter().map(app).collect::<Vec<_>>().join(", ")
}

/// A release and the digest of its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredRelease {
    /// The digest of the manifest.
    pub digest: Digest,
    /// What it says.
    #[serde(flatten)]
    pub release: Release,
}

/// Why bytes are no release manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// A newer or foreign schema.
    #[error("its schema is `{found}`, and this shiplap reads `{SCHEMA}`: use a newer shiplap")]
    Schema {
        /// The schema found.
        found: String,
    },
    /// Not the JSON of a manifest.
    #[error("it cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// The same record, written another way.
    #[error("it is not canonical JSON, so its digest says nothing about its content")]
    NotCanonical,
}

impl Release {
    /// The manifest's bytes.
    ///
    /// # Errors
    /// A number is too large for canonical JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CanonicalError> {
        canonical::to_vec(self)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// The bytes are no manifest of this schema in canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        // The schema first: a newer manifest should be named as such, not as one with an unknown field.
        let head: Head = serde_json::from_slice(bytes)?;
        if head.schema != SCHEMA {
            return Err(ManifestError::Schema { found: head.schema });
        }
        let release: Self = serde_json::from_slice(bytes)?;
        match release.to_bytes() {
            Ok(canonical) if canonical == bytes => Ok(release),
            _ => Err(ManifestError::NotCanonical),
        }
    }

    /// The image of that name.
    pub fn image(&self, name: &ImageName) -> Option<&ReleaseImage> {
        self.images.iter().find(|image| image.name == *name)
    }

    /// The migrations of this release that `older` lacks. None if either release does not know its migrations.
    pub fn migrations_beyond(&self, older: &Self) -> Option<Vec<Migration>> {
        let (newer, older) = (self.migrations.as_ref()?, older.migrations.as_ref()?);
        Some(newer.beyond(older))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn sample() -> Release {
        let tag: ReleaseTag = "1.4.0-g3f2c1ab09d4e".parse().unwrap();
        Release {
            schema: SCHEMA.to_owned(),
            instance: "campus".parse().unwrap(),
            sequence: ReleaseSeq(1),
            version: tag.version().clone(),
            git: GitSource {
                commit: "3f2c1ab09d4e5f60718293a4b5c6d7e8f9001122".parse().unwrap(),
                remote: Some("https://git.example.org/campus.git".to_owned()),
                dirty: None,
            },
            created: "2026-11-21T10:00:00Z".parse().unwrap(),
            creator: "ada".to_owned(),
            previous: None,
            images: vec![ReleaseImage {
                name: "openedx".parse().unwrap(),
                reference: Reference { repository: "campus/openedx".parse().unwrap(), tag: tag.clone() },
                digest: Digest::of(b"openedx"),
                platform: "linux/amd64".to_owned(),
                size: 1234,
            }],
            inputs: BTreeMap::from([(
                "openedx".parse().unwrap(),
                ImageInputs { dockerfile: Some(ContentHash::of(b"FROM scratch")), ..ImageInputs::default() },
            )]),
            steps: StepSummary { reused: 40, run: 2, milliseconds: 1500 },
            migrations: None,
            tag,
        }
    }

    #[test]
    fn the_bytes_of_a_manifest_are_fixed() {
        // A change of these bytes is a change of every digest: it needs a new schema.
        let start = concat!(
            r#"{"created":"2026-11-21T10:00:00Z","creator":"ada","git":{"commit":"3f2c1ab09d4e5f60718293a4b5c6d7e8f9001122","#,
            r#""dirty":null,"remote":"https://git.example.org/campus.git"},"images":[{"digest":"sha256:"#,
        );
        let bytes = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
        assert!(bytes.starts_with(start));
        assert!(bytes.ends_with(
            r#""schema":"shiplap.release/1","sequence":1,"steps":{"milliseconds":1500,"reused":40,"run":2},"tag":"1.4.0-g3f2c1ab09d4e","version":"1.4.0"}"#
        ));
    }

    #[test]
    fn a_manifest_reads_back_as_it_was() {
        let release = sample();
        assert_eq!(Release::from_bytes(&release.to_bytes().unwrap()).unwrap(), release);
    }

    #[test]
    fn another_spelling_schema_or_field_is_refused() {
        let bytes = String::from_utf8(sample().to_bytes().unwrap()).unwrap();
        let read = |text: &str| Release::from_bytes(text.as_bytes());
        assert!(matches!(read(&bytes.replace(":", ": ")), Err(ManifestError::NotCanonical | ManifestError::Json(_))));
        assert!(matches!(read(&format!("{bytes}\n")), Err(ManifestError::NotCanonical)));
        let newer = bytes.replace("shiplap.release/1", "shiplap.release/2");
        assert!(matches!(read(&newer), Err(ManifestError::Schema { found }) if found == "shiplap.release/2"));
        assert!(matches!(read(&bytes.replace("\"creator\"", "\"creator2\"")), Err(ManifestError::Json(_))));
    }

    #[test]
    fn migrations_of_an_unknown_set_are_unknown() {
        let with = |names: Option<&[&str]>| {
            let migration = |name: &&str| Migration { app: "plugin".to_owned(), name: (*name).to_owned() };
            Release { migrations: names.map(|names| names.iter().map(migration).collect()), ..sample() }
        };
        assert_eq!(with(Some(&["1", "2"])).migrations_beyond(&with(Some(&["1"]))).unwrap().len(), 1);
        assert!(with(Some(&["1"])).migrations_beyond(&with(Some(&["1", "2"]))).unwrap().is_empty());
        assert!(with(Some(&["1"])).migrations_beyond(&with(None)).is_none());
        assert!(with(Some(&[])).migrations_beyond(&with(Some(&["1"]))).unwrap().is_empty());
    }

    #[test]
    fn migrations_are_written_by_application_and_read_back() {
        let migration = |app: &str, name: &str| Migration { app: app.to_owned(), name: name.to_owned() };
        let mut all =
            vec![migration("student", "0002_b"), migration("badges", "0001_initial"), migration("student", "0001_a")];
        let release = Release { migrations: Some(all.iter().cloned().collect()), ..sample() };
        let bytes = release.to_bytes().unwrap();
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains(r#""migrations":{"badges":["0001_initial"],"student":["0001_a","0002_b"]}"#), "{text}");
        assert_eq!(Release::from_bytes(&bytes).unwrap(), release);
        assert_eq!(by_app(&all), "badges (0001_initial), student (0001_a, 0002_b)");
        // Twice the same, or in another order, is another spelling.
        let odd = text.replace(r#"["0001_a","0002_b"]"#, r#"["0002_b","0001_a"]"#);
        assert!(matches!(Release::from_bytes(odd.as_bytes()), Err(ManifestError::NotCanonical)));
        all.sort();
        let mut set = MigrationSet::default();
        set.extend(all[..1].iter().cloned().collect());
        set.extend(all.iter().cloned().collect());
        assert_eq!(set.iter().collect::<Vec<_>>(), all);
    }
}
