//! `shiplap release`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use shiplap_builder::build::{self as builder, Outcome};
use shiplap_manifests::config;
use shiplap_manifests::contents::Contents;
use shiplap_manifests::draft::{Built, ReleaseDraft, ReleaseRequest, VersionChoice};
use shiplap_manifests::git::GitState;
use shiplap_manifests::inspect;
use shiplap_manifests::names::{ImageName, InstanceName};
use shiplap_manifests::release::{MigrationSet, StepSummary};
use shiplap_manifests::share::Standing;
use shiplap_manifests::version::Bump;
use shiplap_manifests::{Config, History};
use shiplap_registry::remote::Remote;
use shiplap_registry::signature::PrivateKey;
use shiplap_registry::{Compression, Images, PackOptions, Packed, Reference};

use super::build::several::Several;
use super::{build, deploy};
use crate::app::App;
use crate::away::Away;
use crate::failure::{Failure, Kind, Result};
use crate::holdings;
use crate::many::{self, Jobs, Select};
use crate::release_images::{inputs, owned_files, release_image, request};
use crate::supply::{Recipe, SignedCheck, Wanted, exchange, keys};
use crate::tiers::CacheFlags;
use crate::{output, shared};

/// Build, tag, push and record the images of an instance as one release
///
/// The tag is VERSION-gCOMMIT and never moves. A release is all of the instance's images or none: it is there when the last of them
/// is. The same release again, of the same commit, changes nothing.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The instance, or a pattern of names; left out with --all [default: the only one of shiplap.toml]
    instance: Option<String>,
    /// The version, as in 1.4.0
    #[arg(conflicts_with = "bump")]
    version: Option<String>,
    /// Raise this part of the newest release's version
    #[arg(long, value_name = "major|minor|patch")]
    bump: Option<Bump>,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    jobs: Jobs,
    /// Release a tree with changes that are in no commit; the tag says so
    #[arg(long)]
    allow_dirty: bool,
    /// Sign each image with this private key, as `cosign sign --key` does; its password is in COSIGN_PASSWORD [default: `sign-key` of
    /// [release]]
    #[arg(long, value_name = "FILE")]
    sign_key: Option<PathBuf>,
    #[command(flatten)]
    cache: CacheFlags,
}

#[derive(Debug, Serialize)]
struct Report {
    #[serde(flatten)]
    committed: shiplap_manifests::draft::Committed,
    pushed_bytes: u64,
    milliseconds: u64,
}

pub async fn run(app: &App, args: &Args) -> Result<ExitCode> {
    app.use_cache(&args.cache)?;
    let config = app.need_config()?;
    let (word, version) = deploy::words(&args.select, args.instance.as_deref(), args.version.as_deref())?;
    if let Some(instances) = args.select.instances(&config, word)? {
        let version = choice(version, args.bump)?;
        let (images, jobs) = (app.images()?, args.jobs.of(instances.len()));
        let work = async |name: &InstanceName| {
            one(app, args, &config, &images, name.as_str(), version.clone(), Several::with(jobs)).await
        };
        let done = many::at_once(app, instances, jobs, work).await;
        return many::finish(app, done, |report| {
            let (release, word) =
                (&report.committed.release.release, if report.committed.created { "" } else { " already" });
            format!("{}{word}, {} steps reused, {} run", release.tag, release.steps.reused, release.steps.run)
        });
    }
    // `release 1.0.0` in a folder with one instance.
    let (name, version) = match (&args.instance, &args.version) {
        (Some(text), None) if shiplap_manifests::version::parse(text).is_ok() => {
            (build::only_instance(app)?, Some(text.clone()))
        }
        (Some(name), version) => (name.clone(), version.clone()),
        (None, _) => (build::only_instance(app)?, None),
    };
    // `release v1.2`: a version that is none, rather than an instance that is none.
    let like_a_version = name.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit());
    if version.is_none() && like_a_version && config.instance(&name).is_err() {
        VersionChoice::exact(&name)?;
    }
    config.instance(&name)?;
    let version = choice(version.as_deref(), args.bump)?;
    let report = one(app, args, &config, &app.images()?, &name, version, Several::No).await?;
    app.progress.finish();
    if app.global.json {
        output::json(&report)?;
    } else {
        show(&report);
    }
    Ok(ExitCode::SUCCESS)
}

fn choice(version: Option<&str>, bump: Option<Bump>) -> Result<VersionChoice> {
    match (version, bump) {
        (Some(_), Some(_)) => Err(Failure::new(Kind::Usage, "a version and --bump: which one?")),
        (Some(text), None) => Ok(VersionChoice::exact(text)?),
        (None, Some(bump)) => Ok(VersionChoice::Bump(bump)),
        (None, None) => {
            Err(Failure::new(Kind::Usage, "which version?")
                .hint("name one, as in 1.4.0, or say --bump major|minor|patch"))
        }
    }
}

async fn one(
    app: &App,
    args: &Args,
    config: &Config,
    images: &Images,
    name: &str,
    version: VersionChoice,
    several: Several,
) -> Result<Report> {
    let began = Instant::now();
    let (instance_name, instance) = config.instance(name)?;
    // A key that cannot be used is told before a long build.
    let key_file = args.sign_key.clone().or_else(|| Some(config.folder().join(config.release.sign_key.as_ref()?)));
    let sign_key = key_file.map(|path| keys::private(&path)).transpose()?;
    let wanted_documents =
        Wanted { sbom: config.release.sbom, provenance: config.release.provenance.detail(), builder: None };
    let mut history = app.history(images)?;
    shared::pull(app, config, &mut history)?;
    let git = GitState::inspect(config.folder(), &owned_files(config)).map_err(shiplap_manifests::Error::from)?;
    let wanted = ReleaseRequest { version, allow_dirty: args.allow_dirty, creator: app.actor() };
    let draft = history.prepare(instance_name, instance, &git, wanted)?;

    let order = Order {
        app,
        config,
        images,
        draft: &draft,
        wanted: &wanted_documents,
        sign_key: sign_key.as_ref(),
        several,
        pack: build::packing::pack_options(Some(config.build.compression))?,
    };
    let mut from = order.layers_from(instance)?;
    let (mut built, pushed_bytes) = loop {
        match make(&order, (instance_name, instance), from.as_ref()).await {
            // A tier does not have any more what it had: then all must be here.
            Err(error) if from.is_some() && error.kind() == Kind::Store => {
                app.progress.say(&format!(
                    "warning: all layers are fetched, for with what a cache has there is no release: {error}"
                ));
                from = None;
            }
            made => break made?,
        }
    };
    built.steps.milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    // A registry may have lost, or shortened, what a push finds there already.
    let check = SignedCheck::unsigned(app, images, config);
    let commit = |history: &mut History| Ok(history.commit(&draft, built, &check, &())?);
    let committed = shared::alone(app, config, &mut history, instance_name, Standing::Respected, commit)?;
    let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(Report { committed, pushed_bytes, milliseconds })
}

/// What a release is made of, and how.
struct Order<'a> {
    app: &'a App,
    config: &'a Config,
    images: &'a Images,
    draft: &'a ReleaseDraft,
    wanted: &'a Wanted,
    sign_key: Option<&'a PrivateKey>,
    several: Several,
    pack: PackOptions,
}

impl Order<'_> {
    /// Whether an image goes to a registry.
    fn pushes(&self, image: &config::Image) -> bool {
        self.config.release.push.unwrap_or(image.repository.registry().is_some())
    }

    /// Where layers may stay: in caches, when all images go to registries, with the layers that caches have.
    fn layers_from(&self, instance: &config::Instance) -> Result<Option<Arc<Remote>>> {
        let goes = |image: &config::Image| image.repository.registry().is_some() && self.pushes(image);
        let as_they_are = self.pack.clamp.is_none() && self.pack.compression == Compression::default();
        let stay = as_they_are && !self.app.wants_whole_layers() && instance.image.values().all(goes);
        Ok(self.app.remote(self.images)?.filter(|_| stay))
    }
}

/// One image of a release, before it has its tag.
struct Made<'a> {
    name: &'a ImageName,
    settings: &'a config::Image,
    packed: Packed,
    built: builder::Built,
    recipe: Recipe,
    /// What is in it, where that was read already.
    contents: Option<Contents>,
}

/// Builds, tags and pushes the images of an instance. Gives them, and the bytes that were sent. With a remote, layers that a cache has need not come here.
async fn make(
    order: &Order<'_>,
    (instance_name, instance): (&InstanceName, &config::Instance),
    from: Option<&Arc<Remote>>,
) -> Result<(Built, u64)> {
    let Order { app, config, images, draft, wanted, sign_key, several, pack } = *order;
    let mut built =
        Built { images: Vec::new(), inputs: BTreeMap::new(), steps: StepSummary::default(), migrations: None };
    let options = PackOptions { elsewhere: from.is_some(), ..pack };
    let client = app.client();
    let mut pushed_bytes = 0;
    let mut all = Vec::new();
    // Of all images together: it does not matter which of them brings an application. Of one that cannot be read nobody knows, and so of the set.
    let mut migrations = Some(MigrationSet::default());
    for (name, settings) in &instance.image {
        let request = several.adjust(request(config, settings)?);
        let recipe = Recipe::of(&request, Some(draft.git.clone()));
        let label = several.label(instance_name, name);
        let (one, away) = match from {
            Some(remote) => {
                let one = build::build(app, images, request, Some(&label)).await?;
                remote.with_blobs(&one.image.layers).await?;
                let away = Away::of(images, remote, &one.image, wanted.sbom).await?;
                (one, away)
            }
            None => (build::build_whole(app, images, request, Some(&label)).await?, None),
        };
        for (_, outcome) in &one.steps {
            match outcome {
                Outcome::Ran { .. } => built.steps.run += 1,
                Outcome::Cached | Outcome::Reused => built.steps.reused += 1,
            }
        }
        let packed = images.pack(&one.image, &options, &*app.progress)?;
        let mut inputs = inputs(images, &one, settings)?;
        let folder = config.folder().join(&settings.context);
        inputs.facts.extend(holdings::of_environment(config, instance, &folder));
        let digest = packed.manifest.digest;
        let (told, contents) = match away {
            Some(away) => {
                let contents = if wanted.sbom { Some(away.packages().await?) } else { None };
                (Ok(away.facts(&digest).await?), contents)
            }
            None => (inspect::facts(images, &one.image.id(), &digest, None), None),
        };
        migrations = holdings::add(app, name, told, &mut inputs).zip(migrations).map(holdings::together);
        built.inputs.insert(name.clone(), inputs);
        all.push(Made { name, settings, packed, built: one, recipe, contents });
    }
    built.migrations = migrations;
    // From here on the images must survive a power cut.
    images.store().sync()?;
    if from.is_some() {
        // A tag is for ever: it is given when it is sure that the registry has everything, for some of that may be nowhere any more.
        for Made { settings, packed, .. } in &all {
            let (digest, repository) = (packed.manifest.digest, settings.repository.to_string().parse()?);
            pushed_bytes += client.complete(images, from.map(Arc::as_ref), &digest, &repository).await?.sent;
            images.note_elsewhere(&digest)?;
        }
    }
    for Made { name, settings, packed, built: one, recipe, contents } in &all {
        let reference = draft
            .reference(name)
            .ok_or_else(|| Failure::new(Kind::Failed, format!("the release has no image {name}")))?;
        let digest = packed.manifest.digest;
        let tagged: Reference =
            images.tag(&reference.repository.to_string().parse()?, &reference.tag.to_string(), &digest)?;
        let repository = tagged.repository();
        // Documents are for whoever looks at the release later: without one it is a release all the same.
        if let Err(why) = recipe.attach(images, wanted, one, contents.as_ref(), repository, &digest) {
            app.note(&format!("{name} has no bill of materials or no provenance: {why}"));
        }
        let pushes = order.pushes(settings);
        if let Some(key) = sign_key {
            exchange::sign(pushes.then_some(&client), images, repository, &digest, key).await?;
        }
        if pushes {
            pushed_bytes += match from {
                Some(remote) => client.push_from(images, Some(remote), &digest, &tagged).await?.sent,
                None => exchange::push_whole(&client, images, &digest, &tagged).await?.sent,
            };
            pushed_bytes +=
                exchange::push_attached(&client, images, repository, &digest, &|text| app.note(text)).await?;
        }
        build::publish(app, images, one).await?;
        built.images.push(release_image(name, reference, packed, one));
    }
    Ok((built, pushed_bytes))
}

fn show(report: &Report) {
    let release = &report.committed.release.release;
    let word = if report.committed.created { "released" } else { "was released already" };
    output::line(&format!("{} {} {word}", release.instance, release.tag));
    for image in &release.images {
        output::line(&format!(
            "  {}  {}  {}",
            image.reference.pinned(&image.digest),
            image.platform,
            output::size(image.size)
        ));
    }
    if report.committed.created {
        let (steps, took) = (&release.steps, output::duration(report.milliseconds));
        output::line(&format!("  {} steps reused, {} run, {took}", steps.reused, steps.run));
    }
    if report.pushed_bytes > 0 {
        output::line(&format!("  {} pushed", output::size(report.pushed_bytes)));
    }
    output::line(&format!("next: shiplap deploy {} {}", release.instance, release.version));
}
