//! The builders.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::command::{Result, output, timed};
use crate::measure::PEER;
use crate::proxy::Counts;
use crate::s3::BUCKET;
use crate::site::Site;

/// What a build exports to the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Export {
    /// Nothing, and it takes nothing from there either.
    Nothing,
    /// Layers and results.
    Layers,
    /// What is in cache mounts too, where that can be exported.
    All,
}

/// What one build took.
pub struct Built {
    pub seconds: f64,
    /// What went elsewhere without the proxy.
    pub past_proxy: Counts,
    /// What it says about itself.
    pub said: Value,
    /// The same in words.
    pub words: String,
}

pub trait Side {
    fn name(&self) -> String;

    /// Whether it can export cache mounts.
    fn has_mounts(&self) -> bool;

    /// Puts the base image into the registry.
    fn prepare(&mut self, site: &Site) -> Result<()>;

    /// Takes away all that it has on this machine.
    fn forget(&mut self) -> Result<()>;

    /// Builds, pushes, updates the cache.
    fn build(&mut self, site: &Site, export: Export) -> Result<Built>;
}

/// The names of one side in the registry. Other runs of this program have others.
#[derive(Clone)]
struct Names {
    base: String,
    image: String,
}

impl Names {
    fn new(registry: &str, side: &str, unique: u64) -> Self {
        let of = |name: &str| format!("{registry}/{side}-{unique}/{name}");
        Self { base: of("base:current"), image: of("openedx:1") }
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
        ["--push".to_owned()].into_iter().chain(site.arguments().into_iter().map(own)).collect()
    }
}

/// `--cache-from` and `--cache-to` of one place.
#[derive(Clone)]
pub struct CacheFlags {
    from: String,
    to: String,
}

impl CacheFlags {
    fn registry(registry: &str, side: &str, unique: u64) -> Self {
        let place = format!("type=registry,ref={registry}/{side}-{unique}/cache");
        Self { from: format!("--cache-from={place}"), to: format!("--cache-to={place},mode=max") }
    }
}

/// Where our cache is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Tier {
    Registry,
    S3,
    Directory,
}

impl Tier {
    /// The flags of a place that is new.
    pub fn flags(self, work: &Path, registry: &str, objects: Option<&str>, unique: u64) -> CacheFlags {
        match self {
            Self::Registry => CacheFlags::registry(registry, "shiplap", unique),
            Self::S3 => {
                let endpoint = objects.unwrap_or_default();
                let keys = "region=us-east-1,access_key_id=key,secret_access_key=key,use_path_style=true";
                let place = format!("type=s3,bucket={BUCKET},prefix={unique},endpoint_url=http://{endpoint},{keys}");
                CacheFlags { from: format!("--cache-from={place}"), to: format!("--cache-to={place},mode=max") }
            }
            Self::Directory => {
                let folder = work.join(format!("cache-{unique}"));
                let (from, to) = (format!("type=local,src={}", folder.display()), folder.display());
                CacheFlags {
                    from: format!("--cache-from={from}"),
                    to: format!("--cache-to=type=local,dest={to},mode=max"),
                }
            }
        }
    }
}

#[derive(Clone)]
pub struct Shiplap {
    store: PathBuf,
    registry: String,
    tier: Tier,
    flags: CacheFlags,
    names: Names,
}

impl Shiplap {
    pub fn new(work: &Path, registry: &str, tier: Tier, flags: CacheFlags, unique: u64) -> Self {
        let store = work.join(format!("store-{unique}"));
        Self { store, registry: registry.to_owned(), tier, flags, names: Names::new(registry, "shiplap", unique) }
    }

    /// Where its images are.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name of its base image.
    pub fn base(&self) -> &str {
        &self.names.base
    }

    /// The flag that names its cache.
    pub fn cache_from(&self) -> &str {
        &self.flags.from
    }

    /// The program, with a store.
    pub fn command(store: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shiplap"));
        command.env_remove("SHIPLAP_CONFIG").env_remove("SOURCE_DATE_EPOCH");
        command.arg("--home").arg(store).args(["--progress", "quiet", "--json"]);
        command
    }
}

impl Side for Shiplap {
    fn name(&self) -> String {
        match self.tier {
            Tier::Registry => "Shiplap".to_owned(),
            Tier::S3 => "Shiplap, S3".to_owned(),
            Tier::Directory => "Shiplap, directory".to_owned(),
        }
    }

    fn has_mounts(&self) -> bool {
        true
    }

    fn prepare(&mut self, site: &Site) -> Result<()> {
        let mut import = Self::command(&self.store);
        import.arg("import").arg(&site.base.tar).arg(&self.names.base);
        output(import.args(site.changes.iter().map(|change| format!("--change={change}"))))?;
        output(Self::command(&self.store).args(["push", &self.names.base])).map(drop)
    }

    fn forget(&mut self) -> Result<()> {
        let remove = "rm -rf \"$0\" 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf \"$0\"";
        output(Command::new("sh").args(["-c", remove]).arg(&self.store)).map(drop)
    }

    fn build(&mut self, site: &Site, export: Export) -> Result<Built> {
        let mut command = Self::command(&self.store);
        command.arg("build");
        match export {
            Export::Nothing => {}
            Export::Layers => drop(command.arg(format!("{},mounts=0B", self.flags.to))),
            Export::All => drop(command.args([&self.flags.from, &self.flags.to])),
        }
        let (seconds, said) = timed(command.args(self.names.arguments(site)))?;
        let said: Value = serde_json::from_str(&said)?;
        let image = &said["images"][0];
        let count = |key: &str| image[key].as_u64().unwrap_or(0);
        let cache = &image["cache"];
        let moved = |key: &str| cache[key].as_u64().unwrap_or(0);
        let past_proxy = match self.tier {
            Tier::Directory => Counts { up: moved("sent"), down: moved("read") + moved("fetched") },
            Tier::Registry | Tier::S3 => Counts::default(),
        };
        let (reused, ran) = (count("cached") + count("reused"), count("ran"));
        let steps = image["steps"].as_array().into_iter().flatten();
        let in_steps: u64 = steps.filter_map(|step| step["millis"].as_u64()).sum();
        let mut words = format!("{reused} steps reused, {ran} run in {:.1} s", in_steps as f64 / 1e3);
        // Whatever else it counts is said too.
        for (what, number) in cache.as_object().into_iter().flatten() {
            words += &match what.as_str() {
                "read" | "mounts" | "sent" => format!(", {what} {:.2} MB", moved(what) as f64 / 1e6),
                what if what.starts_with("fetched") => format!(", {what} {:.2} MB", moved(what) as f64 / 1e6),
                what => format!(", {what} {number}"),
            };
        }
        let said = json!({"reused": reused, "ran": ran, "milliseconds in steps": in_steps, "cache": cache});
        Ok(Built { seconds, past_proxy, said, words })
    }
}

pub struct BuildKit {
    command: Vec<String>,
    flags: CacheFlags,
    names: Names,
}

impl BuildKit {
    pub fn new(command: &str, registry: &str, unique: u64) -> Self {
        let command = command.split_whitespace().map(str::to_owned).collect();
        let flags = CacheFlags::registry(registry, "buildkit", unique);
        Self { command, flags, names: Names::new(registry, "buildkit", unique) }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        command
    }
}

impl Side for BuildKit {
    fn name(&self) -> String {
        PEER.to_owned()
    }

    fn has_mounts(&self) -> bool {
        false
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

    fn build(&mut self, site: &Site, export: Export) -> Result<Built> {
        let mut command = self.command();
        command.args(["buildx", "build"]);
        match export {
            Export::Nothing => {}
            Export::Layers => drop(command.arg(&self.flags.to)),
            Export::All => drop(command.args([&self.flags.from, &self.flags.to])),
        }
        let (seconds, _) = timed(command.args(self.names.arguments(site)))?;
        Ok(Built { seconds, past_proxy: Counts::default(), said: Value::Null, words: String::new() })
    }
}
