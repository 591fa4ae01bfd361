//! A site to test with: a folder with `shiplap.toml`, a Compose file, a Tutor project and a history.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use shiplap_cache::{BlobStore, Digest};
use shiplap_manifests::config::Instance;
use shiplap_manifests::git::GitState;
use shiplap_manifests::images::ImageProblem;
use shiplap_manifests::names::{InstanceName, Reference};
use shiplap_manifests::observer::{Observer, Progress};
use shiplap_manifests::release::{Migration, ReleaseImage};
use shiplap_manifests::target::{Target, of_instance};
use shiplap_manifests::{
    Built, Committed, Config, DeployReport, DeployRequest, Deployer, Error, Expect, History, ReleaseDraft,
    ReleaseRequest, RollbackReport, RollbackRequest, Status, VersionChoice,
};

pub const COMMIT: &str = "3f2c1ab09d4e5f60718293a4b5c6d7e8f9001122";

const TOML: &str = r#"
[instance.campus]
tutor-root = "tutor"

[instance.campus.image.openedx]
context = "build/openedx"
repository = "campus/openedx"

[instance.campus.image.mfe]
context = "build/mfe"
repository = "campus/mfe"

[[instance.campus.deploy]]
kind = "compose"
file = "compose.override.yml"
services = { lms = "openedx", cms = "openedx", mfe = "mfe" }

[[instance.campus.deploy]]
kind = "tutor"
"#;

const TUTOR_CONFIG: &str = "# the site's own\nDOCKER_IMAGE_OPENEDX: overhangio/openedx:22.0.3 # as it came\nMYSQL_ROOT_PASSWORD: hunter2\nPLUGINS:\n- mfe\n";

/// Every image is there and whole.
pub fn all_there(_: &Reference, _: &Digest) -> Result<(), ImageProblem> {
    Ok(())
}

/// Remembers every step.
#[derive(Default)]
pub struct Steps(pub RefCell<Vec<String>>);

impl Observer for Steps {
    fn progress(&self, step: Progress<'_>) {
        self.0.borrow_mut().push(step.to_string());
    }
}

pub struct Site {
    pub folder: PathBuf,
    pub config: Config,
    pub history: History,
    _dir: Option<tempfile::TempDir>,
}

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().canonicalize().unwrap();
        let local = folder.join("tutor/env/local");
        std::fs::create_dir_all(&local).unwrap();
        std::fs::write(folder.join("tutor/config.yml"), TUTOR_CONFIG).unwrap();
        std::fs::write(folder.join("tutor/env/version"), "22.0.3").unwrap();
        std::fs::write(local.join("docker-compose.yml"), "services:\n  lms: {}\n  cms: {}\n  mfe: {}\n").unwrap();
        std::fs::write(local.join("docker-compose.prod.yml"), "services:\n  lms-worker: {}\n").unwrap();
        let jobs = "services:\n  lms-job: {image: \"campus/openedx:0.9.0\"}\n";
        std::fs::write(local.join("docker-compose.jobs.yml"), jobs).unwrap();
        std::fs::write(folder.join("shiplap.toml"), TOML).unwrap();
        Self { _dir: Some(dir), ..Self::open(&folder) }
    }

    /// The same site, as another process sees it.
    pub fn open(folder: &Path) -> Self {
        let config = Config::load(&folder.join("shiplap.toml")).unwrap();
        Self { folder: folder.to_owned(), config, history: open_history(folder), _dir: None }
    }

    /// Reads `shiplap.toml` again.
    pub fn reload(&mut self) {
        self.config = Config::load(&self.folder.join("shiplap.toml")).unwrap();
    }

    pub fn name(&self) -> InstanceName {
        "campus".parse().unwrap()
    }

    pub fn instance(&self) -> &Instance {
        self.config.instance("campus").unwrap().1
    }

    pub fn targets(&self) -> Vec<Box<dyn Target>> {
        of_instance(&self.config, self.instance())
    }

    pub fn file(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    pub fn draft(&self, version: &str) -> Result<ReleaseDraft, Error> {
        let request =
            ReleaseRequest { version: VersionChoice::exact(version)?, allow_dirty: false, creator: "ada".to_owned() };
        self.history.prepare(&self.name(), self.instance(), &clean(), request)
    }

    pub fn release(&mut self, version: &str) -> Result<Committed, Error> {
        let draft = self.draft(version)?;
        self.history.commit(&draft, built(&draft, version), &all_there, &())
    }

    pub fn release_with_migrations(&mut self, version: &str, names: &[&str]) {
        let draft = self.draft(version).unwrap();
        let migration = |name: &&str| Migration { app: "plugin".to_owned(), name: (*name).to_owned() };
        let migrations = Some(names.iter().map(migration).collect());
        self.history.commit(&draft, Built { migrations, ..built(&draft, version) }, &all_there, &()).unwrap();
    }

    pub fn deploy(&mut self, version: &str) -> Result<DeployReport, Error> {
        self.deploy_as(request(version), &())
    }

    pub fn deploy_as(&mut self, request: DeployRequest, observer: &dyn Observer) -> Result<DeployReport, Error> {
        let (instance, targets) = (self.name(), self.targets());
        let history = &mut self.history;
        Deployer { history, instance: &instance, targets: &targets, check: &all_there, observer }.deploy(request)
    }

    pub fn rollback(&mut self, request: RollbackRequest) -> Result<RollbackReport, Error> {
        self.rollback_as(request, &all_there, &())
    }

    pub fn rollback_as(
        &mut self,
        request: RollbackRequest,
        check: &dyn shiplap_manifests::images::ImageCheck,
        observer: &dyn Observer,
    ) -> Result<RollbackReport, Error> {
        let (instance, targets) = (self.name(), self.targets());
        Deployer { history: &mut self.history, instance: &instance, targets: &targets, check, observer }
            .rollback(request)
    }

    pub fn status(&self) -> Status {
        Status::read(&self.history, &self.name(), &self.targets()).unwrap()
    }

    /// The versions that the places of all targets say, each once.
    pub fn says(&self) -> Vec<String> {
        let mut versions = Vec::new();
        for target in self.targets() {
            for says in target.read().unwrap().0.into_values() {
                let tag = says.as_deref().and_then(|says| says.split(':').nth(1)).unwrap_or("nothing");
                versions.push(tag.split('-').next().unwrap_or_default().to_owned());
            }
        }
        versions.sort();
        versions.dedup();
        versions
    }

    /// Files that a process left while it was writing.
    pub fn leftovers(&self) -> Vec<PathBuf> {
        ["", "tutor", "tutor/env/local"]
            .iter()
            .flat_map(|folder| std::fs::read_dir(self.folder.join(folder)).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.file_name().unwrap().to_string_lossy().starts_with(".tmp-"))
            .filter(|path| std::fs::metadata(path).unwrap().len() > 0)
            .collect()
    }
}

pub fn open_history(folder: &Path) -> History {
    History::open(&folder.join("store"), BlobStore::open(&folder.join("store")).unwrap()).unwrap()
}

pub fn clean() -> GitState {
    let remote = Some("https://git.example.org/campus.git".to_owned());
    GitState { commit: COMMIT.parse().unwrap(), remote, dirty: None }
}

/// All images of a draft, with digests made of `content`.
pub fn built(draft: &ReleaseDraft, content: &str) -> Built {
    let image = |name: &shiplap_manifests::names::ImageName| ReleaseImage {
        name: name.clone(),
        reference: draft.reference(name).unwrap(),
        digest: Digest::of(format!("{name} {content}").as_bytes()),
        platform: "linux/amd64".to_owned(),
        size: 1000,
    };
    Built { images: draft.images.keys().map(image).collect(), inputs: BTreeMap::new(), ..Built::default() }
}

pub fn request(version: &str) -> DeployRequest {
    DeployRequest {
        version: version.parse().unwrap(),
        actor: "ada".to_owned(),
        reason: Some("a test".to_owned()),
        expect: Expect::Whatever,
        automatic: false,
        accept_unchecked: false,
    }
}

pub fn back() -> RollbackRequest {
    RollbackRequest {
        to: None,
        actor: "grace".to_owned(),
        reason: Some("it broke".to_owned()),
        expect: Expect::Whatever,
        accept_migrations: false,
        accept_unchecked: false,
        hold: false,
    }
}

pub fn back_to(version: &str) -> RollbackRequest {
    RollbackRequest { to: Some(version.parse().unwrap()), ..back() }
}
