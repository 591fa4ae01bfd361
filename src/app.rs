//! What commands share: the store, the configuration, the way out of a signal.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use shiplap_builder::build::{Builder, Together};
use shiplap_builder::sandbox::{self, Cancel, Sandbox};
use shiplap_cache::Store;
use shiplap_manifests::{Config, History};
use shiplap_registry::remote::{Remote, TierUse};
use shiplap_registry::{Client, Images, NoProgress};

use crate::cli::{Cli, Command, Global};
use crate::commands;
use crate::failure::{Failure, Kind, Result};
use crate::plugin::Docker;
use crate::progress::Progress;
use crate::tiers::{self, CacheFlags};
use crate::worker;

/// How long a command may take to end after a signal.
const PATIENCE: Duration = Duration::from_secs(5);

/// The surroundings of a command.
pub struct App {
    pub global: Global,
    /// Whether what is said on standard error is for people.
    pub has_words: bool,
    pub progress: Arc<Progress>,
    pub cancel: Cancel,
    /// What builds side by side share.
    together: Together,
    /// The tiers that the command line or the configuration names, once it is known which.
    tiers: OnceLock<Vec<TierUse>>,
    /// Whether layers that only a tier has come whole.
    whole_layers: OnceLock<bool>,
    remote: OnceLock<Option<Arc<Remote>>>,
    /// True from the first signal on, for what waits for it among other things.
    told: tokio::sync::watch::Receiver<bool>,
}

/// Carries the command out.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Completions(args) => return commands::completions::run(args),
        Command::Doctor(args) => return commands::doctor::run(&cli.global, args),
        // Tutor asks who runs it, and in a user namespace that would be root.
        Command::Init(args) => return commands::init::run(&cli.global, args),
        Command::Tutor(args) => return commands::tutor::run(&cli.global, args),
        _ => {}
    }
    let kind = cli.progress()?;
    // What is built elsewhere needs no namespace here.
    if let Command::Build(args) = &cli.command
        && args.engine().is_some()
    {
        return worker::client::run(&cli.global, args, &cli.global.words, kind);
    }
    // Without root, everything from here on happens in a user namespace in which we are root.
    sandbox::enter_user_namespace()?;
    let progress = Arc::new(Progress::new(kind));
    let cancel = Cancel::new().map_err(|e| Failure::new(Kind::Failed, format!("cannot prepare for Ctrl-C: {e}")))?;
    let (tell, told) = tokio::sync::watch::channel(false);
    let app = App {
        global: cli.global,
        has_words: kind.has_words(),
        progress,
        cancel,
        together: Together::default(),
        tiers: OnceLock::new(),
        whole_layers: OnceLock::new(),
        remote: OnceLock::new(),
        told,
    };
    // A server has running requests to end, and bounds that itself.
    let patience = if matches!(cli.command, Command::Serve(_)) { None } else { Some(PATIENCE) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Failure::new(Kind::Failed, format!("cannot start threads: {e}")))?;
    let result = runtime.block_on(async {
        let (signal, docker) = (app.cancel.clone(), app.global.docker.clone());
        tokio::spawn(async move {
            let told = tokio::select! {
                told = interrupted() => told.is_ok(),
                () = gone(docker.as_ref()) => true,
            };
            if told {
                signal.cancel();
                let _ = tell.send(true);
                // A build stops at once and tidies up. What does not look out for signals has a moment to come to its end, and is
                // then left as after a power cut, which everything here survives; a second Ctrl-C does not wait for anybody.
                match patience {
                    Some(patience) => drop(tokio::time::timeout(patience, interrupted()).await),
                    None => drop(interrupted().await),
                }
                eprintln!("cancelled");
                std::process::exit(Kind::Cancelled as i32);
            }
        });
        app.command(&cli.command).await
    });
    app.progress.finish();
    result
}

/// Ctrl-C, or what a service manager or a CI server sends.
async fn interrupted() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        pressed = tokio::signal::ctrl_c() => pressed,
        _ = terminate.recv() => Ok(()),
    }
}

/// Whoever runs this as a plugin has ended.
async fn gone(docker: Option<&Docker>) {
    match docker {
        Some(docker) => docker.gone().await,
        None => std::future::pending().await,
    }
}

impl App {
    async fn command(&self, command: &Command) -> Result<ExitCode> {
        match command {
            Command::Build(args) => commands::build::run(self, args).await,
            Command::Plan(args) => commands::plan::run(self, args).await,
            Command::Why(args) => commands::why::run(self, args).await,
            Command::Verify(args) => commands::verify::run(self, args).await,
            Command::Gc(args) => commands::gc::run(self, args),
            Command::Release(args) => commands::release::run(self, args).await,
            Command::VerifySignature(args) => commands::verify_signature::run(self, args).await,
            Command::Sign(args) => commands::sign::run(self, args).await,
            Command::Key(args) => commands::key::run(self, args),
            Command::Inspect(args) => commands::inspect::run(self, args),
            Command::Diff(args) => commands::diff::run(self, args),
            Command::Sbom(args) => commands::sbom::run(self, args),
            Command::Referrers(args) => commands::referrers::run(self, args).await,
            Command::Releases(args) => commands::releases::run(self, args),
            Command::Deploy(args) => commands::deploy::run(self, args),
            Command::Rollback(args) => commands::rollback::run(self, args),
            Command::Status(args) => commands::status::run(self, args),
            Command::Log(args) => commands::log::run(self, args),
            Command::Tags(args) => commands::tags::run(self, args).await,
            Command::Images(args) => commands::images::run(self, args),
            Command::Import(args) => commands::import::run(self, args),
            Command::Export(args) => commands::export::run(self, args).await,
            Command::Load(args) => commands::load::run(self, args).await,
            Command::Rmi(args) => commands::rmi::run(self, args),
            Command::Push(args) => commands::push::run(self, args).await,
            Command::Pull(args) => commands::pull::run(self, args).await,
            Command::Serve(args) => commands::serve::run(self, args).await,
            Command::Copy(args) => commands::copy::run(self, args).await,
            Command::Doctor(_) | Command::Completions(_) | Command::Init(_) | Command::Tutor(_) => {
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// Waits for the first signal to end.
    pub fn ending(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut told = self.told.clone();
        async move {
            // Who tells lives as long as the program.
            let _ = told.wait_for(|told| *told).await;
        }
    }

    /// Says something about a command line that people should know.
    pub fn note(&self, text: &str) {
        if self.has_words {
            eprintln!("note: {text}");
        }
    }

    /// The store's folder.
    pub fn home(&self) -> Result<PathBuf> {
        home(&self.global)
    }

    /// The images of the store.
    pub fn images(&self) -> Result<Images> {
        self.open(Store::open)
    }

    /// The images of the store, for a process that never ends.
    pub fn images_as_service(&self) -> Result<Images> {
        self.open(Store::open_as_service)
    }

    fn open(&self, open: fn(&Path) -> std::result::Result<Store, shiplap_cache::Error>) -> Result<Images> {
        let home = self.home()?;
        let store = open(&home).map_err(|error| match error {
            error @ shiplap_cache::Error::Io { .. } => {
                let failure = Failure::of(Kind::Store, &error);
                if failure.has_hint() {
                    failure
                } else {
                    failure.hint("SHIPLAP_HOME or --home names another folder for the store")
                }
            }
            error => error.into(),
        })?;
        Ok(Images::new(Arc::new(store)))
    }

    /// The releases and deployments, which are kept beside the store.
    pub fn history(&self, images: &Images) -> Result<History> {
        let mut history = History::open(images.store().home(), images.store().blobs().clone())?;
        history.set_origin(crate::origin::of_environment());
        Ok(history)
    }

    /// A client for registries, as the command line and the environment want it.
    pub fn client(&self) -> Client {
        self.global.registries.client(self.progress.clone())
    }

    /// A client for tiers: one that cannot be reached is not waited for long.
    pub fn tier_client(&self) -> Client {
        self.global.registries.impatient_client(self.progress.clone())
    }

    /// Says which tiers builds use from here on, instead of those of the configuration.
    pub fn use_cache(&self, flags: &CacheFlags) -> Result<()> {
        let tiers = flags.tiers(self, self.config()?.as_ref())?;
        self.tiers.get_or_init(|| tiers);
        self.whole_layers.get_or_init(|| flags.whole_layers());
        Ok(())
    }

    /// What the store has through tiers; none without tiers.
    pub fn remote(&self, images: &Images) -> Result<Option<Arc<Remote>>> {
        if self.tiers.get().is_none() {
            self.use_cache(&CacheFlags::from_environment())?;
        }
        let remote = self.remote.get_or_init(|| {
            let tiers = self.tiers.get().cloned().unwrap_or_default();
            let told = Arc::new(tiers::Told(self.progress.clone()));
            (!tiers.is_empty()).then(|| Arc::new(Remote::new(images.clone(), tiers, self.client(), told)))
        });
        Ok(remote.clone())
    }

    /// Whether layers that only a cache has come whole where files of them are needed.
    pub fn wants_whole_layers(&self) -> bool {
        self.whole_layers.get().copied().unwrap_or_default()
    }

    /// What moved between here and the tiers so far.
    pub fn traffic(&self) -> Option<tiers::Traffic> {
        self.remote.get()?.as_ref().map(|remote| remote.moved().into())
    }

    /// A client that would rather say soon that a registry does not answer than try for long.
    pub fn hasty_client(&self) -> Client {
        self.global.registries.hasty_client(self.progress.clone())
    }

    /// The same for what people need not know of.
    pub fn quiet_client(&self) -> Client {
        self.global.registries.hasty_client(Arc::new(NoProgress))
    }

    /// A builder over the store.
    pub fn builder(&self, images: &Images) -> Result<Arc<Builder>> {
        let client = Some(Arc::new(self.client()));
        // A build that fails ends its own steps, and not those of another that goes on beside it.
        let cancel = self.cancel.below();
        let cancel = cancel.map_err(|e| Failure::new(Kind::Failed, format!("cannot prepare for Ctrl-C: {e}")))?;
        let builder = Builder::new(images.clone(), Sandbox::this_program(), client, cancel);
        let builder = builder.with_remote(self.remote(images)?);
        let builder = builder.fetching_whole_layers(self.wants_whole_layers());
        Ok(Arc::new(builder.together(self.together.clone())))
    }

    /// The configuration, if there is one.
    pub fn config(&self) -> Result<Option<Config>> {
        match &self.global.config {
            Some(path) => Ok(Some(Config::load(path)?)),
            None => Config::find(Path::new(".")).map(|path| Ok(Config::load(&path)?)).transpose(),
        }
    }

    /// The configuration; an error with advice when there is none.
    pub fn need_config(&self) -> Result<Config> {
        self.config()?.ok_or_else(|| {
            Failure::new(Kind::Missing, "there is no shiplap.toml in this folder or one above it")
                .hint("`shiplap init` writes one; --config names another place")
        })
    }

    /// Who is doing this, for the record.
    pub fn actor(&self) -> String {
        let variables = ["SHIPLAP_ACTOR", "GITLAB_USER_LOGIN", "GITHUB_ACTOR", "SUDO_USER", "USER", "LOGNAME"];
        let user = variables.iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}@{}", user.unwrap_or_else(|| "root".to_owned()), host.trim())
    }
}

/// The store's folder: `--home`, `SHIPLAP_HOME`, or the platform's data directory.
pub fn home(global: &Global) -> Result<PathBuf> {
    global.home.clone().or_else(|| Some(dirs::data_dir()?.join("shiplap"))).ok_or_else(|| {
        Failure::new(Kind::Usage, "there is no home directory to keep the store in")
            .hint("set SHIPLAP_HOME to a folder")
    })
}
