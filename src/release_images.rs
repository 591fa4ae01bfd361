//! Between the crates: what an instance's settings mean for a build, and what a build means for a release.

use std::path::PathBuf;

use shiplap_builder::build::{Built, NOISE, Refresh, Request};
use shiplap_builder::dockerfile::BuildOptions;
use shiplap_cache::Digest;
use shiplap_manifests::config::{
    ArgoCdTarget, Config, Deploy, HelmTarget, Image, KustomizeTarget, Secret, TerraformTarget,
};
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::{ImageName, Reference};
use shiplap_manifests::release::{ImageInputs, ReleaseImage};
use shiplap_registry::{Error, Images, Packed};

use crate::commands::build::{flags, secrets};
use crate::docker_config;
use crate::failure::{Failure, Kind, Result};

/// The build of an instance's image.
pub fn request(config: &Config, image: &Image) -> Result<Request> {
    let folder = config.folder();
    let place = |text: &String| {
        let is_path = !text.contains("://") && !text.starts_with("git@");
        if is_path { folder.join(text).display().to_string() } else { text.clone() }
    };
    let contexts = image.build_contexts.iter().map(|(name, text)| Ok((name.clone(), place(text))));
    let mut secrets = std::collections::BTreeMap::new();
    for (id, secret) in &image.secrets {
        let value = match secret {
            Secret::Env(name) => secrets::environment(id, name)?,
            Secret::File(file) => std::fs::read(folder.join(file)).map_err(|e| {
                Failure::new(Kind::Missing, format!("cannot read the secret {id} from {}: {e}", file.display()))
            })?,
        };
        secrets.insert(id.clone(), value);
    }
    let mut build_args = image.build_args.clone();
    docker_config::add_proxies(&mut build_args)?;
    let default_noise = NOISE.iter().filter(|_| config.build.default_noise).copied();
    let noise = default_noise.chain(config.build.noise.iter().map(String::as_str)).map(str::to_owned).collect();
    let max_age = config.build.max_age.map(|age| age.0);
    Ok(Request {
        options: BuildOptions {
            target: image.target.clone(),
            build_args,
            build_contexts: flags::contexts(contexts)?,
            platform: flags::platform(image.platform.as_deref())?,
            ..BuildOptions::default()
        },
        secrets,
        noise,
        refresh: Refresh { max_age, ..Refresh::default() },
        ..Request::new(folder.join(&image.context), folder.join(image.dockerfile_path()))
    })
}

/// Files that a deploy writes: they do not make a tree dirty.
pub fn owned_files(config: &Config) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for instance in config.instances.values() {
        for deploy in &instance.deploy {
            match deploy {
                Deploy::Compose(target) => files.push(config.folder().join(&target.file)),
                Deploy::Tutor(target) => {
                    if let Some(root) = target.root.as_ref().or(instance.tutor_root.as_ref()) {
                        let root = config.folder().join(root);
                        files.extend([root.join("config.yml"), root.join("env")]);
                    }
                }
                Deploy::Kustomize(KustomizeTarget { file, git, .. })
                | Deploy::Helm(HelmTarget { file, git, .. })
                | Deploy::Argocd(ArgoCdTarget { file, git, .. })
                | Deploy::Terraform(TerraformTarget { file, git, .. }) => {
                    // A deploy that commits leaves nothing behind.
                    if !git.commits() {
                        files.push(config.folder().join(file));
                    }
                }
                Deploy::Exec(_) => {}
            }
        }
    }
    files
}

/// An image for the record.
pub fn release_image(name: &ImageName, reference: Reference, packed: &Packed, built: &Built) -> ReleaseImage {
    let platform = built.image.platform().map(|p| p.to_string()).unwrap_or_default();
    ReleaseImage { name: name.clone(), reference, digest: packed.manifest.digest, platform, size: packed.size() }
}

/// What went into an image, for the record.
pub fn inputs(images: &Images, built: &Built, settings: &Image) -> Result<ImageInputs> {
    let inputs = &built.inputs;
    let mut base_images = std::collections::BTreeMap::new();
    for (name, id) in &inputs.images {
        base_images.extend(images.manifest_of(id)?.map(|digest| (name.clone(), digest)));
    }
    let files = inputs.http.iter().map(|(url, digest)| (url.clone(), digest.to_string()));
    Ok(ImageInputs {
        dockerfile: Some(inputs.dockerfile),
        target: settings.target.clone(),
        base_images,
        contexts: inputs.contexts.clone(),
        sources: inputs.git.clone().into_iter().chain(files).collect(),
        facts: inputs.images.iter().map(|(name, id)| (format!("image {name}"), id.to_string())).collect(),
    })
}

/// Looks images up in the store.
pub struct Check<'a> {
    images: &'a Images,
}

/// How much of an image the store has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Here {
    /// All.
    Whole,
    /// Not its layers, which never came here: it was pushed with what a cache has. What is missing.
    ButForLayers(String),
}

impl<'a> Check<'a> {
    pub fn new(images: &'a Images) -> Self {
        Self { images }
    }

    /// How much of an image is here. It is whole, or was not meant to be.
    pub fn look(&self, reference: &Reference, digest: &Digest) -> std::result::Result<Here, ImageProblem> {
        let unknown = |e: &dyn std::error::Error| ImageProblem::Unknown(e.to_string());
        let name: shiplap_registry::Reference = reference.to_string().parse().map_err(|e| unknown(&e))?;
        match self.images.tag_digest(&name).map_err(|e| unknown(&e))? {
            None => return Err(ImageProblem::Missing),
            Some(found) if found != *digest => return Err(ImageProblem::OtherDigest(found)),
            Some(_) => {}
        }
        // What no registry holds is here or nowhere, and is read to its end.
        let only_copy = reference.repository.registry().is_none();
        match self.images.check_whole(digest, only_copy) {
            Ok(_) => Ok(Here::Whole),
            Err(error @ Error::NotWhole { .. })
                if !only_copy && self.images.check_but_for_elsewhere(digest).is_ok() =>
            {
                Ok(Here::ButForLayers(error.to_string()))
            }
            Err(error @ Error::NotWhole { .. }) => Err(ImageProblem::Incomplete(error.to_string())),
            Err(error) => Err(unknown(&error)),
        }
    }
}
