//! The history that several stores share, if shiplap.toml names a place for it.

use shiplap_manifests::config::{Config, HistorySection};
use shiplap_manifests::git::remote_url;
use shiplap_manifests::names::InstanceName;
use shiplap_manifests::share::{self, GitPlace, ShareError};
use shiplap_manifests::{Error, History};

use crate::app::App;
use crate::failure::{Failure, Kind, Result};

fn place(app: &App, config: &Config) -> Result<Option<GitPlace>> {
    let HistorySection::Git(git) = &config.history else { return Ok(None) };
    let url = match &git.remote {
        Some(url) => url.clone(),
        None => remote_url(config.folder()).map_err(Error::from)?.ok_or_else(|| {
            Failure::new(
                Kind::Usage,
                format!("[history] of {} is in git, and the repository has no remote", config.path.display()),
            )
            .hint("add one with `git remote add origin URL`, or name it with `remote` in [history]")
        })?,
    };
    let own = app.home()?.join("history.git");
    let place = GitPlace::open(&own, config.folder(), &url, &git.branch, &git.path).map_err(Error::from)?;
    Ok(Some(place))
}

/// Takes over what others recorded, for a command that only reads. Where nobody can be asked it goes on with what is here, and says so.
pub fn look(app: &App, config: Option<&Config>, history: &mut History) -> Result<()> {
    let Some(config) = config else { return Ok(()) };
    let Some(place) = place(app, config)? else { return Ok(()) };
    match share::pull(history, &place) {
        Err(Error::Share(why @ ShareError::Place { .. })) => {
            eprintln!("warning: {why}\nwarning: what follows is as this store knew it last");
            Ok(())
        }
        result => Ok(result?),
    }
}

/// Takes over what others recorded, for a command that decides by it.
pub fn pull(app: &App, config: &Config, history: &mut History) -> Result<()> {
    match place(app, config)? {
        Some(place) => Ok(share::pull(history, &place)?),
        None => Ok(()),
    }
}

/// Does what adds to an instance's history while nobody else does, and tells the others.
pub fn alone<T>(
    app: &App,
    config: &Config,
    history: &mut History,
    instance: &InstanceName,
    work: impl FnOnce(&mut History) -> Result<T>,
) -> Result<T> {
    let Some(place) = place(app, config)? else { return work(history) };
    let claimed = share::claim(history, &place, instance, &app.actor())?;
    let done = work(history);
    // Also what failed may have been recorded.
    let published = claimed.publish(history);
    let done = done?;
    match published {
        Ok(()) => Ok(done),
        Err(why) => Err(Failure::of(Kind::Network, &why)
            .hint(format!("it is done and recorded here, but nobody else knows yet: the next deploy, rollback or release of {instance} here tells them"))),
    }
}
