//! `shiplap init`

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use shiplap_manifests::config::FILE_NAME;

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use crate::output;

/// Write a commented shiplap.toml for the Tutor project or the Dockerfiles found here
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of the instance [default: the name of this folder]
    instance: Option<String>,
    /// The registry and path that repositories begin with, as in ghcr.io/campus
    #[arg(long, value_name = "PREFIX")]
    repository: Option<String>,
    /// Print it instead of writing it
    #[arg(long)]
    stdout: bool,
}

/// A Dockerfile that was found.
struct Found {
    name: String,
    context: PathBuf,
}

pub fn run(_: &App, args: &Args) -> Result<ExitCode> {
    let here = std::env::current_dir()
        .map_err(|e| Failure::new(Kind::Failed, format!("cannot tell the current folder: {e}")))?;
    let name = args.instance.clone().unwrap_or_else(|| tidy(&here.file_name().unwrap_or_default().to_string_lossy()));
    let tutor = tutor_root(&here);
    let images = match &tutor {
        Some(root) => tutor_images(root),
        None => dockerfiles(&here),
    };
    if images.is_empty() {
        let hint = "run `tutor config save` first, or begin in a folder that has a Dockerfile or folders with one";
        return Err(
            Failure::new(Kind::Missing, "there is neither a rendered Tutor project nor a Dockerfile here").hint(hint)
        );
    }
    let prefix = args.repository.clone().unwrap_or_else(|| name.clone());
    let text = write(&name, &prefix, tutor.as_deref(), &images, &here);
    // What is written must be what the other commands read.
    shiplap_manifests::Config::parse(Path::new(FILE_NAME), &text)?;
    if args.stdout {
        output::line(text.trim_end());
        return Ok(ExitCode::SUCCESS);
    }
    let path = here.join(FILE_NAME);
    let failed = |e: std::io::Error| Failure::new(Kind::Failed, format!("cannot write {}: {e}", path.display()));
    let mut file = shiplap_cache::durable::DurableFile::new_in(&here).map_err(failed)?;
    std::io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)?;
    if !file.for_people().and_then(|file| file.persist_new(&path)).map_err(failed)? {
        return Err(Failure::new(Kind::Refused, format!("{} is there already", path.display()))
            .hint("--stdout prints what would be written"));
    }
    output::line(&format!(
        "wrote {FILE_NAME} with the instance `{name}`: {}",
        images.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(", ")
    ));
    output::line(&format!("next: shiplap build {name}"));
    Ok(ExitCode::SUCCESS)
}

/// A name as instances and images have them.
fn tidy(name: &str) -> String {
    let tidy: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let tidy = tidy.trim_matches('-').to_owned();
    if tidy.is_empty() { "site".to_owned() } else { tidy }
}

/// Tutor's own answer, else its variable, else this folder if it looks like one.
fn tutor_root(here: &Path) -> Option<PathBuf> {
    if here.join("config.yml").is_file() && here.join("env/build").is_dir() {
        return Some(here.to_owned());
    }
    let printed =
        Command::new("tutor").args(["config", "printroot"]).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let printed = printed
        .ok()
        .filter(|out| out.status.success())
        .map(|out| PathBuf::from(String::from_utf8_lossy(&out.stdout).trim()));
    let root = printed.or_else(|| std::env::var_os("TUTOR_ROOT").map(PathBuf::from))?;
    root.join("env/build").is_dir().then_some(root)
}

/// The images of a rendered Tutor project: those of Tutor itself and of its plugins.
fn tutor_images(root: &Path) -> Vec<Found> {
    let mut folders = vec![root.join("env/build")];
    let plugins = std::fs::read_dir(root.join("env/plugins")).into_iter().flatten().flatten();
    folders.extend(plugins.map(|plugin| plugin.path().join("build")));
    let mut images: Vec<Found> = folders.iter().flat_map(|folder| below(folder)).collect();
    // It sets owners of volumes and changes with Tutor alone.
    images.retain(|image| image.name != "permissions");
    images.sort_by_key(|image| (image.name != "openedx", image.name.clone()));
    images
}

fn dockerfiles(here: &Path) -> Vec<Found> {
    if here.join("Dockerfile").is_file() {
        let name = tidy(&here.file_name().unwrap_or_default().to_string_lossy());
        return vec![Found { name, context: here.to_owned() }];
    }
    let mut images = below(here);
    images.sort_by(|a, b| a.name.cmp(&b.name));
    images
}

fn below(folder: &Path) -> Vec<Found> {
    let items = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = items.filter(|item| item.path().join("Dockerfile").is_file());
    found.map(|item| Found { name: tidy(&item.file_name().to_string_lossy()), context: item.path() }).collect()
}

fn write(name: &str, prefix: &str, tutor: Option<&Path>, images: &[Found], here: &Path) -> String {
    let place = |path: &Path| {
        let relative =
            path.strip_prefix(here).ok().filter(|p| !p.as_os_str().is_empty()).map(|p| p.display().to_string());
        quote(&relative.unwrap_or_else(|| if path == here { ".".to_owned() } else { path.display().to_string() }))
    };
    let mut text = format!(
        "# Shiplap: which images this site has, and where it is told of a release.\n\
         # Paths are relative to this file. No secret belongs in it.\n\n[instance.{name}]\n"
    );
    if let Some(root) = tutor {
        text.push_str(&format!("tutor-root = {}\n", place(root)));
    }
    for image in images {
        text.push_str(&format!("\n[instance.{name}.image.{}]\ncontext = {}\n", image.name, place(&image.context)));
        text.push_str(&format!("repository = {}\n", quote(&format!("{prefix}/{}", image.name))));
        text.push_str("# target = \"production\"                 # the stage to build; the last one if left out\n");
        text.push_str("# build-args = { NAME = \"value\" }\n");
        text.push_str("# build-contexts = { edx-platform = \"../edx-platform\" }\n");
        text.push_str("# secrets = { token = { env = \"TOKEN\" } }\n");
    }
    match tutor {
        Some(_) => text.push_str("\n# `shiplap deploy` writes the release's tags into Tutor's config.yml and its digests beside it\n[[instance.NAME.deploy]]\nkind = \"tutor\"\n"),
        None => {
            let services: Vec<String> = images.iter().map(|image| format!("{0} = \"{0}\"", image.name)).collect();
            text.push_str("\n# `shiplap deploy` writes the release's images into this file, beside docker-compose.yml\n[[instance.NAME.deploy]]\nkind = \"compose\"\n");
            text.push_str(&format!("file = \"docker-compose.override.yml\"\nservices = {{ {} }}\n", services.join(", ")));
        }
    }
    text.push_str("\n# [build]\n# compression = \"gzip\"      # for engines before Docker 23\n# [release]\n# push = false               # default: push where the repository names a registry\n# [gc]                       # see `shiplap gc --help`\n# max-used-space = \"50GB\"\n# unused-for = \"30d\"\n");
    text.replace("instance.NAME.", &format!("instance.{name}."))
}

fn quote(text: &str) -> String {
    // JSON's strings are TOML's basic strings, as far as names and paths go.
    serde_json::Value::from(text).to_string()
}
