//! `shiplap build`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use shiplap_builder::build::{BuildError, Built, Context, Forecast, Outcome, Request, StepInfo};
use shiplap_builder::dockerfile::DockerfileError;
use shiplap_cache::ImageId;
use shiplap_manifests::Config;
use shiplap_manifests::config::Image;
use shiplap_manifests::inspect;
use shiplap_manifests::names::{ImageName, InstanceName};
use shiplap_registry::engine::HandedOver;
use shiplap_registry::remote::Learnt;
use shiplap_registry::{Images, Reference};

use crate::app::App;
use crate::commands::load;
use crate::failure::{Failure, Kind, Result, build_failure};
use crate::many::{self, Jobs, Select};
use crate::release_images::request;
use crate::supply::{Recipe, Wanted};
use crate::{engine, output, tiers, warnings};

mod annotations;
mod attest;
mod call;
mod context;
mod elsewhere;
pub mod fields;
pub mod flags;
mod outputs;
pub mod packing;
pub mod secrets;
pub mod several;
mod steps;
mod unused;

use attest::AttestFlags;
pub use context::{What, default_in};
pub use flags::Flags;
use outputs::{OutputFlags, Outputs};
use several::Several;
use unused::UnusedFlags;

/// Build an image from a directory or a URL, or the images of an instance
///
/// With a directory or a URL it does what `docker buildx build` does with the same flags. With the name of an instance, or nothing where
/// shiplap.toml has one instance, it builds the images of that instance. What is built stays in the store; `shiplap release`
/// tags it, `shiplap export` and `--push` take it elsewhere.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory, an instance of shiplap.toml, the URL of a git repository, of a tar or of a Dockerfile, or `-` for a tar or a
    /// Dockerfile on standard input
    #[arg(value_name = "DIR|INSTANCE|URL|-")]
    pub what: Option<String>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    jobs: Jobs,
    /// Only this image of the instance; can be given several times
    #[arg(long, value_name = "NAME")]
    image: Vec<ImageName>,
    #[command(flatten)]
    pub flags: Flags,
    #[command(flatten)]
    outputs: OutputFlags,
    #[command(flatten)]
    elsewhere: elsewhere::EngineFlags,
    #[command(flatten)]
    attest: AttestFlags,
    #[command(flatten)]
    unused: UnusedFlags,
    #[command(flatten)]
    call: call::CallFlags,
}

impl Args {
    /// Whether only the image's id is asked for.
    pub fn is_quiet(&self) -> bool {
        self.outputs.quiet
    }
}

/// The instance that is meant when none is named.
pub fn only_instance(app: &App) -> Result<String> {
    let config = app.need_config()?;
    let names: Vec<&str> = config.instances.keys().map(|name| name.as_str()).collect();
    match names.as_slice() {
        [only] => Ok((*only).to_owned()),
        _ => Err(Failure::new(Kind::Usage, "which instance?").hint(format!(
            "{} has {}",
            config.path.display(),
            names.join(", ")
        ))),
    }
}

/// The builds that a command line means, each with the image of the instance that it makes.
pub async fn requests(
    app: &App,
    images: &Images,
    what: What,
    flags: &Flags,
) -> Result<Vec<(Option<ImageName>, Request)>> {
    let mut all: Vec<(Option<ImageName>, Request)> = match what {
        What::Context(place) => vec![(None, place.request(app, images, flags).await?)],
        What::Instance(name) => {
            flags.refuse_for_instance()?;
            let config = app.need_config()?;
            let images = &config.instance(&name)?.1.image;
            let request = |image: &Image| flags.adjust(request(&config, image)?);
            images.iter().map(|(name, image)| Ok((Some(name.clone()), request(image)?))).collect::<Result<_>>()?
        }
    };
    let engine = engine::bases(app, flags).await?;
    all.iter_mut().for_each(|(_, request)| request.engine = engine.clone());
    Ok(all)
}

/// What builds would do.
pub async fn forecasts(app: &App, what: What, flags: &Flags) -> Result<Vec<(Option<ImageName>, Forecast)>> {
    app.use_cache(&flags.cache)?;
    let images = app.images()?;
    let mut forecasts = Vec::new();
    for (image, request) in requests(app, &images, what, flags).await? {
        let (place, bases) = (DockerfilePlace::of(&request), request.engine.clone());
        let watch = app.progress.watch(image.as_ref().map(ImageName::as_str));
        let forecast = app.builder(&images)?.forecast(request, watch).await.map_err(|error| place.show(app, error))?;
        engine::tell(app, bases.as_deref());
        forecasts.push((image, forecast));
    }
    app.progress.finish();
    Ok(forecasts)
}

/// The result of one image, for `--json`.
#[derive(Debug, Serialize)]
struct Report {
    image: Option<ImageName>,
    id: ImageId,
    names: Vec<String>,
    cached: usize,
    reused: usize,
    ran: usize,
    steps: Vec<Step>,
    /// What moved between here and the caches, all images of this command together.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<tiers::Traffic>,
    warnings: Vec<shiplap_builder::plan::Warning>,
    /// What a container engine was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    engine: Option<HandedOver>,
}

#[derive(Debug, Serialize)]
struct Step {
    #[serde(flatten)]
    info: StepInfo,
    #[serde(flatten)]
    outcome: Outcome,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    app.use_cache(&args.flags.cache)?;
    if let Some(call) = args.call.call()? {
        let images = app.images()?;
        let all = requests(app, &images, What::of(app, args.what.as_deref())?, &args.flags).await?.into_iter();
        let wanted = |image: &Option<ImageName>| {
            args.image.is_empty() || image.as_ref().is_some_and(|image| args.image.contains(image))
        };
        return call.answer(app, all.filter(|(image, _)| wanted(image)).map(|(_, request)| request).collect()).await;
    }
    let images = app.images()?;
    let began = std::time::Instant::now();
    let mut reports = Vec::new();
    let mut to_stdout = true;
    let documents = args.attest.wanted()?;
    for note in args.unused.notes()?.iter().filter(|_| !args.outputs.quiet) {
        app.note(note);
    }
    if let Some(instances) = several::instances(app, &args.select, args.what.as_deref())? {
        return all(app, args, &images, &documents, instances).await;
    }
    match What::of(app, args.what.as_deref())? {
        What::Context(place) => {
            if let Some(image) = args.image.first() {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("--image {image} goes with an instance, not with a directory"),
                ));
            }
            let request = place.request(app, &images, &args.flags).await?;
            let request = Request { engine: engine::bases(app, &args.flags).await?, ..request };
            let outputs = Outputs::of(app, &args.outputs, &args.flags.tag, &request.options)?.with(app, &documents);
            let outputs = outputs.reach(app).await?;
            let recipe = Recipe::of(&request, None);
            let (built, engine) = deliver(app, &images, &request, None, &outputs, &recipe).await?;
            to_stdout = !outputs.use_stdout();
            reports.push(Report { engine, ..report(app, None, built, &outputs.names) });
        }
        What::Instance(name) => {
            refuse_for_instance(args)?;
            let config = app.need_config()?;
            reports = instance(app, args, &images, &documents, &config, &name, Several::No).await?;
        }
    }
    app.progress.finish();
    if let (Some(path), Some(report)) = (&args.outputs.iidfile, reports.first()) {
        std::fs::write(path, report.id.to_string())
            .map_err(|e| Failure::new(Kind::Failed, format!("cannot write {}: {e}", path.display())))?;
    }
    show(app, &args.outputs, &reports, to_stdout, began.elapsed().as_millis() as u64)?;
    Ok(ExitCode::SUCCESS)
}

fn refuse_for_instance(args: &Args) -> Result<()> {
    args.flags.refuse_for_instance()?;
    flags::refuse(&args.outputs.of_directories())
}

/// Builds the images of several instances.
async fn all(
    app: &App,
    args: &Args,
    images: &Images,
    documents: &Wanted,
    instances: Vec<InstanceName>,
) -> Result<ExitCode> {
    refuse_for_instance(args)?;
    if let Some(flag) = args.outputs.of_one_image() {
        return Err(Failure::new(
            Kind::Usage,
            format!("{flag} is about one image, and this builds those of several instances"),
        )
        .hint("name one instance"));
    }
    let (config, jobs) = (app.need_config()?, args.jobs.of(instances.len()));
    let several = Several::with(jobs);
    let work =
        async |name: &InstanceName| instance(app, args, images, documents, &config, name.as_str(), several).await;
    let done = many::at_once(app, instances, jobs, work).await;
    many::finish(app, done, |reports| {
        let sum = |count: fn(&Report) -> usize| reports.iter().map(count).sum::<usize>();
        let (reused, ran) = (sum(|report| report.cached + report.reused), sum(|report| report.ran));
        format!("{} images, {reused} steps reused, {ran} run", reports.len())
    })
}

/// Builds the images of an instance that are wanted.
async fn instance(
    app: &App,
    args: &Args,
    images: &Images,
    documents: &Wanted,
    config: &Config,
    name: &str,
    several: Several,
) -> Result<Vec<Report>> {
    let (instance_name, instance) = config.instance(name)?;
    for image in &args.image {
        if !instance.image.contains_key(image) {
            let known: Vec<_> = instance.image.keys().map(ImageName::as_str).collect();
            return Err(Failure::new(Kind::Missing, format!("{name} has no image `{image}`"))
                .hint(format!("it has {}", known.join(", "))));
        }
    }
    let wanted = |(name, _): &(&ImageName, &Image)| args.image.is_empty() || args.image.contains(name);
    let chosen: Vec<_> = instance.image.iter().filter(wanted).collect();
    let files = [("--iidfile", &args.outputs.iidfile), ("--metadata-file", &args.outputs.metadata_file)];
    if let Some((flag, _)) = files.iter().find(|(_, file)| file.is_some() && chosen.len() != 1) {
        let message = format!("{flag} tells of one image, and this builds {}", chosen.len());
        return Err(Failure::new(Kind::Usage, message).hint("choose one with --image"));
    }
    let named = several != Several::No || instance.image.len() > 1;
    let bases = engine::bases(app, &args.flags).await?;
    let mut reports = Vec::new();
    for (image, settings) in chosen {
        let request = several.adjust(args.flags.adjust(request(config, settings)?)?);
        let request = Request { engine: bases.clone(), ..request };
        let options = request.options.clone();
        let recipe = Recipe::of(&request, None);
        let label = several.label(instance_name, image);
        let name = local_name(instance_name, image);
        let outputs = Outputs::of(app, &args.outputs, &[name], &options)?.with(app, documents).reach(app).await?;
        let (built, engine) = deliver(app, images, &request, named.then_some(&label), &outputs, &recipe).await?;
        reports.push(Report { engine, ..report(app, Some(image.clone()), built, &outputs.names) });
    }
    Ok(reports)
}

/// The moving local name of an instance's newest build.
fn local_name(instance: &InstanceName, image: &ImageName) -> String {
    format!("shiplap.local/{instance}/{image}:latest")
}

/// Builds an image and takes it where it is to go. Layers that only a tier has come here when something needs them.
async fn deliver(
    app: &App,
    images: &Images,
    request: &Request,
    label: Option<&str>,
    outputs: &Outputs,
    recipe: &Recipe,
) -> Result<(Built, Option<HandedOver>)> {
    let mut from = match app.remote(images)? {
        Some(remote) if !outputs.need_layers() => Some(remote),
        _ => None,
    };
    loop {
        let built = match from {
            Some(_) => build(app, images, request.clone(), label).await?,
            None => build_whole(app, images, request.clone(), label).await?,
        };
        name(images, &built, &outputs.names)?;
        if let Some(remote) = &from {
            remote.with_blobs(&built.image.layers).await?;
        }
        match outputs.write(app, images, from.as_ref(), &built, recipe).await {
            // A tier does not have any more what it had: then the image must be here.
            Err(error) if from.is_some() && error.kind() == Kind::Store => from = None,
            written => {
                let engine = written?;
                publish(app, images, &built).await?;
                return Ok((built, engine));
            }
        }
    }
}

/// Tells tiers what a build learnt.
pub async fn publish(app: &App, images: &Images, built: &Built) -> Result<()> {
    let Some(remote) = app.remote(images)? else { return Ok(()) };
    let learnt = Learnt { looked_at: Some(inspect::is_read), ..built.learnt.clone() };
    match remote.publish(&learnt).await {
        Ok(all) => all.iter().for_each(|done| app.progress.say(&tiers::published(done))),
        // The image is where it is to go: that others cannot have it from a cache is no reason to fail.
        Err(error) => app.progress.say(&format!("warning: no cache is told of this build: {error}")),
    }
    Ok(())
}

/// So often an image is built again because a layer of it was in no cache any more; the last time goes on without caches.
const ROUNDS: usize = 4;

/// As [`build`], and all layers of the image are here.
pub async fn build_whole(app: &App, images: &Images, request: Request, image: Option<&str>) -> Result<Built> {
    let remote = app.remote(images)?;
    let mut left = ROUNDS;
    loop {
        let built = build(app, images, request.clone(), image).await?;
        let Some(remote) = remote.as_ref().filter(|_| left > 0) else { return Ok(built) };
        if remote.layers(&built.image.layers).await?.is_ok() {
            return Ok(built);
        }
        // What is gone is not counted on any more: the next build makes it.
        left -= 1;
        if left == 0 {
            remote.leave_alone();
        }
    }
}

/// Builds, with errors shown at their place.
pub async fn build(app: &App, images: &Images, request: Request, image: Option<&str>) -> Result<Built> {
    let place = DockerfilePlace::of(&request);
    if let Context::Folder(folder) = &request.context
        && !folder.is_dir()
    {
        return Err(Failure::new(Kind::Missing, format!("the build context {} is not a directory", folder.display()))
            .hint("for an instance it is `context` in shiplap.toml, relative to that file"));
    }
    let (watch, bases) = (app.progress.watch(image), request.engine.clone());
    let built = app.builder(images)?.build(request, watch).await;
    engine::tell(app, bases.as_deref());
    built.map_err(|error| place.show(app, error))
}

/// The Dockerfile of a request, to show what is wrong in it when the request is gone.
struct DockerfilePlace {
    path: PathBuf,
    text: Option<String>,
}

impl DockerfilePlace {
    fn of(request: &Request) -> Self {
        Self { path: request.dockerfile.clone(), text: request.dockerfile_text.clone() }
    }

    fn show(self, app: &App, error: BuildError) -> Failure {
        app.progress.finish();
        // What was found may be why.
        warnings::tell(&match &error {
            BuildError::Dockerfile(DockerfileError::Checks { warnings, .. }) => warnings.clone(),
            _ => app.progress.warnings(),
        });
        let text = self.text.unwrap_or_else(|| std::fs::read_to_string(&self.path).unwrap_or_default());
        build_failure(error, &self.path, &text)
    }
}

fn name(images: &Images, built: &Built, names: &[Reference]) -> Result<()> {
    for name in names {
        images.name(name, &built.id)?;
    }
    Ok(())
}

fn report(app: &App, image: Option<ImageName>, built: Built, names: &[Reference]) -> Report {
    let cache = app.traffic();
    let count = |wanted: fn(&Outcome) -> bool| built.steps.iter().filter(|(_, outcome)| wanted(outcome)).count();
    Report {
        image,
        id: built.id,
        names: names.iter().map(Reference::familiar).collect(),
        cached: count(|o| matches!(o, Outcome::Cached)),
        reused: count(|o| matches!(o, Outcome::Reused)),
        ran: count(|o| matches!(o, Outcome::Ran { .. })),
        steps: built.steps.into_iter().map(|(info, outcome)| Step { info, outcome }).collect(),
        cache,
        warnings: built.warnings,
        engine: None,
    }
}

fn show(app: &App, flags: &OutputFlags, reports: &[Report], to_stdout: bool, millis: u64) -> Result<()> {
    if app.global.json {
        return output::json(&BTreeMap::from([("images", reports)]));
    }
    // Where the image itself went there, no word goes between.
    let line = |text: &str| match to_stdout {
        true => output::line(text),
        false if app.has_words => eprintln!("{text}"),
        false => {}
    };
    for report in reports {
        if flags.quiet {
            line(&report.id.to_string());
            continue;
        }
        warnings::tell(&report.warnings);
        let name = report.names.first().cloned().unwrap_or_else(|| "no name".to_owned());
        let reused = report.cached + report.reused;
        line(&format!("{}  {name}  {reused} steps reused, {} run", report.id.short(), report.ran));
        report.engine.iter().for_each(|handed| line(&load::describe(handed)));
    }
    if !flags.quiet && app.has_words {
        eprintln!("built in {}", output::duration(millis));
    }
    Ok(())
}
