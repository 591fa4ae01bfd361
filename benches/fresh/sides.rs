//! The two builders.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{Result, output, timed};
use crate::site::Site;

pub trait Side {
    fn name(&self) -> &'static str;

    /// Puts the base image into the registry.
    fn prepare(&mut self, site: &Site) -> Result<()>;

    /// Takes away all that it has on this machine.
    fn forget(&mut self) -> Result<()>;

    /// Builds, pushes, updates the cache. Seconds, and what it says about itself.
    fn build(&mut self, site: &Site) -> Result<(f64, String)>;
}

/// The names of one side in the registry. Other runs of this program have others.
struct Names {
    base: String,
    cache: String,
    image: String,
}

impl Names {
    fn new(registry: &str, side: &str, unique: u64) -> Self {
        let of = |name: &str| format!("{registry}/{side}-{unique}/{name}");
        Self { base: of("base:current"), cache: of("cache"), image: of("openedx:1") }
    }

    /// The arguments of a build that both have in common.
    fn arguments(&self, site: &Site) -> Vec<String> {
        let own = |argument: String| {
            if argument.starts_with("--build-arg=BASE_IMAGE=") {
                format!("--build-arg=BASE_IMAGE={}", self.base)
            } else if argument.starts_with("--tag=") {
                format!("--tag={}", self.image)
            } else {
                argument
            }
        };
        let cache = &self.cache;
        let flags = [
            "--push".to_owned(),
            format!("--cache-from=type=registry,ref={cache}"),
            format!("--cache-to=type=registry,ref={cache},mode=max"),
        ];
        flags.into_iter().chain(site.arguments().into_iter().map(own)).collect()
    }
}

pub struct Shiplap {
    store: PathBuf,
    names: Names,
}

impl Shiplap {
    pub fn new(work: &Path, registry: &str, unique: u64) -> Self {
        Self { store: work.join("store"), names: Names::new(registry, "shiplap", unique) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shiplap"));
        command.env_remove("SHIPLAP_CONFIG").env_remove("SOURCE_DATE_EPOCH");
        command.arg("--home").arg(&self.store).args(["--progress", "quiet", "--json"]);
        command
    }
}

impl Side for Shiplap {
    fn name(&self) -> &'static str {
        "Shiplap"
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let mut import = self.command();
        import.arg("import").arg(&site.base.tar).arg(&self.names.base);
        output(import.args(site.changes.iter().map(|change| format!("--change={change}"))))?;
        output(self.command().args(["push", &self.names.base])).map(drop)
    }

    fn forget(&mut self) -> Result<()> {
        let remove = "rm -rf \"$0\" 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf \"$0\"";
        output(Command::new("sh").args(["-c", remove]).arg(&self.store)).map(drop)
    }

    fn build(&mut self, site: &Site) -> Result<(f64, String)> {
        let (seconds, said) = timed(self.command().arg("build").args(self.names.arguments(site)))?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        let image = &said["images"][0];
        let count = |key: &str| image[key].as_u64().unwrap_or(0);
        let layers = image["cache"]["layers"].as_u64().unwrap_or(0);
        let (reused, ran) = (count("cached") + count("reused"), count("ran"));
        Ok((seconds, format!("{reused} steps reused, {ran} run, {layers} layers fetched")))
    }
}

pub struct BuildKit {
    command: Vec<String>,
    names: Names,
}

impl BuildKit {
    pub fn new(command: &str, registry: &str, unique: u64) -> Self {
        let command = command.split_whitespace().map(str::to_owned).collect();
        Self { command, names: Names::new(registry, "buildkit", unique) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }
}

impl Side for BuildKit {
    fn name(&self) -> &'static str {
        "BuildKit"
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let mut import = self.command();
        import.arg("import").args(site.changes.iter().map(|change| format!("--change={change}")));
        output(import.arg(&site.base.tar).arg(&self.names.base))?;
        output(self.command().args(["push", &self.names.base])).map(drop)
    }

    fn forget(&mut self) -> Result<()> {
        // Names that are not there are no error.
        let _ = output(self.command().args(["image", "rm", "--force", &self.names.base, &self.names.image]));
        output(self.command().args(["image", "prune", "--force"]))?;
        output(self.command().args(["builder", "prune", "--all", "--force"])).map(drop)
    }

    fn build(&mut self, site: &Site) -> Result<(f64, String)> {
        let (seconds, _) = timed(self.command().args(["buildx", "build"]).args(self.names.arguments(site)))?;
        Ok((seconds, String::new()))
    }
}
