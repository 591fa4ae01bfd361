//! `shiplap init`

mod found;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::json;
use shiplap_manifests::config::FILE_NAME;

use crate::cli::Global;
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::tutor::{self, Tutor};
use found::{Found, Project};

/// Write a commented shiplap.toml for the Tutor project or the Dockerfiles found here
///
/// The installed Tutor is asked which images it builds, from what and with which arguments, so its plugins count. Without one, or with
/// --no-tutor, the folders that it rendered are looked at.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the instance [default: the name of this folder]
    instance: Option<String>,
    /// The registry and path that repositories begin with, as in ghcr.io/campus
    #[arg(long, value_name = "PREFIX")]
    repository: Option<String>,
    /// The root of the Tutor project [default: this folder if it is one, else what `tutor config printroot` says]
    #[arg(long, value_name = "DIR")]
    tutor_root: Option<PathBuf>,
    /// The program `tutor` [default: the one in PATH]
    #[arg(long, value_name = "FILE", conflicts_with = "no_tutor")]
    tutor: Option<PathBuf>,
    /// Do not run Tutor
    #[arg(long)]
    no_tutor: bool,
    /// Print it instead of writing it
    #[arg(long, visible_alias = "print")]
    stdout: bool,
}

pub fn run(global: &Global, args: &Args) -> Result<ExitCode> {
    let here = std::env::current_dir()
        .map_err(|e| Failure::new(Kind::Failed, format!("cannot tell the current folder: {e}")))?;
    let name =
        args.instance.clone().unwrap_or_else(|| found::tidy(&here.file_name().unwrap_or_default().to_string_lossy()));
    let tutor = if args.no_tutor { None } else { Tutor::find(args.tutor.as_deref())? };
    let found = match tutor_root(&here, args, tutor.as_ref())? {
        Some(root) => Found::Tutor(Project::read(&root, tutor.as_ref())?),
        None => Found::Dockerfiles(found::dockerfiles(&here)),
    };
    if found.is_empty() {
        let hint = "run `tutor config save` first, or begin in a folder that has a Dockerfile or folders with one; --tutor-root names a Tutor project";
        return Err(
            Failure::new(Kind::Missing, "there is neither a rendered Tutor project nor a Dockerfile here").hint(hint)
        );
    }
    let text = text::write(&name, args.repository.as_deref(), &found, &here);
    // What is written must be what the other commands read.
    let config = shiplap_manifests::Config::parse(Path::new(FILE_NAME), &text)?;
    let images: Vec<_> = config.instances.values().flat_map(|instance| instance.image.keys()).collect();
    if args.stdout && !global.json {
        output::line(text.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let path = here.join(FILE_NAME);
    if !args.stdout {
        write(&here, &path, &text)?;
    }
    if global.json {
        let tutor = match &found {
            Found::Tutor(project) => json!({ "root": project.root, "answer": project.answer }),
            Found::Dockerfiles(_) => serde_json::Value::Null,
        };
        let file = if args.stdout { None } else { Some(&path) };
        output::json(&json!({ "instance": name, "file": file, "images": images, "text": text, "tutor": tutor }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let names: Vec<_> = images.iter().map(|name| name.as_str()).collect();
    output::line(&format!("wrote {FILE_NAME} with the instance `{name}`: {}", names.join(", ")));
    if let Found::Tutor(Project { answer: None, .. }) = &found {
        output::line(
            "Tutor was not asked: build arguments, mounts and images of plugins that nothing was rendered for are not in it. --tutor names the program",
        );
    }
    output::line(&format!("next: shiplap build {name}"));
    Ok(ExitCode::SUCCESS)
}

fn write(here: &Path, path: &Path, text: &str) -> Result<()> {
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    let mut file = shiplap_cache::durable::DurableFile::new_in(here).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    if file.for_people().and_then(|file| file.persist_new(path)).map_err(failed)? {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, format!("{} is there already", path.display()))
        .hint("--print shows what would be written"))
}

/// The root of a rendered project, if there is one. One that was named must be.
fn tutor_root(here: &Path, args: &Args, tutor: Option<&Tutor>) -> Result<Option<PathBuf>> {
    let is_project = |root: &Path| root.join("config.yml").is_file() && root.join("env/build").is_dir();
    if let Some(root) = &args.tutor_root {
        let root = here.join(root);
        if is_project(&root) {
            return Ok(Some(root));
        }
        let why = format!("{} is no rendered Tutor project: config.yml or env/build is missing", root.display());
        let hint = format!("run `tutor --root {} config save` first", root.display());
        return Err(Failure::new(Kind::Missing, why).hint(hint));
    }
    if is_project(here) {
        return Ok(Some(here.to_owned()));
    }
    // Dockerfiles here are nearer than a project somewhere else, unless somebody says where it is.
    let root = tutor::root(None, tutor).filter(|root| is_project(root));
    let said = std::env::var_os("TUTOR_ROOT").is_some() || found::dockerfiles(here).is_empty();
    Ok(root.filter(|_| said))
}
