//! The tiers of the step cache: from `cache` in shiplap.toml, from `--cache-from` and `--cache-to`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use shiplap_cache::tier::Tier;
use shiplap_cache::tier::object::{ObjectOptions, ObjectTier};
use shiplap_manifests::Config;
use shiplap_manifests::config::{CacheMode, CachePlace, CacheTier, Size};
use shiplap_registry::RegistryTier;
use shiplap_registry::remote::{Moved, Published, RemoteWatch, TierUse};

use crate::app::App;
use crate::commands::build::fields::{fields, words};
use crate::commands::build::flags::wrong;
use crate::failure::{Failure, Kind, Result};
use crate::output;
use crate::progress::Progress;

/// Left alone for so many days, something in a tier is taken away.
const KEEP_DAYS: u64 = 30;

/// Bytes of one cache mount that travel.
const MOUNTS: u64 = 1_000_000_000;

/// Where cached steps come from and go to.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Cache options")]
pub struct CacheFlags {
    /// Take cached steps from here too, instead of from the caches in shiplap.toml: a repository of a registry, or
    /// type=registry,ref=REPOSITORY, type=local,src=DIR, type=s3,bucket=NAME[,KEY=VALUE], type=object,url=URL; can be given several times
    #[arg(long, value_name = "SPEC")]
    cache_from: Vec<String>,
    /// Put what this build makes here, as --cache-from names places (type=local,dest=DIR); mode=max is the layers of all steps, mode=min those
    /// of the image; mounts=SIZE bounds what is sent of each cache mount, 1GB when left out, 0B for none
    #[arg(long, value_name = "SPEC")]
    cache_to: Vec<String>,
    /// Put nothing into any cache elsewhere, for builds of code that nobody has looked at yet
    #[arg(long, env = "SHIPLAP_CACHE_READ_ONLY", value_parser = clap::builder::FalseyValueParser::new(), action = clap::ArgAction::SetTrue)]
    cache_read_only: bool,
    /// How a step that runs gets layers that only a cache has: file by file while it reads them, where that is possible, or whole before it
    #[arg(long, env = "SHIPLAP_CACHE_FETCH", value_name = "WHAT", default_value = "files")]
    cache_fetch: CacheFetch,
}

/// How layers come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
enum CacheFetch {
    /// The files that are read
    #[default]
    Files,
    /// All of each layer
    Whole,
}

impl CacheFlags {
    /// What there is where a command has no such flags.
    pub fn from_environment() -> Self {
        let set = std::env::var("SHIPLAP_CACHE_READ_ONLY").unwrap_or_default().to_lowercase();
        let is_no = ["", "0", "n", "no", "f", "false", "off"].contains(&set.as_str());
        let whole = std::env::var("SHIPLAP_CACHE_FETCH").is_ok_and(|what| what == "whole");
        let cache_fetch = if whole { CacheFetch::Whole } else { CacheFetch::Files };
        Self { cache_read_only: !is_no, cache_fetch, ..Self::default() }
    }

    /// Whether layers come whole.
    pub fn whole_layers(&self) -> bool {
        self.cache_fetch == CacheFetch::Whole
    }

    /// Places to take from, and nothing to put anywhere.
    pub fn reading(cache_from: Vec<String>) -> Self {
        Self { cache_from, ..Self::default() }
    }

    /// The tiers that are meant.
    pub fn tiers(&self, app: &App, config: Option<&Config>) -> Result<Vec<TierUse>> {
        let mut wanted: Vec<CacheTier> = Vec::new();
        for text in &self.cache_from {
            let Some(tier) = parse("--cache-from", text)? else {
                without_effect(app, "--cache-from", text);
                continue;
            };
            wanted.push(CacheTier { write: false, ..tier });
        }
        for text in &self.cache_to {
            let Some(tier) = parse("--cache-to", text)? else {
                without_effect(app, "--cache-to", text);
                continue;
            };
            match wanted.iter_mut().find(|known| known.place == tier.place) {
                Some(known) => *known = CacheTier { read: known.read, ..tier },
                // What one puts somewhere one wants to find there.
                None => wanted.push(CacheTier { read: false, ..tier }),
            }
        }
        if self.cache_from.is_empty() && self.cache_to.is_empty() {
            wanted = config.map(|config| config.cache.clone()).unwrap_or_default();
        }
        let folder = config.map_or(Path::new("."), Config::folder);
        let mut tiers = Vec::new();
        for mut tier in wanted {
            tier.write &= !self.cache_read_only;
            if let CachePlace::Local { path } = &tier.place
                && !tier.write
                && !folder.join(path).is_dir()
            {
                app.note(&format!("there is no cache in {} yet", path.display()));
                continue;
            }
            if tier.read || tier.write {
                tiers.push(open(app, &tier, folder)?);
            }
        }
        Ok(tiers)
    }
}

/// Places that only BuildKit has, and what does the same here.
const ELSEWHERE: [(&str, &str); 2] = [
    ("inline", "no cache is written into images: type=registry,ref=REPOSITORY keeps it beside them"),
    ("gha", "GitHub's cache is open to BuildKit alone: type=registry,ref=ghcr.io/OWNER/NAME does the same"),
];

/// Says that a place does nothing here. A command line moves over with it.
fn without_effect(app: &App, flag: &str, text: &str) {
    let why = ELSEWHERE.iter().find(|(kind, _)| text.contains(kind)).map_or("", |(_, why)| why);
    app.progress.say(&format!("note: {flag} {text}: has no effect, {why}"));
}

/// A place as buildx spells it. None for one that has nothing to act on here.
fn parse(flag: &str, text: &str) -> Result<Option<CacheTier>> {
    let bare = words(flag, text)?;
    if let [name] = bare.as_slice()
        && !name.contains('=')
    {
        return registry(flag, text, name).map(Some);
    }
    let mut given: BTreeMap<String, String> = fields(flag, text)?.into_iter().collect();
    let kind = given.remove("type").unwrap_or_default();
    if ELSEWHERE.iter().any(|(other, _)| *other == kind) {
        return Ok(None);
    }
    let mode = match given.remove("mode").as_deref() {
        None | Some("max") => CacheMode::Max,
        Some("min") => CacheMode::Min,
        Some(_) => return Err(wrong(flag, text, "mode=max or mode=min")),
    };
    let mounts = match given.remove("mounts") {
        Some(size) => {
            Some(size.parse().map_err(|_| wrong(flag, text, "mounts=SIZE, as in mounts=500MB, or mounts=0B"))?)
        }
        None => None,
    };
    // What has no meaning here, or only for a format that is not ours.
    for key in
        ["compression", "compression-level", "force-compression", "oci-mediatypes", "image-manifest", "ignore-error"]
    {
        given.remove(key);
    }
    let mut need = |key: &str| given.remove(key).ok_or_else(|| wrong(flag, text, &format!("type={kind},{key}=VALUE")));
    let tier = match kind.as_str() {
        "registry" => registry(flag, text, &need("ref")?)?,
        "local" => {
            let key = if flag == "--cache-to" { "dest" } else { "src" };
            CacheTier::plain(CachePlace::Local { path: need(key)?.into() })
        }
        "object" => {
            let url = need("url")?;
            let settings = std::mem::take(&mut given);
            CacheTier::plain(CachePlace::Object { url, settings })
        }
        "s3" => {
            let url = format!("s3://{}/{}", need("bucket")?, given.remove("prefix").unwrap_or_default());
            let settings = renamed(&mut given, &S3);
            CacheTier::plain(CachePlace::Object { url, settings })
        }
        "azblob" => {
            let container = given.remove("container").unwrap_or_else(|| "buildkit-cache".to_owned());
            let url = format!("az://{container}/{}", given.remove("prefix").unwrap_or_default());
            let settings = renamed(&mut given, &AZURE);
            CacheTier::plain(CachePlace::Object { url, settings })
        }
        _ => return Err(wrong(flag, text, "NAME, or type=registry|local|s3|azblob|object,KEY=VALUE")),
    };
    // Names of one cache among several in a place: all of ours are one.
    for key in ["name", "scope", "tag", "digest"] {
        given.remove(key);
    }
    match given.into_keys().next() {
        Some(key) => Err(wrong(flag, text, &format!("no `{key}` with type={kind}"))),
        None => Ok(Some(CacheTier { mode, mounts, ..tier })),
    }
}

/// BuildKit's keys of a cache in S3, and those of `object_store`.
const S3: [(&str, &str); 7] = [
    ("region", "aws_region"),
    ("endpoint_url", "aws_endpoint_url"),
    ("access_key_id", "aws_access_key_id"),
    ("secret_access_key", "aws_secret_access_key"),
    ("session_token", "aws_session_token"),
    ("use_path_style", "use_path_style"),
    ("allow_http", "allow_http"),
];

const AZURE: [(&str, &str); 3] = [
    ("account_url", "azure_storage_endpoint"),
    ("account_name", "azure_storage_account_name"),
    ("secret_access_key", "azure_storage_account_key"),
];

fn renamed(given: &mut BTreeMap<String, String>, names: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut settings = BTreeMap::new();
    for (theirs, ours) in names {
        let Some(value) = given.remove(*theirs) else { continue };
        match *ours {
            "use_path_style" => {
                let by_host = if value == "true" { "false" } else { "true" };
                settings.insert("aws_virtual_hosted_style_request".to_owned(), by_host.to_owned());
            }
            ours => drop(settings.insert(ours.to_owned(), value)),
        }
    }
    settings
}

fn registry(flag: &str, text: &str, name: &str) -> Result<CacheTier> {
    let reference: shiplap_registry::Reference =
        name.parse().map_err(|e| wrong(flag, text, &format!("a repository: {e}")))?;
    // BuildKit's caches are under a tag; ours have tags of their own, so the one that is written says nothing.
    let repository = reference.repository().to_string().parse().map_err(|e| wrong(flag, text, &format!("{e}")))?;
    Ok(CacheTier::plain(CachePlace::Registry { repository }))
}

fn open(app: &App, tier: &CacheTier, folder: &Path) -> Result<TierUse> {
    let opened: Arc<dyn Tier> = match &tier.place {
        CachePlace::Registry { repository } => {
            let repository = repository.to_string().parse()?;
            Arc::new(RegistryTier::new(app.tier_client(), repository))
        }
        CachePlace::Object { url, settings } => object(url, settings)?,
        CachePlace::Local { path } => {
            let path = folder.join(path);
            let missing = |e| Failure::new(Kind::Failed, format!("cannot make the cache {}: {e}", path.display()));
            if tier.write {
                std::fs::create_dir_all(&path).map_err(missing)?;
            }
            let path = path.canonicalize().map_err(missing)?;
            object(&format!("file://{}", path.display()), &BTreeMap::new())?
        }
    };
    let days = tier.keep.map_or(KEEP_DAYS, |keep| keep.0.as_secs() / (24 * 60 * 60));
    Ok(TierUse {
        tier: opened,
        read: tier.read,
        write: tier.write,
        everything: tier.mode == CacheMode::Max,
        most: tier.max_size.map(|Size(bytes)| bytes),
        days: u32::try_from(days).unwrap_or(u32::MAX),
        mounts: tier.mounts.map_or(MOUNTS, |Size(bytes)| bytes),
    })
}

fn object(url: &str, settings: &BTreeMap<String, String>) -> Result<Arc<dyn Tier>> {
    // What is written goes before what the environment says.
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for name in ObjectTier::variables(url) {
        if let Ok(value) = std::env::var(name)
            && !value.is_empty()
        {
            all.insert(name.to_lowercase(), value);
        }
    }
    all.extend(settings.iter().map(|(key, value)| (key.to_lowercase(), value.clone())));
    let options =
        ObjectOptions { attempts: 3, patience: std::time::Duration::from_secs(30), ..ObjectOptions::default() };
    let tier = ObjectTier::open(url, all, options)
        .map_err(|e| Failure::new(Kind::Usage, format!("cannot use the cache {url}: {e}")))?;
    Ok(Arc::new(tier))
}

/// Tells people of tiers.
pub struct Told(pub Arc<Progress>);

impl RemoteWatch for Told {
    fn warn(&self, tier: &str, problem: &str) {
        self.0.say(&format!("warning: cache {tier}: {problem}"));
    }

    fn fetching(&self, layers: usize, bytes: u64) {
        let noun = if layers == 1 { "layer" } else { "layers" };
        self.0.say(&format!("fetching {layers} {noun} ({}) from a cache", output::size(bytes)));
    }
}

/// What a tier was told, for people.
pub fn published(done: &Published) -> String {
    let Published { tier, layers, bytes } = done;
    let noun = if *layers == 1 { "layer" } else { "layers" };
    format!("cache {tier}: {layers} new {noun}, {} sent", output::size(*bytes))
}

/// What moved, for `--json`.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct Traffic {
    /// Bytes of what decides: segments and indices.
    read: u64,
    layers: u64,
    /// Bytes of layers, of parts of layers, and of cache mounts.
    fetched: u64,
    /// Parts of layers that were fetched.
    parts: u64,
    /// Files out of these that were opened.
    files: u64,
    /// Those of cache mounts.
    mounts: u64,
    sent: u64,
}

impl From<Moved> for Traffic {
    fn from(Moved { read, layers, fetched, parts, files, mounts, sent }: Moved) -> Self {
        Self { read, layers, fetched, parts, files, mounts, sent }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> CachePlace {
        parse("--cache-to", text).unwrap().unwrap().place
    }

    #[test]
    fn buildx_spells_places_so() {
        let registry = |name: &str| CachePlace::Registry { repository: name.parse().unwrap() };
        assert_eq!(place("type=registry,ref=r.example.com/a/cache:main,mode=max"), registry("r.example.com/a/cache"));
        assert_eq!(place("r.example.com/a/cache"), registry("r.example.com/a/cache"));
        assert_eq!(place("type=local,dest=/tmp/x"), CachePlace::Local { path: "/tmp/x".into() });
        let s3 =
            place("type=s3,bucket=b,prefix=p,region=eu,endpoint_url=http://127.0.0.1:9000,use_path_style=true,name=x");
        let CachePlace::Object { url, settings } = s3 else { panic!() };
        assert_eq!(url, "s3://b/p");
        assert_eq!(settings["aws_virtual_hosted_style_request"], "false");
        assert_eq!(settings["aws_endpoint_url"], "http://127.0.0.1:9000");
        for none in ["type=inline", "type=gha,scope=x,mode=max"] {
            assert!(parse("--cache-to", none).unwrap().is_none());
        }
        assert_eq!(parse("--cache-to", "type=registry,ref=a/b,mode=min").unwrap().unwrap().mode, CacheMode::Min);
        let none = parse("--cache-to", "type=local,dest=x,mounts=0B").unwrap().unwrap();
        assert_eq!(none.mounts, Some(Size(0)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("type=registry", "ref="),
            ("type=local,src=x", "dest="),
            ("type=registry,ref=a/b,mode=most", "mode=max"),
            ("type=local,dest=x,colour=red", "no `colour`"),
            ("type=local,dest=x,mounts=many", "expected mounts=SIZE"),
            ("type=tape", "type=registry|local"),
        ] {
            let error = parse("--cache-to", text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
