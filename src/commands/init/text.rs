//! The text of the `shiplap.toml` that `init` writes.

use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use shiplap_manifests::target::known_key;

use super::found::{Found, Project};
use crate::tutor::answer::Image;

const END: &str = "\n# [build]\n# compression = \"gzip\"      # for engines before Docker 23\n# [release]\n# push = false               # default: push where the repository names a registry\n# [gc]                       # see `shiplap gc --help`\n# max-used-space = \"50GB\"\n# unused-for = \"30d\"\n";

/// Writes the file for an instance of that name, to stand in `here`.
pub fn write(name: &str, prefix: Option<&str>, found: &Found, here: &Path) -> String {
    let mut out = "# Shiplap: which images this site has, and where it is told of a release.\n\
                   # Paths are relative to this file. No secret belongs in it.\n"
        .to_owned();
    if let Found::Tutor(project) = found {
        about(&mut out, project);
    }
    line(&mut out, &format!("\n[instance.{name}]"));
    if let Found::Tutor(project) = found {
        line(&mut out, &format!("tutor-root = {}", place(&project.root, here)));
    }
    let mut mentioned = Vec::new();
    for image in found.images() {
        let text = section(name, prefix, image, found, here);
        match (image.is_aside(), image.name.as_str()) {
            (false, _) => out.push_str(&text),
            // It may be wanted: its text is there to take.
            (true, "openedx-dev" | "permissions") => {
                let lines = text.trim_start().lines().filter(|line| !line.starts_with('#'));
                out.push('\n');
                out.extend(lines.map(|line| format!("# {line}\n")));
            }
            (true, other) => mentioned.push(other),
        }
    }
    if !mentioned.is_empty() {
        line(&mut out, &format!("\n# Tutor builds these for `tutor dev` alone: {}.", mentioned.join(", ")));
    }
    match found {
        Found::Tutor(project) => tutor_target(&mut out, name, project),
        Found::Dockerfiles(images) => {
            let services: Vec<String> = images.iter().map(|image| format!("{0} = \"{0}\"", image.name)).collect();
            line(
                &mut out,
                "\n# `shiplap deploy` writes the release's images into this file, beside docker-compose.yml",
            );
            line(&mut out, &format!("[[instance.{name}.deploy]]\nkind = \"compose\""));
            line(
                &mut out,
                &format!("file = \"docker-compose.override.yml\"\nservices = {{ {} }}", services.join(", ")),
            );
        }
    }
    out + END
}

fn about(out: &mut String, project: &Project) {
    let Some(answer) = &project.answer else {
        return line(out, "# Tutor was not asked: build arguments and mounts are missing here.");
    };
    let plugin = |(name, version): (&String, &Option<String>)| match version {
        Some(version) => format!("{name} {version}"),
        None => name.clone(),
    };
    let plugins: Vec<_> = answer.plugins.iter().map(plugin).collect();
    let with = if plugins.is_empty() { "no plugin".to_owned() } else { plugins.join(", ") };
    line(
        out,
        &format!(
            "# As Tutor {} said it, with {with}. After an upgrade `shiplap init --print` says what changed.",
            answer.version
        ),
    );
}

fn section(name: &str, prefix: Option<&str>, image: &Image, found: &Found, here: &Path) -> String {
    let mut out = format!("\n[instance.{name}.image.{}]\ncontext = {}\n", image.name, place(&image.context, here));
    let own = format!("{}/{}", prefix.unwrap_or(name), image.name);
    let tutors = image.repository();
    match prefix {
        None if image.own => line(&mut out, &format!("repository = {}", quote(tutors))),
        None if !tutors.is_empty() => {
            line(
                &mut out,
                &format!("# Tutor's own name is {tutors}, which is not yours to push to: name your registry here"),
            );
            line(&mut out, &format!("repository = {}", quote(&own)));
        }
        _ => line(&mut out, &format!("repository = {}", quote(&own))),
    }
    let target = image.target().map(|target| format!("target = {}", quote(target)));
    let example = "# target = \"production\"                 # the stage to build; the last one if left out";
    line(&mut out, target.as_deref().unwrap_or(example));
    table(
        &mut out,
        "build-args",
        image.build_args().into_iter().map(|(k, v)| (k.to_owned(), quote(v))),
        "NAME = \"value\"",
    );
    let answer = match found {
        Found::Tutor(project) => project.answer.as_ref(),
        Found::Dockerfiles(_) => None,
    };
    let mounts = answer.into_iter().flat_map(|answer| &answer.mounts).flat_map(|mount| {
        let used = mount.contexts.iter().filter(|context| context.image == image.name);
        used.map(|context| (context.context.clone(), place(&mount.path, here)))
    });
    table(&mut out, "build-contexts", mounts, "edx-platform = \"../edx-platform\"");
    line(&mut out, "# secrets = { token = { env = \"TOKEN\" } }");
    for other in image.others() {
        line(&mut out, &format!("# Tutor builds it with {other} too, which has no place here"));
    }
    if image.hidden > 0 {
        line(&mut out, &format!("# {} of Tutor's flags hold a secret and are left out: use `secrets`", image.hidden));
    }
    out
}

fn table(out: &mut String, key: &str, pairs: impl Iterator<Item = (String, String)>, example: &str) {
    let pairs: Vec<_> = pairs.map(|(name, value)| format!("{} = {value}", bare(&name))).collect();
    if pairs.is_empty() {
        line(out, &format!("# {key} = {{ {example} }}"));
    } else {
        line(out, &format!("{key} = {{ {} }}", pairs.join(", ")));
    }
}

fn tutor_target(out: &mut String, name: &str, project: &Project) {
    line(out, "\n# `shiplap deploy` writes the release's tags into Tutor's config.yml and its digests beside it");
    line(out, &format!("[[instance.{name}.deploy]]\nkind = \"tutor\""));
    let images = project.images.iter().filter(|image| !image.is_aside());
    let unknown = images.filter(|image| known_key(&image.name).is_none());
    let (named, unnamed): (Vec<_>, Vec<_>) = unknown.partition(|image| image.key.is_some());
    if !named.is_empty() {
        let pair =
            |image: &&Image| format!("{} = {}", bare(&image.name), quote(image.key.as_deref().unwrap_or_default()));
        let pairs: Vec<_> = named.iter().map(pair).collect();
        line(out, &format!("images = {{ {} }}", pairs.join(", ")));
    }
    if !project.services.is_empty() {
        let pairs: Vec<_> =
            project.services.iter().map(|(service, image)| format!("{} = {}", bare(service), quote(image))).collect();
        line(out, &format!("services = {{ {} }}", pairs.join(", ")));
    }
    for image in unnamed {
        line(
            out,
            &format!(
                "# say which key of config.yml holds the image of {0}: images = {{ {0} = \"..._DOCKER_IMAGE\" }}",
                image.name
            ),
        );
    }
    if let Some(answer) = &project.answer {
        for mount in answer.mounts.iter().filter(|mount| mount.contexts.is_empty()) {
            let mount = mount.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            line(out, &format!("# The mount {mount} is part of no image: Tutor mounts it when it runs"));
        }
    }
}

fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{text}");
}

/// A path as it stands in the file: relative to its folder, unless both have nothing in common.
fn place(path: &Path, here: &Path) -> String {
    quote(&relative(path, here).unwrap_or_else(|| path.to_owned()).display().to_string())
}

fn relative(path: &Path, here: &Path) -> Option<PathBuf> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let (path, here) = (real(path), real(here));
    let common = path.components().zip(here.components()).take_while(|(a, b)| a == b).count();
    // The root alone is nothing in common.
    if common < 2 {
        return None;
    }
    let up = here.components().skip(common).map(|_| Component::ParentDir);
    let relative: PathBuf = up.chain(path.components().skip(common)).collect();
    Some(if relative.as_os_str().is_empty() { PathBuf::from(".") } else { relative })
}

/// A key as TOML has it.
fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    if plain { key.to_owned() } else { quote(key) }
}

fn quote(text: &str) -> String {
    // JSON's strings are TOML's basic strings, as far as names and paths go.
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_relative_where_that_says_less_of_the_machine() {
        let relative =
            |path: &str, here: &str| relative(Path::new(path), Path::new(here)).map(|p| p.display().to_string());
        assert_eq!(relative("/nowhere/site/tutor", "/nowhere/site").as_deref(), Some("tutor"));
        assert_eq!(relative("/nowhere/site", "/nowhere/site").as_deref(), Some("."));
        assert_eq!(relative("/nowhere/tutor/env", "/nowhere/site/x").as_deref(), Some("../../tutor/env"));
        assert_eq!(relative("/elsewhere/tutor", "/nowhere/site"), None);
    }
}
