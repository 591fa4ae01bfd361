//! `shiplap tutor`

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::cli::Global;
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::tutor::plugin::{Found, NAME, Plugin};
use crate::tutor::{self, Tutor};

/// Put Shiplap under Tutor: a plugin of one Python file
///
/// With it `tutor images build` builds with Shiplap, and `tutor k8s` runs the digests that `shiplap deploy` wrote.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Write the plugin into Tutor's folder of plugins
    Install {
        #[command(flatten)]
        place: Place,
        /// Enable it in the project too: `tutor plugins enable shiplap`
        #[arg(long)]
        enable: bool,
        /// Replace a file that was edited, or that somebody else wrote
        #[arg(long)]
        force: bool,
    },
    /// Disable the plugin in the project and take it out of Tutor's folder of plugins
    Uninstall {
        #[command(flatten)]
        place: Place,
        /// Remove a file that was edited, or that somebody else wrote
        #[arg(long)]
        force: bool,
    },
    /// Say whether the plugin is installed and enabled
    Status {
        #[command(flatten)]
        place: Place,
    },
}

/// Which Tutor.
#[derive(Debug, clap::Args)]
struct Place {
    /// The root of the Tutor project [default: what `tutor config printroot` says]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Tutor's folder of plugins [default: what `tutor plugins printroot` says]
    #[arg(long, value_name = "DIR", env = "TUTOR_PLUGINS_ROOT")]
    plugins_root: Option<PathBuf>,
    /// The program `tutor` [default: the one in PATH]
    #[arg(long, value_name = "FILE")]
    tutor: Option<PathBuf>,
}

/// What was found.
struct Here {
    tutor: Option<Tutor>,
    root: Option<PathBuf>,
    plugin: Plugin,
}

impl Place {
    fn look(&self) -> Result<Here> {
        let tutor = Tutor::find(self.tutor.as_deref())?;
        let folder = match (&self.plugins_root, &tutor) {
            (Some(folder), _) => folder.clone(),
            (None, Some(tutor)) => tutor.plugins_root()?,
            (None, None) => {
                return Err(Failure::new(Kind::Missing, "there is no program `tutor` in PATH").hint(
                    "--tutor names it, as in --tutor venv/bin/tutor; --plugins-root does without it and names its folder of plugins",
                ));
            }
        };
        Ok(Here { root: tutor::root(self.root.as_deref(), tutor.as_ref()), tutor, plugin: Plugin::look(&folder)? })
    }
}

impl Here {
    /// Whether the project enables the plugin; unknown without a project.
    fn is_enabled(&self) -> Option<bool> {
        let text = std::fs::read_to_string(self.root.as_ref()?.join("config.yml")).ok()?;
        Some(shiplap_manifests::target::enables_plugin(&text, NAME))
    }

    /// `tutor plugins enable` or `disable`.
    fn switch(&self, word: &str) -> Result<()> {
        let tutor = self.tutor.as_ref().ok_or_else(|| {
            Failure::new(Kind::Missing, format!("there is no program `tutor` to {word} the plugin with"))
                .hint(format!("--tutor names it; or run `tutor plugins {word} {NAME}` where it is"))
        })?;
        let folder = self.plugin.path.parent().map(PathBuf::from).unwrap_or_default();
        let root = self.root.iter().flat_map(|root| ["--root".into(), root.clone().into_os_string()]);
        let words = root.chain(["plugins", word, NAME].map(Into::into));
        tutor.run_with_plugins(&folder, words)?;
        Ok(())
    }
}

pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let (here, done) = match &args.what {
        What::Install { place, enable, force } => {
            let here = place.look()?;
            let written = here.plugin.write(*force)?;
            if *enable && here.is_enabled() != Some(true) {
                here.switch("enable")?;
            }
            (place.look()?, if written { "installed" } else { "installed already" })
        }
        What::Uninstall { place, force } => {
            let here = place.look()?;
            // Tutor can only disable what it can load, so this comes first; and nothing is disabled that then stays.
            here.plugin.may_remove(*force)?;
            if here.is_enabled() == Some(true) {
                here.switch("disable")?;
            }
            let removed = here.plugin.remove(*force)?;
            (place.look()?, if removed { "removed" } else { "not there" })
        }
        What::Status { place } => (place.look()?, ""),
    };
    show(global, &here, done)
}

fn show(global: &Global, here: &Here, done: &str) -> Result<ExitCode> {
    let path = here.plugin.path.display().to_string();
    let enabled = here.is_enabled();
    if global.json {
        let installed = matches!(here.plugin.found, Found::Current | Found::Version(_) | Found::Edited);
        output::json(&json!({
            "plugin": path, "installed": installed, "current": here.plugin.found == Found::Current,
            "state": here.plugin.found.words(), "enabled": enabled, "root": here.root,
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let said = here.plugin.found.words();
    output::line(&format!("{path}: {}", if done.is_empty() { &said } else { done }));
    let installed = here.plugin.found != Found::Nothing;
    if let Some(root) = &here.root {
        let root = root.display();
        match enabled {
            Some(true) if installed => output::line(&format!("enabled in {root}")),
            Some(true) => output::line(&format!("{root} enables it, and it is not there")),
            Some(false) if installed => {
                output::line(&format!("next: tutor --root {root} plugins enable {NAME}"));
            }
            None if installed => output::line(&format!("{root} has no config.yml: run `tutor config save` first")),
            _ => {}
        }
    }
    Ok(ExitCode::SUCCESS)
}
