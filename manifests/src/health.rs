//! Health checks: whether the site is well after a deploy or a rollback, and what happens when it is not.
//!
//! A deployment is over and in the log before its health is asked. When the site does not get well, a deploy goes back to the release that ran before, as a rollback
//! of its own with the reason in the log. A rollback that does not help goes nowhere: from there on a person must look.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::act::program;
use crate::config::Health;
use crate::deploy::{DeployReport, DeployRequest, Deployer, Expect};
use crate::release::Release;
use crate::rollback::{RollbackReport, RollbackRequest};
use crate::{Error, Result};

/// Asks once whether a site is well.
pub trait Probe {
    /// Asks.
    ///
    /// # Errors
    /// What is wrong, in words.
    fn probe(&self, release: &Release) -> Result<(), String>;
}

/// Asks a program.
#[derive(Debug)]
pub struct ExecProbe<'a> {
    /// How.
    pub health: &'a Health,
    /// Where it runs.
    pub folder: &'a Path,
}

impl Probe for ExecProbe<'_> {
    fn probe(&self, release: &Release) -> Result<(), String> {
        let env = BTreeMap::from([
            ("SHIPLAP_INSTANCE".to_owned(), release.instance.to_string()),
            ("SHIPLAP_VERSION".to_owned(), release.version.to_string()),
            ("SHIPLAP_TAG".to_owned(), release.tag.to_string()),
        ]);
        program::probe(&self.health.exec, self.folder, &env, self.health.timeout()).map_err(|e| e.to_string())
    }
}

/// How the health of a site is found out.
pub struct HealthCheck<'a> {
    /// When to give up.
    pub health: &'a Health,
    /// What asks.
    pub probe: &'a dyn Probe,
    /// Is told of each try that failed, by its number.
    pub told: &'a dyn Fn(u32, &str),
}

/// Why a site is taken for ill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Illness {
    /// How often it was asked.
    pub tries: u32,
    /// What was wrong the last time.
    pub last: String,
}

impl fmt::Display for Illness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let times = if self.tries == 1 { "once".to_owned() } else { format!("{} times", self.tries) };
        write!(f, "asked {times}, the last time: {}", self.last)
    }
}

impl HealthCheck<'_> {
    /// Asks until the site is well, or it is time to give up.
    fn wait(&self, release: &Release) -> Result<(), Illness> {
        let began = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let Err(last) = self.probe.probe(release) else { return Ok(()) };
            (self.told)(tries, &last);
            let left = self.health.deadline().saturating_sub(began.elapsed());
            let pause = self.health.interval();
            if left <= pause.max(Duration::from_millis(1)) || self.health.retries.is_some_and(|most| tries >= most) {
                return Err(Illness { tries, last });
            }
            std::thread::sleep(pause);
        }
    }
}

impl Deployer<'_> {
    /// Deploys, and goes back when the site does not get well.
    ///
    /// # Errors
    /// [`Error::Unhealthy`] says whether it went back.
    pub fn deploy_checked(&mut self, request: DeployRequest, check: Option<&HealthCheck<'_>>) -> Result<DeployReport> {
        let actor = request.actor.clone();
        let report = self.deploy(request)?;
        let release = &report.release.release;
        let Some(illness) = check.and_then(|check| check.wait(release).err()) else { return Ok(report) };
        let back = self.go_back(&report, actor, &illness);
        Err(Error::Unhealthy {
            instance: self.instance.clone(),
            version: release.version.clone(),
            illness: illness.to_string(),
            then: match back {
                Ok(back) => format!("it is back at {} (deployment {})", back.to, back.deploy.deployment.sequence),
                Err(why) => format!("it stays there: {why}"),
            },
        })
    }

    /// Rolls back, and says when the site does not get well by that.
    ///
    /// # Errors
    /// [`Error::Unhealthy`]; the rollback stays.
    pub fn rollback_checked(
        &mut self,
        request: RollbackRequest,
        check: Option<&HealthCheck<'_>>,
    ) -> Result<RollbackReport> {
        let report = self.rollback(request)?;
        match check.and_then(|check| check.wait(&report.deploy.release.release).err()) {
            None => Ok(report),
            Some(illness) => Err(Error::Unhealthy {
                instance: self.instance.clone(),
                version: report.to,
                illness: illness.to_string(),
                then: "it stays there, because a rollback does not go back again: see what else is wrong, or name another version"
                    .to_owned(),
            }),
        }
    }

    fn go_back(&mut self, report: &DeployReport, actor: String, illness: &Illness) -> Result<RollbackReport, String> {
        let deployment = &report.deployment;
        let replaced = match deployment.expected {
            Some(sequence) => self.history.deployment(self.instance, sequence).map_err(|e| e.to_string())?,
            None => None,
        };
        let replaced = replaced.ok_or("nothing was deployed before it")?;
        if replaced.release == deployment.release {
            return Err("the same release ran before it".to_owned());
        }
        let request = RollbackRequest {
            to: Some(replaced.version),
            actor,
            reason: Some(format!("the health check of deployment {} failed ({illness})", deployment.sequence)),
            expect: Expect::Exactly(Some(deployment.sequence)),
            accept_migrations: false,
            // The site is ill now, and ran this release a moment ago. What is known to be missing still keeps it from going back.
            accept_unchecked: true,
            hold: false,
        };
        self.rollback(request).map_err(|e| e.to_string())
    }
}
