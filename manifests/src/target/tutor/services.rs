//! Which Compose services of a Tutor project run which image, as Tutor rendered them.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::names::{ImageName, Repository};
use crate::target::file::At;
use crate::target::{TargetError, yaml};

/// The services of `tutor local` that run an image of Tutor and its own plugins, where a project has them.
const KNOWN: [(&str, &str); 10] = [
    ("lms", "openedx"),
    ("cms", "openedx"),
    ("lms-worker", "openedx"),
    ("cms-worker", "openedx"),
    ("mfe", "mfe"),
    ("notes", "notes"),
    ("discovery", "discovery"),
    ("credentials", "credentials"),
    ("ecommerce", "ecommerce"),
    ("xqueue", "xqueue"),
];

/// The services of a project, by the way that Tutor starts them.
#[derive(Debug, Default)]
pub(super) struct Services {
    /// Of `tutor local start`.
    pub local: BTreeMap<String, ImageName>,
    /// Of `tutor local do`: `docker compose run lms-job`.
    pub jobs: BTreeMap<String, ImageName>,
    /// What `tutor dev do` runs for the same jobs.
    pub dev_jobs: BTreeMap<String, String>,
}

impl Services {
    /// Reads what Tutor rendered below `env`.
    ///
    /// A service runs an image when `told` says so, when it is a known one, when its image is in the repository of one (what was deployed, or what
    /// Tutor's default is where `shiplap.toml` took it over), or when it shares its image with a known one. None of this
    /// changes by a deploy, so what is read back is what was planned.
    pub(super) fn read(
        env: &Path,
        images: &BTreeMap<ImageName, Repository>,
        told: &BTreeMap<String, ImageName>,
    ) -> Result<Self, TargetError> {
        let mut local = rendered(&env.join("local/docker-compose.yml"))?;
        local.extend(rendered(&env.join("local/docker-compose.prod.yml"))?);
        let jobs = rendered(&env.join("local/docker-compose.jobs.yml"))?;
        if let Some(service) = told.keys().find(|name| !local.contains_key(*name) && !jobs.contains_key(*name)) {
            let root = env.parent().map(PathBuf::from).unwrap_or_default();
            return Err(TargetError::UnknownService { service: service.clone(), root });
        }
        let known = |service: &str| {
            let (_, image) = KNOWN.iter().find(|(name, _)| *name == service)?;
            images.keys().find(|name| name.as_str() == *image)
        };
        // What the known services run, whoever else runs it.
        let shared: BTreeMap<&str, &ImageName> = local
            .iter()
            .filter_map(|(service, image)| Some((image.as_deref()?, told.get(service).or_else(|| known(service))?)))
            .collect();
        let runs = |service: &String, image: &Option<String>| {
            let by_image = || {
                let image = image.as_deref()?;
                let of = |(_, repository): &(&ImageName, &Repository)| repository.as_str() == repository_of(image);
                images.iter().find(of).map(|(name, _)| name).or_else(|| shared.get(image).copied())
            };
            told.get(service).or_else(|| known(service)).or_else(by_image).cloned()
        };
        let of = |services: &BTreeMap<String, Option<String>>| -> BTreeMap<String, ImageName> {
            services.iter().filter_map(|(name, image)| Some((name.clone(), runs(name, image)?))).collect()
        };
        let (local, jobs) = (of(&local), of(&jobs));
        let dev_jobs = rendered(&env.join("dev/docker-compose.jobs.yml"))?;
        let dev_jobs = dev_jobs.into_iter().filter(|(name, _)| jobs.contains_key(name));
        let dev_jobs = dev_jobs.filter_map(|(name, image)| Some((name, image?))).collect();
        Ok(Self { local, jobs, dev_jobs })
    }
}

/// The services and jobs of `tutor local` that run just this image, in the project with that root.
///
/// # Errors
/// A file that Tutor rendered cannot be read.
pub fn services_that_run(root: &Path, image: &str) -> Result<Vec<String>, TargetError> {
    let mut found = Vec::new();
    for file in ["docker-compose.yml", "docker-compose.prod.yml", "docker-compose.jobs.yml"] {
        let services = rendered(&root.join("env/local").join(file))?;
        found.extend(services.into_iter().filter(|(_, found)| found.as_deref() == Some(image)).map(|(name, _)| name));
    }
    Ok(found)
}

/// The repository of an image's name: what is before tag and digest.
fn repository_of(image: &str) -> &str {
    let name = image.split('@').next().unwrap_or_default();
    match name.rsplit_once(':') {
        // A colon before a slash is a port's.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

/// The services of a Compose file and the image that each names. None where there is no such file.
fn rendered(path: &Path) -> Result<BTreeMap<String, Option<String>>, TargetError> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.at("read", path)?,
    };
    let Some(serde_json::Value::Object(services)) = yaml::parse(path, &text)?.remove("services") else {
        return Ok(BTreeMap::new());
    };
    let image = |settings: &serde_json::Value| settings.get("image")?.as_str().map(str::to_owned);
    Ok(services.into_iter().map(|(name, settings)| (name, image(&settings))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(told: &[(&str, &str)]) -> Result<Services, TargetError> {
        let dir = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write(
            "local/docker-compose.yml",
            "services:\n  lms: {image: docker.io/overhangio/openedx:22}\n  beat: {image: docker.io/overhangio/openedx:22}\n  mysql: {image: mysql:8}\n  shop: {image: \"host:5000/shop:1\"}\n",
        );
        write("local/docker-compose.prod.yml", "services:\n  lms-worker: {image: docker.io/overhangio/openedx:22}\n");
        write(
            "local/docker-compose.jobs.yml",
            "services:\n  lms-job: {image: docker.io/overhangio/openedx:22}\n  shop-job: {image: \"host:5000/shop:1\"}\n  mysql-job: {image: mysql:8}\n",
        );
        write(
            "dev/docker-compose.jobs.yml",
            "x-job: &job\n  image: openedx-dev:22\nservices:\n  lms-job:\n    <<: *job\n    environment: {A: b}\n  other-job: {image: x}\n",
        );
        let images = [("openedx", "campus/openedx"), ("shop", "host:5000/shop")];
        let images = images.map(|(name, repository)| (name.parse().unwrap(), repository.parse().unwrap()));
        let told = told.iter().map(|(service, image)| ((*service).to_owned(), image.parse().unwrap())).collect();
        Services::read(dir.path(), &BTreeMap::from(images), &told)
    }

    fn words(services: &BTreeMap<String, ImageName>) -> Vec<String> {
        services.iter().map(|(service, image)| format!("{service}={image}")).collect()
    }

    #[test]
    fn who_runs_an_image_is_read_from_what_tutor_rendered() {
        let services = read(&[]).unwrap();
        assert_eq!(words(&services.local), ["beat=openedx", "lms=openedx", "lms-worker=openedx", "shop=shop"]);
        assert_eq!(words(&services.jobs), ["lms-job=openedx", "shop-job=shop"]);
        // Merge keys count; jobs that are not ours do not.
        assert_eq!(services.dev_jobs, BTreeMap::from([("lms-job".to_owned(), "openedx-dev:22".to_owned())]));
    }

    #[test]
    fn what_the_settings_say_comes_first_and_must_be_there() {
        let services = read(&[("mysql-job", "shop"), ("beat", "shop")]).unwrap();
        assert!(words(&services.local).contains(&"beat=shop".to_owned()));
        assert!(words(&services.jobs).contains(&"mysql-job=shop".to_owned()));
        assert!(matches!(read(&[("forum", "shop")]), Err(TargetError::UnknownService { .. })));
    }

    #[test]
    fn a_port_is_no_tag() {
        for (image, repository) in [("a/b:1@sha256:00", "a/b"), ("host:5000/a", "host:5000/a"), ("a", "a")] {
            assert_eq!(repository_of(image), repository);
        }
    }
}
