//! Where a build's image goes: `--output`, `--push`, `--load`, and what is written about it.

mod metadata;
mod spec;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use shiplap_builder::build::Built;
use shiplap_builder::dockerfile::BuildOptions;
use shiplap_manifests::contents::Contents;
use shiplap_registry::archive::export_folder;
use shiplap_registry::engine::{Engine, HandedOver};
use shiplap_registry::remote::Remote;
use shiplap_registry::{Images, PackOptions, Packed, Reference};

use super::annotations::{self, Annotation};
use super::packing::{CompressionKind, Packing, SOURCE_DATE_EPOCH, pack_options_at};
use crate::app::App;
use crate::away::Away;
use crate::commands::{export, load};
use crate::engine;
use crate::failure::{Failure, Kind, Result};
use crate::supply::{Recipe, Wanted, exchange};
use spec::{Output, To};

/// What becomes of the image.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Output options")]
pub struct OutputFlags {
    /// Push the image under its names
    #[arg(long)]
    pub push: bool,
    /// Give the image to the container engine, under its names; only the layers that it lacks are moved
    #[arg(long)]
    pub load: bool,
    /// Take the image elsewhere: a folder for its files, `-` for a tar of them, or
    /// type=local|tar|oci|docker|image|registry|cacheonly[,dest=FILE][,KEY=VALUE]; can be given several times
    #[arg(short, long, value_name = "SPEC")]
    pub output: Vec<String>,
    /// How layers are compressed when the image is packed
    #[arg(long, value_name = "KIND")]
    pub compression: Option<CompressionKind>,
    /// A note in the image's manifest; `manifest-descriptor:` before the name puts it where an index names the manifest
    #[arg(long, value_name = "NAME=TEXT")]
    pub annotation: Vec<String>,
    /// Write the image's id to a file
    #[arg(long, value_name = "FILE")]
    pub iidfile: Option<PathBuf>,
    /// Write the image's digests and names to a file, as JSON
    #[arg(long, value_name = "FILE")]
    pub metadata_file: Option<PathBuf>,
    /// Print only the image's id
    #[arg(short, long)]
    pub quiet: bool,
}

impl OutputFlags {
    /// Says what does not go with an instance, if it was given.
    pub fn of_directories(&self) -> [(&'static str, bool); 3] {
        [("--push", self.push), ("--output", !self.output.is_empty()), ("--annotation", !self.annotation.is_empty())]
    }

    /// What goes into a file on this machine, if anything does.
    pub fn written_file(&self) -> Result<Option<String>> {
        if let Some((flag, _)) = [("--iidfile", &self.iidfile), ("--metadata-file", &self.metadata_file)]
            .iter()
            .find(|(_, file)| file.is_some())
        {
            return Ok(Some((*flag).to_owned()));
        }
        for text in &self.output {
            let output = Output::parse(text, true)?;
            if matches!(output.to, To::Files(_) | To::File(..)) && !output.is_stdout() {
                return Ok(Some(format!("--output {text}")));
            }
        }
        Ok(None)
    }

    /// Whether the image goes into a container engine.
    pub fn uses_engine(&self) -> bool {
        let is_engine = |text: &String| Output::parse(text, true).is_ok_and(|output| output.to == To::Engine);
        self.load || self.output.iter().any(is_engine)
    }

    /// The flag that can be about one image only, if one was given.
    pub fn of_one_image(&self) -> Option<&'static str> {
        let files = [("--iidfile", &self.iidfile), ("--metadata-file", &self.metadata_file)];
        files.into_iter().find(|(_, file)| file.is_some()).map(|(flag, _)| flag)
    }
}

/// What becomes of one image, worked out before it is built.
pub struct Outputs {
    all: Vec<(Output, Packing)>,
    /// The names that it gets in the store.
    pub names: Vec<Reference>,
    /// The names that it goes to registries by.
    pushed: Vec<Reference>,
    metadata: Option<PathBuf>,
    /// What is attached to it.
    wanted: Wanted,
    /// The engine that it goes into.
    engine: Option<Engine>,
}

impl Outputs {
    /// Reads the flags. What is wrong with them is said before a long build, not after it.
    pub fn of(app: &App, flags: &OutputFlags, tags: &[String], options: &BuildOptions) -> Result<Self> {
        let epoch = options.build_args.get(SOURCE_DATE_EPOCH).map(String::as_str).filter(|epoch| !epoch.is_empty());
        let mut given: Vec<Output> =
            flags.output.iter().map(|text| Output::parse(text, epoch.is_some())).collect::<Result<_>>()?;
        if flags.push && !given.iter().any(|output| matches!(output.to, To::Registry { .. })) {
            match given.iter_mut().find(|output| output.to == To::Store) {
                Some(output) => output.to = To::Registry { by_digest: false },
                None => given.push(Output::plain(To::Registry { by_digest: false })),
            }
        }
        if flags.load && !given.iter().any(|output| output.to == To::Engine) {
            given.push(Output::plain(To::Engine));
        }
        // What goes into an engine stays here too, for the next time.
        if given.is_empty() || given.iter().any(|output| output.to == To::Engine) {
            given.push(Output::plain(To::Store));
        }
        check_places(app, &given)?;
        for file in [&flags.metadata_file, &flags.iidfile].into_iter().flatten() {
            check_folder(file)?;
        }
        let mut annotations = Vec::new();
        for text in &flags.annotation {
            annotations.extend(Annotation::of_flag(text)?);
        }
        let mut names = tags.to_vec();
        if names.is_empty() {
            names = given.iter().flat_map(|output| output.names.clone()).collect();
            names.dedup();
        }
        let by_digest = given.iter().any(|output| output.to == To::Registry { by_digest: true });
        let names: Vec<Reference> = names.iter().map(|name| reference(name, by_digest)).collect::<Result<_>>()?;
        if names.is_empty() && given.iter().any(|output| matches!(output.to, To::Registry { .. })) {
            let flag = if flags.push { "--push" } else { "--output" };
            return Err(Failure::new(Kind::Usage, format!("{flag} needs a name to push the image under"))
                .hint("give one with -t REGISTRY/NAME:TAG"));
        }
        let packing = |output: &Output| -> Result<Packing> {
            let compression = output.compression.or(flags.compression).map(CompressionKind::config);
            let packed = pack_options_at(compression, epoch)?;
            let packed = PackOptions { force: output.force_compression, ..packed };
            let annotations = annotations::collect(annotations.iter().chain(&output.annotations), &options.platform);
            Ok(Packing { options: packed, annotations })
        };
        let all: Vec<(Output, Packing)> =
            given.into_iter().map(|output| packing(&output).map(|packing| (output, packing))).collect::<Result<_>>()?;
        let outputs = Self {
            // An image that is only built for the cache has no name to be found by.
            names: if all.iter().all(|(output, _)| output.to == To::Cache) { Vec::new() } else { names.clone() },
            all,
            pushed: names,
            metadata: flags.metadata_file.clone(),
            wanted: Wanted::default(),
            engine: None,
        };
        outputs.remark(app, flags);
        Ok(outputs)
    }

    /// With documents that are attached to the image, where it has a name to find them by.
    pub fn with(self, app: &App, wanted: &Wanted) -> Self {
        let kept = |to: &To| matches!(to, To::Store | To::Registry { .. });
        let keeps = !self.pushed.is_empty() && self.all.iter().any(|(output, _)| kept(&output.to));
        if wanted.anything() && !keeps {
            app.note(
                "attestations are attached to an image in the store or in a registry, and this build keeps none under a name: \
                 -t gives it one",
            );
        }
        Self { wanted: if keeps { wanted.clone() } else { Wanted::default() }, ..self }
    }

    /// With the engine, where the image goes into one: whether it answers is found out before a long build, not after it.
    pub async fn reach(self, app: &App) -> Result<Self> {
        let engine = match self.all.iter().any(|(output, _)| output.to == To::Engine) {
            true => Some(engine::connect(app).await?),
            false => None,
        };
        Ok(Self { engine, ..self })
    }

    /// Attaches what is wanted to a packed image, in the name of each repository that it is in.
    fn attach(
        &self,
        images: &Images,
        contents: Option<&Contents>,
        built: &Built,
        recipe: &Recipe,
        packed: &Packed,
    ) -> Result<()> {
        for name in &self.pushed {
            recipe.attach(images, &self.wanted, built, contents, name.repository(), &packed.manifest.digest)?;
        }
        Ok(())
    }

    /// Says what has no effect.
    fn remark(&self, app: &App, flags: &OutputFlags) {
        if flags.quiet {
            return;
        }
        let packs = self.metadata.is_some() || self.all.iter().any(|(output, _)| output.packs());
        let noted = self.all.iter().any(|(_, packing)| !packing.annotations.is_empty());
        if noted && !packs {
            app.note(
                "annotations stand in a manifest, and this build makes none: --push, --output type=oci and \
                 --metadata-file do",
            );
        }
        let compression = |output: &Output| output.compression.is_some() || output.force_compression;
        if self.all.iter().any(|(output, _)| compression(output)) && !packs {
            app.note(
                "layers are compressed when the image is packed, and this build does not: \
                 `shiplap push --compression` and --push do",
            );
        }
    }

    /// Whether the image's layers must be here: for all but pushing, and keeping it for later.
    pub fn need_layers(&self) -> bool {
        let packed = |output: &Output| match output.to {
            To::Cache => false,
            To::Store => self.metadata.is_some() || self.wanted.anything(),
            To::Registry { .. } => output.force_compression,
            To::Engine | To::Files(_) | To::File(..) => true,
        };
        let noted = |packing: &Packing| !packing.annotations.is_empty() || packing.changes_layers();
        self.all.iter().any(|(output, packing)| packed(output) || noted(packing))
    }

    /// Whether one of them takes standard output.
    pub fn use_stdout(&self) -> bool {
        self.all.iter().any(|(output, _)| output.is_stdout())
    }

    /// Takes the image where it is to go. Says what an engine was given, where one was.
    ///
    /// With a remote, layers need not be here to be pushed. What is written about the image is read of files that come one by one then.
    pub async fn write(
        &self,
        app: &App,
        images: &Images,
        remote: Option<&Arc<Remote>>,
        built: &Built,
        recipe: &Recipe,
    ) -> Result<Option<HandedOver>> {
        let (mut last, mut handed) = (None, None);
        for (output, packing) in &self.all {
            match &output.to {
                To::Cache => {}
                To::Store if self.metadata.is_some() || self.wanted.anything() => {
                    let packed = packing.pack(app, images, &built.image)?;
                    self.attach(images, None, built, recipe, &packed)?;
                    last = Some(packed);
                }
                To::Store => {}
                To::Engine => {
                    if let Some(engine) = &self.engine {
                        let clamp = packing.options.clamp;
                        handed = Some(load::hand_over(app, engine, images, &built.image, &self.names, clamp).await?);
                    }
                }
                To::Registry { by_digest } => {
                    let packing = packing.clone().with_layers_elsewhere(remote.is_some());
                    let packed = packing.pack(app, images, &built.image)?;
                    let away = match remote.filter(|_| self.wanted.sbom) {
                        Some(remote) => Away::of(images, remote, &built.image, true).await?,
                        None => None,
                    };
                    let contents = match away {
                        Some(away) => Some(away.packages().await?),
                        None => None,
                    };
                    self.attach(images, contents.as_ref(), built, recipe, &packed)?;
                    self.push(app, images, remote.map(Arc::as_ref), &packed, *by_digest).await?;
                    last = Some(packed);
                }
                To::Files(folder) => export_folder(images.store(), &built.image, packing.options.clamp, folder)?,
                To::File(format, dest) => {
                    let names = &self.pushed;
                    last = export::write(app, images, &built.image, names, *format, packing, dest)?.or(last);
                }
            }
        }
        if let Some(path) = &self.metadata {
            metadata::write(path, last.as_ref(), &self.pushed)?;
        }
        Ok(handed)
    }

    async fn push(
        &self,
        app: &App,
        images: &Images,
        remote: Option<&Remote>,
        packed: &Packed,
        by_digest: bool,
    ) -> Result<()> {
        let client = app.client();
        let digest = packed.manifest.digest;
        for name in &self.pushed {
            let name = if by_digest { name.repository().with_digest(digest) } else { name.clone() };
            match remote {
                Some(_) => drop(client.push_from(images, remote, &digest, &name).await?),
                None => drop(exchange::push_whole(&client, images, &digest, &name).await?),
            }
            let tell = |text: &str| app.note(text);
            exchange::push_attached(&client, images, name.repository(), &digest, &tell).await?;
        }
        Ok(())
    }
}

fn reference(name: &str, by_digest: bool) -> Result<Reference> {
    let name: Reference = name.parse()?;
    // A tag that nobody wrote is `latest`.
    if by_digest && name.tag().is_some_and(|tag| tag != "latest") {
        let why = format!("{}: push-by-digest makes no tag", name.familiar());
        return Err(Failure::new(Kind::Usage, why).hint("give the name without its tag, or leave out push-by-digest"));
    }
    Ok(name)
}

fn check_places(app: &App, given: &[Output]) -> Result<()> {
    let wrong = |why: String| Failure::new(Kind::Usage, format!("--output: {why}"));
    match given.iter().filter(|output| output.is_stdout()).count() {
        0 => {}
        1 if app.global.json => {
            return Err(wrong("standard output is for the image or for --json, not for both".into())
                .hint("dest=FILE writes to a file"));
        }
        1 if std::io::stdout().is_terminal() => {
            return Err(wrong("an image is not for a terminal".into()).hint("dest=FILE, or `> FILE`"));
        }
        1 => {}
        _ => return Err(wrong("only one can go to standard output".into())),
    }
    for output in given {
        match &output.to {
            To::Files(folder) if folder.exists() && !folder.is_dir() => {
                return Err(wrong(format!("{} is a file, and files go into a folder", folder.display())));
            }
            To::File(_, dest) => check_folder(dest)?,
            _ => {}
        }
    }
    Ok(())
}

/// An error where no file can be made.
fn check_folder(dest: &Path) -> Result<()> {
    match dest.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(Failure::new(Kind::Missing, format!("there is no folder {} to write to", folder.display())))
        }
        _ => Ok(()),
    }
}
