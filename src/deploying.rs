//! What `deploy` and `rollback` have in common: an instance with its targets, how its images are checked, how its health is asked.

use std::path::PathBuf;

use serde::Serialize;
use shiplap_manifests::deploy::{Deployer, Expect};
use shiplap_manifests::deployment::DeploymentSeq;
use shiplap_manifests::health::HealthCheck;
use shiplap_manifests::preview::Preview;
use shiplap_manifests::share::Standing;
use shiplap_manifests::{Config, target};
use shiplap_registry::Images;

use crate::app::App;
use crate::commands::diff::summary::{self, Summary};
use crate::failure::Result;
use crate::supply::SignedCheck;
use crate::{health, shared};

/// Flags of both.
#[derive(Debug, clap::Args)]
pub struct Flags {
    /// Why, for the record
    #[arg(long, short = 'm', value_name = "TEXT")]
    pub reason: Option<String>,
    /// Fail unless this deployment is the current one: its number, or 0 for none
    #[arg(long, value_name = "NUMBER")]
    expect: Option<u64>,
    /// Only images that are signed by this public key, as `cosign verify --key` checks it [default: `verify-key` of the instance]
    #[arg(long, value_name = "FILE")]
    verify_key: Option<PathBuf>,
    /// Go on when a registry gives no answer, with images that are whole in the store. The record says so. What a registry is known to
    /// lack still stops it
    #[arg(long)]
    pub accept_unchecked: bool,
    /// Of a history that is shared: end the claim of a machine that does not come back. Look at its deploy targets first, for nobody knows then what it did
    #[arg(long)]
    break_claim: bool,
    /// Do not ask whether the site is well afterwards
    #[arg(long)]
    no_health: bool,
}

impl Flags {
    /// What becomes of the claim of another machine.
    pub fn standing(&self) -> Standing {
        if self.break_claim { Standing::Broken } else { Standing::Respected }
    }

    /// What is expected to be replaced.
    pub fn expect(&self) -> Expect {
        match self.expect {
            None => Expect::Whatever,
            Some(0) => Expect::Exactly(None),
            Some(number) => Expect::Exactly(Some(DeploymentSeq(number))),
        }
    }
}

/// What a deploy or rollback would do, and what it would bring.
#[derive(Debug, Serialize)]
pub struct Outlook {
    #[serde(flatten)]
    pub preview: Preview,
    /// From the release that runs to the other; none where nothing runs.
    pub differences: Option<Summary>,
}

/// A command that deploys, before it is known to which instance.
pub struct Deploying<'a> {
    pub app: &'a App,
    pub config: &'a Config,
    pub images: &'a Images,
    pub flags: &'a Flags,
}

impl Deploying<'_> {
    /// What would be done for an instance, and what would be different then.
    pub fn preview(
        &self,
        instance: &str,
        ask: impl FnOnce(&Deployer<'_>) -> shiplap_manifests::Result<Preview>,
    ) -> Result<Outlook> {
        let (instance, settings) = self.config.instance(instance)?;
        let mut history = self.app.history(self.images)?;
        shared::look(self.app, Some(self.config), &mut history)?;
        let targets = target::of_instance(self.config, settings);
        let check = SignedCheck::new(self.app, self.images, self.flags.verify_key.as_ref(), self.config, settings)?;
        let preview =
            ask(&Deployer { history: &mut history, instance, targets: &targets, check: &check, observer: &() })?;
        let running = preview.from.as_ref().map(|version| history.release(instance, version)).transpose()?;
        let differences = running.map(|before| summary::of(self.images, before, preview.to.clone())).transpose()?;
        Ok(Outlook { preview, differences })
    }

    /// Does something to an instance while nobody else does.
    pub fn alone<T>(
        &self,
        instance: &str,
        work: impl FnOnce(&mut Deployer<'_>, Option<&HealthCheck<'_>>) -> Result<T>,
    ) -> Result<T> {
        let (app, config) = (self.app, self.config);
        let (instance, settings) = config.instance(instance)?;
        let mut history = app.history(self.images)?;
        let targets = target::of_instance(config, settings);
        let check = SignedCheck::new(app, self.images, self.flags.verify_key.as_ref(), config, settings)?;
        let probe = health::probe(config, settings, self.flags.no_health)?;
        let told = |tries: u32, what: &str| app.note(&format!("not well yet (try {tries}): {what}"));
        let well = probe.as_ref().map(|probe| probe.check(&told));
        shared::alone(app, config, &mut history, instance, self.flags.standing(), |history| {
            let mut deployer = Deployer { history, instance, targets: &targets, check: &check, observer: &() };
            work(&mut deployer, well.as_ref())
        })
    }
}
