//! The copy of the example that is edited and built, and the base images below it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::command::{Result, output};

/// The name of the base image with all sides. It is a name of our own, so that nobody's image is overwritten; with the part
/// `localhost`, so that it means the same to all of them.
pub const BASE: &str = "localhost/shiplap-bench/base:current";

/// The name of what is built.
pub const IMAGE: &str = "localhost/shiplap-bench/openedx:1";

/// A tar to be the base image, and a name that only it has.
#[derive(Debug, Clone)]
pub struct Base {
    pub tar: PathBuf,
    pub name: String,
}

pub struct Site {
    pub folder: PathBuf,
    pub base: Base,
    /// The settings of the base image, as Dockerfile instructions.
    pub changes: Vec<String>,
    work: PathBuf,
    unique: u64,
}

impl Site {
    pub fn new(work: &Path, base: &Path) -> Result<Self> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = work.join("campus");
        output(Command::new("cp").arg("-a").arg(project.join("examples/campus")).arg(&folder))?;
        let changes = output(Command::new(project.join("scripts/base-image")).arg("--changes"))?;
        let changes = changes.lines().map(str::to_owned).collect();
        let tar = base.canonicalize().map_err(|e| format!("{}: {e}", base.display()))?;
        let unique = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let base = Base { tar, name: format!("localhost/shiplap-bench/base:{unique}") };
        Ok(Self { folder, base, changes, work: work.to_owned(), unique })
    }

    /// A number that no earlier edit had, not even in the last run of this program.
    pub fn next(&mut self) -> u64 {
        self.unique += 1;
        self.unique
    }

    /// The base image with one more file.
    pub fn another_base(&mut self) -> Result<Base> {
        let unique = self.next();
        let (tar, more) = (self.work.join("base.tar"), self.work.join("more"));
        std::fs::create_dir_all(more.join("etc"))?;
        std::fs::write(more.join("etc/campus-release"), format!("{unique}\n"))?;
        output(Command::new("cp").arg("--reflink=auto").arg(&self.base.tar).arg(&tar))?;
        output(
            Command::new("tar")
                .args(["--append", "--owner=0", "--group=0", "--file"])
                .arg(&tar)
                .arg("-C")
                .arg(&more)
                .arg("./etc/campus-release"),
        )?;
        Ok(Base { tar, name: format!("localhost/shiplap-bench/base:{unique}") })
    }

    /// The arguments of a build that all sides have in common.
    pub fn arguments(&self) -> Vec<String> {
        vec![
            "--network=host".to_owned(),
            "--target=final".to_owned(),
            format!("--build-arg=BASE_IMAGE={BASE}"),
            format!("--build-context=edx-platform={}", self.folder.join("edx-platform").display()),
            format!("--tag={IMAGE}"),
            self.folder.join("openedx").display().to_string(),
        ]
    }
}
