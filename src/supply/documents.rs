//! The bill of materials and the provenance of an image, attached to it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use shiplap_builder::build::{Built, Outcome, Request};
use shiplap_cache::Digest;
use shiplap_manifests::contents::{self, Contents};
use shiplap_manifests::provenance::{self, BaseImage, Build, Detail, Step};
use shiplap_manifests::release::GitSource;
use shiplap_manifests::sbom;
use shiplap_registry::{Artifact, Image, Images, Repository};

use crate::away;
use crate::failure::{Failure, Kind, Result};

/// What is to be attached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    pub sbom: bool,
    pub provenance: Option<Detail>,
    /// Who answers for the machine.
    pub builder: Option<String>,
}

impl Wanted {
    /// Whether anything is.
    pub fn anything(&self) -> bool {
        self.sbom || self.provenance.is_some()
    }
}

/// What a build was told, taken before it begins.
#[derive(Debug, Clone)]
pub struct Recipe {
    target: Option<String>,
    arguments: BTreeMap<String, String>,
    secrets: BTreeSet<String>,
    source: Option<GitSource>,
    started: Timestamp,
}

impl Recipe {
    pub fn of(request: &Request, source: Option<GitSource>) -> Self {
        Self {
            target: request.options.target.clone(),
            arguments: request.options.build_args.clone(),
            secrets: request.secrets.keys().chain(request.ssh.keys()).cloned().collect(),
            source,
            started: Timestamp::now(),
        }
    }

    /// Makes what is wanted of an image that was built and packed, and attaches it. What is attached already and says the same stays alone. `contents` is what
    /// is in it, where that was read before.
    pub fn attach(
        &self,
        images: &Images,
        wanted: &Wanted,
        built: &Built,
        contents: Option<&Contents>,
        repository: &Repository,
        manifest: &Digest,
    ) -> Result<()> {
        if wanted.sbom && images.referrers_of_type(manifest, sbom::MEDIA_TYPE)?.is_empty() {
            let artifact_type = sbom::MEDIA_TYPE.to_owned();
            let bytes = bill_of_materials(images, &built.image, contents, repository, &manifest.to_string())?;
            images.attach(manifest, &Artifact { artifact_type, bytes, ..Artifact::default() })?;
        }
        if let Some(detail) = wanted.provenance {
            self.attach_provenance(images, detail, wanted.builder.clone(), built, repository, manifest)?;
        }
        Ok(())
    }

    fn attach_provenance(
        &self,
        images: &Images,
        detail: Detail,
        builder: Option<String>,
        built: &Built,
        repository: &Repository,
        manifest: &Digest,
    ) -> Result<()> {
        let mut base_images = BTreeMap::new();
        for (name, id) in &built.inputs.images {
            base_images.insert(name.clone(), BaseImage { digest: images.manifest_of(id)?, id: *id });
        }
        let step = |(info, outcome): &(shiplap_builder::build::StepInfo, Outcome)| Step {
            stage: info.stage.clone(),
            text: info.text.clone(),
            outcome: match outcome {
                Outcome::Cached => "cached",
                Outcome::Reused => "reused",
                Outcome::Ran { .. } => "ran",
            },
        };
        let seconds = |time: Timestamp| Timestamp::from_second(time.as_second()).unwrap_or(time);
        let build = Build {
            name: repository.to_string(),
            digest: *manifest,
            dockerfile: built.inputs.dockerfile,
            target: self.target.clone(),
            platform: built.image.platform().map(|platform| platform.to_string()).unwrap_or_default(),
            arguments: self.arguments.clone(),
            secrets: self.secrets.clone(),
            base_images,
            contexts: built.inputs.contexts.clone(),
            git: built.inputs.git.clone(),
            files: built.inputs.http.clone(),
            source: self.source.clone(),
            steps: built.steps.iter().map(step).collect(),
            builder,
            invocation: format!("{}-{}", self.started.as_nanosecond(), std::process::id()),
            started: seconds(self.started),
            finished: seconds(Timestamp::now()),
        };
        let bytes = build.statement(detail).map_err(|error| Failure::of(Kind::Failed, &error))?;
        for attached in images.referrers_of_type(manifest, provenance::MEDIA_TYPE)? {
            let Some(blob) = attached.blobs.first() else { continue };
            if provenance::tell_the_same(&images.store().blobs().read(&blob.digest)?, &bytes) {
                return Ok(());
            }
        }
        let note = ("in-toto.io/predicate-type".to_owned(), provenance::PREDICATE_TYPE.to_owned());
        let artifact_type = provenance::MEDIA_TYPE.to_owned();
        images
            .attach(manifest, &Artifact { artifact_type, bytes, annotations: [note].into(), ..Artifact::default() })?;
        Ok(())
    }
}

/// The bill of materials of an image; `digest` names it. `contents` is what is in it, where that was read before.
pub fn bill_of_materials(
    images: &Images,
    image: &Image,
    contents: Option<&Contents>,
    repository: &Repository,
    digest: &str,
) -> Result<Vec<u8>> {
    let contents = match contents {
        Some(contents) => Cow::Borrowed(contents),
        None => Cow::Owned(contents::read(images.store(), &image.layers, None).map_err(away::failure)?),
    };
    for record in &contents.not_read {
        tracing::warn!(path = record.path, "not in the bill of materials: {}", record.why);
    }
    let created = image.config.get("created").and_then(|created| created.as_str());
    let subject = sbom::Subject { name: &repository.to_string(), digest, created };
    sbom::cyclonedx(&subject, &contents).map_err(|error| Failure::of(Kind::Failed, &error))
}
