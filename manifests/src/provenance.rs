//! How an image was built: an in-toto statement with SLSA provenance, version 1 (<https://slsa.dev/spec/v1.0/provenance>,
//! <https://github.com/in-toto/attestation/tree/main/spec/v1>).
//!
//! It says what the build resolved, and holds no secret: of secrets the ids, of arguments whose names look like secrets or proxies the names,
//! of URLs never a password. `docs/supply-chain.md` describes its parameters, for the build type points there.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shiplap_cache::{ContentHash, Digest, ImageId};

use crate::canonical::{self, CanonicalError};
use crate::contents::without_credentials;
use crate::release::GitSource;

/// The media type of a statement, and its artifact type.
pub const MEDIA_TYPE: &str = "application/vnd.in-toto+json";
/// What the statement's predicate is.
pub const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// Says how to read the parameters.
pub const BUILD_TYPE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/supply-chain.md#build-type-1");
/// Who built, where nobody says who is answerable for the machine.
pub const BUILDER_ID: &str = env!("CARGO_PKG_REPOSITORY");

/// Parts of names whose values stay here.
const SECRETS: [&str; 9] =
    ["TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "KEY", "CREDENTIAL", "AUTH", "PRIVATE"];

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// What the image was made from.
    #[default]
    Min,
    /// The values of arguments, and each step, too.
    Max,
}

/// A base image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseImage {
    /// Its manifest, where it came from a registry.
    pub digest: Option<Digest>,
    /// The image as the store knows it.
    pub id: ImageId,
}

/// A step and how it came to its result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its stage.
    pub stage: String,
    /// The instruction as the Dockerfile has it, variables unexpanded.
    pub text: String,
    /// `cached`, `reused` or `ran`.
    pub outcome: &'static str,
}

/// One build of an image.
#[derive(Debug, Clone)]
pub struct Build {
    /// The image's repository.
    pub name: String,
    /// The digest of its manifest.
    pub digest: Digest,
    /// The Dockerfile's content.
    pub dockerfile: ContentHash,
    /// The stage that was asked for.
    pub target: Option<String>,
    /// The platform, `linux/amd64`.
    pub platform: String,
    /// Values of `ARG`s.
    pub arguments: BTreeMap<String, String>,
    /// Ids of secrets.
    pub secrets: BTreeSet<String>,
    /// Base images by name.
    pub base_images: BTreeMap<String, BaseImage>,
    /// Build contexts by name, each with the hash of its files.
    pub contexts: BTreeMap<String, ContentHash>,
    /// Git repositories, each with its commit.
    pub git: BTreeMap<String, String>,
    /// Files of the web, each with the digest of its bytes.
    pub files: BTreeMap<String, Digest>,
    /// The repository that a release is made from.
    pub source: Option<GitSource>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Who answers for the machine.
    pub builder: Option<String>,
    /// Names this build among all.
    pub invocation: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
}

impl Build {
    /// The statement, as canonical JSON.
    ///
    /// # Errors
    /// A number is too large for canonical JSON.
    pub fn statement(&self, detail: Detail) -> Result<Vec<u8>, CanonicalError> {
        let builder = self.builder.as_deref().unwrap_or(BUILDER_ID);
        canonical::to_vec(&json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{"name": self.name, "digest": sha256(&self.digest)}],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": self.parameters(detail),
                    "internalParameters": {},
                    "resolvedDependencies": self.dependencies(),
                },
                "runDetails": {
                    "builder": {"id": builder, "version": {"shiplap": env!("CARGO_PKG_VERSION")}},
                    "metadata": {
                        "invocationId": self.invocation,
                        "startedOn": self.started.to_string(),
                        "finishedOn": self.finished.to_string(),
                    },
                    "byproducts": self.byproducts(detail),
                },
            },
        }))
    }

    fn parameters(&self, detail: Detail) -> Value {
        let mut parameters = Map::new();
        parameters.insert("dockerfile".into(), json!({"digest": blake3(&self.dockerfile)}));
        parameters.insert("platform".into(), json!(self.platform));
        if let Some(target) = &self.target {
            parameters.insert("target".into(), json!(target));
        }
        if !self.arguments.is_empty() {
            let told = |(name, value): (&String, &String)| {
                let value = match detail {
                    Detail::Max if may_be_told(name) => json!(without_password(value)),
                    _ => Value::Null,
                };
                (name.clone(), value)
            };
            parameters.insert("buildArgs".into(), self.arguments.iter().map(told).collect::<Map<_, _>>().into());
        }
        if !self.secrets.is_empty() {
            parameters.insert("secrets".into(), json!(self.secrets));
        }
        Value::Object(parameters)
    }

    fn dependencies(&self) -> Vec<Value> {
        let mut all = Vec::new();
        if let Some(source) = &self.source {
            let mut digest = Map::from_iter([("gitCommit".to_owned(), json!(source.commit.as_str()))]);
            digest.extend(source.dirty.as_ref().map(|tree| ("gitTree".to_owned(), json!(tree))));
            let mut dependency = json!({"name": "source", "digest": digest});
            if let Some(remote) = &source.remote {
                dependency["uri"] = json!(git_uri(remote));
            }
            all.push(dependency);
        }
        for (name, image) in &self.base_images {
            let mut dependency = json!({"name": name, "annotations": {"shiplap.image": image.id.to_string()}});
            if let Some(digest) = &image.digest {
                dependency["uri"] = json!(format!("docker-image://{name}"));
                dependency["digest"] = sha256(digest);
            } else {
                dependency["digest"] = json!({"blake3": image.id.hex()});
            }
            all.push(dependency);
        }
        let contexts = self.contexts.iter();
        all.extend(contexts.map(|(name, hash)| json!({"name": format!("context {name}"), "digest": blake3(hash)})));
        let git = self.git.iter();
        all.extend(git.map(|(url, commit)| json!({"uri": git_uri(url), "digest": {"gitCommit": commit}})));
        let files = self.files.iter();
        all.extend(files.map(|(url, digest)| json!({"uri": without_credentials(url), "digest": sha256(digest)})));
        all
    }

    /// What the build did, for whoever asks how much of it was made anew.
    fn byproducts(&self, detail: Detail) -> Vec<Value> {
        let count = |outcome: &str| self.steps.iter().filter(|step| step.outcome == outcome).count();
        let mut summary = json!({"cached": count("cached"), "reused": count("reused"), "ran": count("ran")});
        if detail == Detail::Max {
            let step = |step: &Step| json!({"stage": step.stage, "text": step.text, "outcome": step.outcome});
            summary["list"] = self.steps.iter().map(step).collect();
        }
        vec![json!({"name": "steps", "annotations": summary})]
    }
}

/// Whether two statements tell of the same image made from the same things, though at another time.
pub fn tell_the_same(one: &[u8], other: &[u8]) -> bool {
    let parts = |bytes: &[u8]| {
        let mut statement: Value = serde_json::from_slice(bytes).ok()?;
        let definition = statement.pointer_mut("/predicate/buildDefinition")?.take();
        let builder = statement.pointer_mut("/predicate/runDetails/builder")?.take();
        Some((statement.get_mut("subject")?.take(), definition, builder))
    };
    let one = parts(one);
    one.is_some() && one == parts(other)
}

fn sha256(digest: &Digest) -> Value {
    json!({"sha256": digest.hex()})
}

fn blake3(hash: &ContentHash) -> Value {
    json!({"blake3": hash.hex()})
}

/// SPDX's form of a repository's URL, which SLSA uses.
fn git_uri(url: &str) -> String {
    format!("git+{}", without_credentials(url))
}

/// Whether the value of an argument may leave this machine.
fn may_be_told(name: &str) -> bool {
    let name = name.to_uppercase();
    // Proxies have passwords in them, and say nothing of the image (Docker leaves them out of the history too).
    !name.ends_with("_PROXY") && !SECRETS.iter().any(|secret| name.contains(secret))
}

/// A value in which no URL has a password.
fn without_password(value: &str) -> String {
    let words =
        value.split(' ').map(|word| if word.contains("://") { without_credentials(word) } else { word.to_owned() });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Build {
        let text = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        Build {
            name: "campus/openedx".into(),
            digest: Digest::of(b"image"),
            dockerfile: ContentHash::of(b"FROM scratch"),
            target: Some("production".into()),
            platform: "linux/amd64".into(),
            arguments: text(&[
                ("EDX_PLATFORM", "https://user:hunter2@github.com/openedx/edx-platform"),
                ("NPM_TOKEN", "hunter2"),
                ("http_proxy", "http://user:hunter2@proxy:3128"),
                ("APP_USER_ID", "1000"),
            ]),
            secrets: ["netrc".to_owned()].into(),
            base_images: [
                ("debian:12".to_owned(), BaseImage { digest: Some(Digest::of(b"debian")), id: ImageId::of(b"debian") }),
                ("local:1".to_owned(), BaseImage { digest: None, id: ImageId::of(b"local") }),
            ]
            .into(),
            contexts: [(".".to_owned(), ContentHash::of(b"context"))].into(),
            git: text(&[("https://user:hunter2@github.com/a/b.git", "0123456789abcdef0123456789abcdef01234567")]),
            files: [("https://example.org/x.tar?sig=hunter2".to_owned(), Digest::of(b"x"))].into(),
            source: None,
            steps: vec![Step { stage: "production".into(), text: "RUN npm ci".into(), outcome: "ran" }],
            builder: None,
            invocation: "1".into(),
            started: "2026-11-21T10:00:00Z".parse().unwrap(),
            finished: "2026-11-21T10:00:09Z".parse().unwrap(),
        }
    }

    fn value(build: &Build, detail: Detail) -> Value {
        serde_json::from_slice(&build.statement(detail).unwrap()).unwrap()
    }

    #[test]
    fn the_statement_has_what_slsa_requires() {
        let statement = value(&build(), Detail::Min);
        assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
        assert_eq!(statement["predicateType"], "https://slsa.dev/provenance/v1");
        assert_eq!(statement["subject"][0]["digest"]["sha256"], Digest::of(b"image").hex());
        let definition = &statement["predicate"]["buildDefinition"];
        assert_eq!(definition["buildType"], BUILD_TYPE);
        assert_eq!(definition["externalParameters"]["target"], "production");
        let run = &statement["predicate"]["runDetails"];
        assert_eq!(run["builder"]["id"], BUILDER_ID);
        assert_eq!(run["metadata"]["startedOn"], "2026-11-21T10:00:00Z");
    }

    #[test]
    fn dependencies_are_named_by_what_they_were_resolved_to() {
        let statement = value(&build(), Detail::Min);
        let all = statement["predicate"]["buildDefinition"]["resolvedDependencies"].as_array().unwrap();
        let of = |name: &str| all.iter().find(|d| d["name"] == name || d["uri"] == name).unwrap()["digest"].clone();
        assert_eq!(of("debian:12"), sha256(&Digest::of(b"debian")));
        assert_eq!(of("local:1")["blake3"], ImageId::of(b"local").hex());
        assert_eq!(of("context ."), blake3(&ContentHash::of(b"context")));
        assert_eq!(of("git+https://github.com/a/b.git")["gitCommit"], "0123456789abcdef0123456789abcdef01234567");
        assert_eq!(of("https://example.org/x.tar"), sha256(&Digest::of(b"x")));
    }

    #[test]
    fn no_secret_is_told_with_any_detail() {
        for detail in [Detail::Min, Detail::Max] {
            let statement = build().statement(detail).unwrap();
            assert!(!String::from_utf8(statement).unwrap().contains("hunter2"), "{detail:?}");
        }
        let arguments =
            &value(&build(), Detail::Max)["predicate"]["buildDefinition"]["externalParameters"]["buildArgs"];
        assert_eq!(arguments["APP_USER_ID"], "1000");
        assert_eq!(arguments["EDX_PLATFORM"], "https://github.com/openedx/edx-platform");
        assert_eq!(arguments["NPM_TOKEN"], Value::Null);
        let least = &value(&build(), Detail::Min)["predicate"]["buildDefinition"]["externalParameters"]["buildArgs"];
        assert_eq!(least["APP_USER_ID"], Value::Null);
    }

    #[test]
    fn steps_are_listed_where_that_is_asked_for() {
        let steps = |detail| value(&build(), detail)["predicate"]["runDetails"]["byproducts"][0]["annotations"].clone();
        assert_eq!(steps(Detail::Min), json!({"cached": 0, "reused": 0, "ran": 1}));
        assert_eq!(steps(Detail::Max)["list"][0]["text"], "RUN npm ci");
    }

    #[test]
    fn the_same_build_at_another_time_tells_the_same() {
        let first = build().statement(Detail::Min).unwrap();
        let later = Build { started: "2027-01-01T00:00:00Z".parse().unwrap(), steps: Vec::new(), ..build() };
        assert!(tell_the_same(&first, &later.statement(Detail::Min).unwrap()));
        let other = Build { target: None, ..build() };
        assert!(!tell_the_same(&first, &other.statement(Detail::Min).unwrap()));
        let other = Build { digest: Digest::of(b"other"), ..build() };
        assert!(!tell_the_same(&first, &other.statement(Detail::Min).unwrap()));
        assert!(!tell_the_same(b"{}", b"{}"));
    }
}
