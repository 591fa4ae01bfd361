//! The history that several stores share, if shiplap.toml names a place for it.

mod registry;

use shiplap_cache::ContentHash;
use shiplap_manifests::config::{Config, GitHistory, HistorySection, RegistryHistory};
use shiplap_manifests::git::remote_url;
use shiplap_manifests::names::InstanceName;
use shiplap_manifests::share::{self, GitPlace, Place, RegistryPlace, ShareError, Standing};
use shiplap_manifests::{Error, History};
use shiplap_registry::Repository;

use crate::app::App;
use crate::failure::{Failure, Kind, Result};
use registry::RegistryPages;

fn place(app: &App, config: &Config) -> Result<Option<Box<dyn Place>>> {
    match &config.history {
        HistorySection::Local => Ok(None),
        HistorySection::Git(git) => Ok(Some(Box::new(of_git(app, config, git)?))),
        HistorySection::Registry(registry) => Ok(Some(Box::new(of_registry(app, registry)?))),
    }
}

fn of_git(app: &App, config: &Config, git: &GitHistory) -> Result<GitPlace> {
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
    Ok(GitPlace::open(&own, config.folder(), &url, &git.branch, &git.path).map_err(Error::from)?)
}

fn of_registry(app: &App, registry: &RegistryHistory) -> Result<RegistryPlace<RegistryPages>> {
    let repository: Repository = registry.repository.to_string().parse()?;
    // A folder for each: another repository is another history.
    let own = app.home()?.join("history.registry").join(ContentHash::of(repository.to_string().as_bytes()).short());
    let pages = RegistryPages { client: app.quiet_client(), images: app.images()?, repository };
    Ok(RegistryPlace::open(pages, &own).map_err(Error::from)?)
}

/// Takes over what others recorded, for a command that only reads. Where nobody can be asked, or what is there is damaged, it goes on
/// with what is here, and says so.
pub fn look(app: &App, config: Option<&Config>, history: &mut History) -> Result<()> {
    let Some(config) = config else { return Ok(()) };
    let Some(place) = place(app, config)? else { return Ok(()) };
    match share::pull(history, place.as_ref()) {
        Err(why @ (Error::Share(ShareError::Place { .. } | ShareError::Damaged { .. }) | Error::Overtaken { .. })) => {
            eprintln!("warning: {why}\nwarning: what follows is as this store knew it last");
            Ok(())
        }
        result => Ok(result?),
    }
}

/// What is wrong with the place that the history is shared in, as it was looked at last; nothing where nobody can be asked.
pub fn audit(app: &App, config: Option<&Config>) -> Result<Vec<String>> {
    let Some(place) = config.map(|config| place(app, config)).transpose()?.flatten() else { return Ok(Vec::new()) };
    match place.refresh().and_then(|_| place.audit()) {
        // What was said about it already.
        Err(ShareError::Place { .. }) => Ok(Vec::new()),
        Err(error @ ShareError::Damaged { .. }) => Ok(vec![error.to_string()]),
        found => Ok(found.map_err(Error::from)?),
    }
}

/// Takes over what others recorded, for a command that decides by it.
pub fn pull(app: &App, config: &Config, history: &mut History) -> Result<()> {
    match place(app, config)? {
        Some(place) => Ok(share::pull(history, place.as_ref())?),
        None => Ok(()),
    }
}

/// Does what adds to an instance's history while nobody else does, and tells the others.
pub fn alone<T>(
    app: &App,
    config: &Config,
    history: &mut History,
    instance: &InstanceName,
    standing: Standing,
    work: impl FnOnce(&mut History) -> Result<T>,
) -> Result<T> {
    let Some(place) = place(app, config)? else { return work(history) };
    let claimed = share::claim(history, place.as_ref(), instance, &app.actor(), standing)?;
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
