//! Our side.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::command::{Result, output, timed};
use crate::side::{Run, Side, Steps};
use crate::site::{BASE, Base, IMAGE, Site};

pub struct Shiplap {
    store: PathBuf,
    /// The base image that a new store begins with.
    base: Option<Base>,
}

impl Shiplap {
    pub fn new(work: &Path) -> Self {
        Self::with_store(work.join("store"))
    }

    /// Another one, which knows nothing.
    pub fn with_store(store: PathBuf) -> Self {
        Self { store, base: None }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shiplap"));
        command.env_remove("SHIPLAP_CONFIG").env_remove("SOURCE_DATE_EPOCH");
        command.arg("--home").arg(&self.store).args(["--progress", "quiet", "--json"]);
        command
    }

    fn import(&self, site: &Site, base: &Base) -> Result<()> {
        let mut command = self.command();
        command.arg("import").arg(&base.tar).arg(BASE);
        command.args(site.changes.iter().map(|change| format!("--change={change}")));
        output(&mut command).map(drop)
    }

    pub fn build_with(&self, site: &Site, flags: &[&str]) -> Result<Run> {
        let (seconds, said) = timed(self.command().arg("build").args(flags).args(site.arguments()))?;
        let said: Value = serde_json::from_str(&said)?;
        let count = |key: &str| said["images"][0][key].as_u64().ok_or_else(|| format!("--json has no `{key}`: {said}"));
        let steps = Steps { cached: count("cached")?, reused: count("reused")?, ran: count("ran")? };
        Ok(Run { seconds, steps: Some(steps) })
    }

    /// The same with a store that has the base image, no more.
    pub fn build_fresh(&mut self, site: &Site, flags: &[&str]) -> Result<Run> {
        let base = self.base.clone().unwrap_or_else(|| site.base.clone());
        self.remove_store()?;
        self.set_base(site, &base)?;
        self.build_with(site, flags)
    }

    /// The files of what was built, as one tar.
    pub fn export(&self, tar: &Path) -> Result<()> {
        output(self.command().args(["export", "--format=rootfs", IMAGE]).arg(tar)).map(drop)
    }

    /// Without root the files of a store belong to subordinate users.
    pub fn remove_store(&self) -> Result<()> {
        let remove = "rm -rf \"$0\" 2>/dev/null || unshare --user --map-root-user --map-auto rm -rf \"$0\"";
        output(Command::new("sh").args(["-c", remove]).arg(&self.store)).map(drop)
    }
}

impl Side for Shiplap {
    fn name(&self) -> &'static str {
        "Shiplap"
    }

    fn version(&self) -> Result<String> {
        Ok(output(self.command().arg("--version"))?.trim().trim_start_matches("shiplap ").to_owned())
    }

    fn set_base(&mut self, site: &Site, base: &Base) -> Result<()> {
        self.import(site, base)?;
        self.base = Some(base.clone());
        Ok(())
    }

    fn build(&mut self, site: &Site) -> Result<Run> {
        self.build_with(site, &[])
    }

    fn build_cold(&mut self, site: &Site) -> Result<Run> {
        self.build_fresh(site, &[])
    }

    fn clean(&mut self) {
        if let Err(why) = self.remove_store() {
            eprintln!("scenarios: {why}");
        }
    }
}
