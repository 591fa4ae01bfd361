//! `docker build --check`: the checks of all stages, with nothing built and no layer fetched.

use std::collections::HashMap;
use std::sync::Arc;

use shiplap_registry::{Platform, Reference};

use super::error::BuildError;
use super::events::Watch;
use super::images::Cause;
use super::{Builder, Read, Request, image_config};
use crate::dockerfile::DockerfileError;
use crate::plan::{ImageConfig, ImageOrigin, ImageRef, Plan, Source, StageId, Warning};

/// What the checks found.
#[derive(Debug, Clone)]
pub struct Checked {
    /// The findings, from the first line to the last.
    pub warnings: Vec<Warning>,
    /// Set by `# check=error=true` where there are findings: what a build would fail with.
    pub refused: Option<String>,
    /// Bases whose configuration could not be had, and why. Variables are not checked in stages that may get some from there.
    pub unknown: Vec<(ImageRef, String)>,
    /// The text of the Dockerfile.
    pub text: String,
}

impl Builder {
    /// Makes the checks of BuildKit's linter, on all stages where no target is given.
    ///
    /// # Errors
    /// The Dockerfile cannot be read or planned.
    pub async fn check(self: &Arc<Self>, mut request: Request, watch: Arc<dyn Watch>) -> Result<Checked, BuildError> {
        request.options.all_stages = request.options.target.is_none();
        let Read { text, graph, .. } = Read::of(&request)?;
        let mut configs: HashMap<ImageRef, ImageConfig> = HashMap::new();
        let mut unknown: Vec<(ImageRef, String)> = Vec::new();
        // Twice or more where a trigger of a base needs another one.
        let lowered = loop {
            let missing = match graph.lower(&|image| configs.get(image).cloned()) {
                Err(DockerfileError::MissingImages(images)) => images,
                done => break done,
            };
            for image in missing {
                let config = match self.config(&image, &request, &watch).await {
                    Ok(config) => config,
                    Err(why) => {
                        unknown.push((image.clone(), why.to_string()));
                        ImageConfig::default()
                    }
                };
                configs.insert(image, config);
            }
        };
        let mut warnings = told(&lowered?, &unknown);
        let refused = graph.refusal(&warnings);
        warnings.sort_by_key(|warning| warning.at.map_or(0, |at| at.line_start));
        Ok(Checked { warnings, refused, unknown, text })
    }

    /// The configuration of an image, from the store or its registry.
    async fn config(
        self: &Arc<Self>,
        used: &ImageRef,
        request: &Request,
        watch: &Arc<dyn Watch>,
    ) -> Result<ImageConfig, Cause> {
        let none = || Cause::from("its configuration is none");
        let engine = request.engine.as_deref();
        let ImageOrigin::Registry(name) = &used.origin else {
            return image_config(&self.image(used, request.pull, engine, watch).await?).ok_or_else(none);
        };
        let name: Reference = name.parse()?;
        let platform = Platform {
            os: used.platform.os.clone(),
            architecture: used.platform.arch.clone(),
            variant: used.platform.variant.clone(),
        };
        if let Some(engine) = engine.filter(|_| name.digest().is_none())
            && let Some(image) = self.engine_image(engine, &name, &platform, &**watch).await?
        {
            return image_config(&image).ok_or_else(none);
        }
        if let (Some(id), false) = (self.images.resolve(&name)?, request.pull) {
            let image = self.images.load(&id)?;
            if image.platform().is_none_or(|has| has.matches(&platform)) {
                return image_config(&image).ok_or_else(none);
            }
        }
        let client = self.client.as_ref().ok_or("it is not in the store")?;
        Ok(serde_json::from_slice(&client.config(&self.images, &name, &platform).await?)?)
    }
}

/// The findings that hold whatever the unknown bases set.
fn told(plan: &Plan, unknown: &[(ImageRef, String)]) -> Vec<Warning> {
    let blind = |mut id: StageId| loop {
        match &plan.stage(id).base {
            Source::Stage(base) => id = *base,
            Source::Image(image) => return unknown.iter().any(|(other, _)| other == image),
            _ => return false,
        }
    };
    let blind: Vec<_> = plan.stages.iter().filter(|stage| blind(stage.id)).collect();
    let is_blind = |warning: &&Warning| {
        let of_stage = |at| blind.iter().any(|stage| stage.steps.iter().any(|step| step.at == at));
        matches!(warning.code, "UndefinedVar" | "JSONArgsRecommended") && warning.at.is_some_and(of_stage)
    };
    plan.warnings.iter().filter(|warning| !is_blind(warning)).cloned().collect()
}
