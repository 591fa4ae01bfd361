//! What `init` finds: what Tutor says, or what lies in folders.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shiplap_manifests::target::{known_key, services_that_run};

use crate::failure::Result;
use crate::tutor::Tutor;
use crate::tutor::answer::{Answer, Image};

/// What there is to write about.
pub enum Found {
    Tutor(Project),
    Dockerfiles(Vec<Image>),
}

/// A Tutor project.
pub struct Project {
    pub root: PathBuf,
    /// What Tutor's Python said, where there is one.
    pub answer: Option<Answer>,
    /// Those that a site runs, then those that it does not.
    pub images: Vec<Image>,
    /// The services that run an image that the deploy target does not know by itself.
    pub services: BTreeMap<String, String>,
}

impl Found {
    /// All images, with those that are written as comments only.
    pub fn images(&self) -> &[Image] {
        match self {
            Self::Tutor(project) => &project.images,
            Self::Dockerfiles(images) => images,
        }
    }

    /// Whether nothing could be built.
    pub fn is_empty(&self) -> bool {
        self.images().iter().all(Image::is_aside)
    }
}

impl Project {
    /// Asks Tutor; where that cannot be done, looks at what it rendered and asks the program for the tags.
    pub fn read(root: &Path, tutor: Option<&Tutor>) -> Result<Self> {
        let answer = match tutor {
            Some(tutor) => tutor.ask(root)?,
            None => None,
        };
        let mut images = match &answer {
            Some(answer) => answer.images.clone(),
            None => rendered(root, tutor),
        };
        // What was never rendered cannot be built: `tutor config save` was not run since the plugin was enabled.
        images.retain(|image| image.context.join("Dockerfile").is_file());
        images.sort_by_key(|image| (image.is_aside(), image.name != "openedx", image.name.clone()));
        let mut services = BTreeMap::new();
        let unknown = |image: &&Image| !image.is_aside() && known_key(&image.name).is_none() && !image.tag.is_empty();
        for image in images.iter().filter(unknown) {
            // Its name changes with the first deploy, and no service would be known by it.
            let found = services_that_run(root, &image.tag).map_err(shiplap_manifests::Error::from)?;
            services.extend(found.into_iter().map(|service| (service, image.name.clone())));
        }
        Ok(Self { root: root.to_owned(), answer, images, services })
    }
}

/// The images of a rendered project, by its folders: those of Tutor itself and of its plugins.
fn rendered(root: &Path, tutor: Option<&Tutor>) -> Vec<Image> {
    let mut folders = vec![root.join("env/build")];
    let plugins = std::fs::read_dir(root.join("env/plugins")).into_iter().flatten().flatten();
    folders.extend(plugins.map(|plugin| plugin.path().join("build")));
    let mut images: Vec<Image> = folders.iter().flat_map(|folder| below(folder)).collect();
    for image in &mut images {
        image.tag = tutor.and_then(|tutor| tutor.tag(root, &image.name)).unwrap_or_default();
        image.key = known_key(&image.name).map(str::to_owned);
    }
    images
}

/// The Dockerfiles of a folder: its own, or those of the folders in it.
pub fn dockerfiles(here: &Path) -> Vec<Image> {
    if here.join("Dockerfile").is_file() {
        return vec![plain(&here.file_name().unwrap_or_default().to_string_lossy(), here.to_owned())];
    }
    let mut images = below(here);
    images.sort_by(|a, b| a.name.cmp(&b.name));
    images
}

fn below(folder: &Path) -> Vec<Image> {
    let items = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = items.filter(|item| item.path().join("Dockerfile").is_file());
    found.map(|item| plain(&item.file_name().to_string_lossy(), item.path())).collect()
}

fn plain(name: &str, context: PathBuf) -> Image {
    Image { name: tidy(name), context, tag: String::new(), key: None, own: false, args: Vec::new(), hidden: 0 }
}

/// A name as instances and images have them.
pub fn tidy(name: &str) -> String {
    let tidy: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let tidy = tidy.trim_matches('-').to_owned();
    if tidy.is_empty() { "site".to_owned() } else { tidy }
}
