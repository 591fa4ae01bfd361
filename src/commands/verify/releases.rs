//! Reading the history again.

use std::process::ExitCode;

use shiplap_manifests::history::Audit;

use super::Args;
use crate::app::App;
use crate::commands::log::instances;
use crate::failure::{Failure, Kind, Result};
use crate::{output, shared};

pub fn run(app: &App, args: &Args) -> Result<ExitCode> {
    let images = app.images()?;
    let mut history = app.history(&images)?;
    shared::look(app, app.config()?.as_ref(), &mut history)?;
    let instances = instances(app, &history, &args.select, args.what.as_deref())?;
    if args.expect.is_some() && instances.len() != 1 {
        let message = format!("--expect is about the log of one instance, and this reads {}", instances.len());
        return Err(Failure::new(Kind::Usage, message).hint("name the instance"));
    }
    let audits: Vec<Audit> = instances
        .iter()
        .map(|name| history.audit(name, args.expect.as_ref()))
        .collect::<std::result::Result<_, _>>()?;
    let shared = shared::audit(app, app.config()?.as_ref())?;
    if app.global.json {
        output::json(&audits)?;
        shared.iter().for_each(|problem| eprintln!("warning: {problem}"));
    } else {
        audits.iter().for_each(show);
        shared.iter().for_each(|problem| output::line(problem));
    }
    match audits.iter().map(|audit| audit.problems.len()).sum::<usize>() + shared.len() {
        0 => Ok(ExitCode::SUCCESS),
        n => Err(Failure::new(Kind::Failed, format!("{n} things are wrong in the history"))
            .hint("compare with a backup of history.db, and of blobs/ for manifests; nothing was changed")),
    }
}

fn show(audit: &Audit) {
    for problem in &audit.problems {
        output::line(&format!("{}: {problem}", audit.instance));
    }
    let head = audit.head.as_ref().map(|head| format!(", the newest is {}", head.hash)).unwrap_or_default();
    let word = if audit.problems.is_empty() { "as they were written" } else { "read" };
    output::line(&format!("{}: {} entries {word}{head}", audit.instance, audit.entries));
}
