//! From what targets want changed to what is done, in order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::commit::repository_of;
use super::{Act, Commit, Push, Run};
use crate::config::GitPush;
use crate::deployment::{Action, DeploymentSeq};
use crate::release::Release;
use crate::target::{Change, FileChange, Target, TargetError};

/// What a commit and a program are told of a deployment.
pub(crate) struct About<'a> {
    pub(crate) sequence: DeploymentSeq,
    pub(crate) action: Action,
    pub(crate) actor: &'a str,
    pub(crate) reason: Option<&'a str>,
    pub(crate) release: &'a Release,
    /// The release that ran before.
    pub(crate) before: Option<&'a Release>,
}

/// Files, then commits, then programs, then the push.
pub(crate) fn acts(
    targets: &[Box<dyn Target>],
    changes: &[Change],
    about: &About<'_>,
) -> Result<Vec<Act>, TargetError> {
    let files = changes.iter().flat_map(|change| &change.files).filter(|file| file.is_change());
    let mut acts: Vec<Act> = files.map(|file| Act::File(file.edit())).collect();
    let (commits, push) = commits(targets, changes, about)?;
    acts.extend(commits.into_iter().map(|commit| Act::Commit { commit }));
    for (target, change) in targets.iter().zip(changes) {
        let Some(mut program) = change.program.clone() else { continue };
        let action = |word: &str| {
            [("SHIPLAP_ACTION", word.to_owned()), ("SHIPLAP_DEPLOYMENT", about.sequence.to_string())]
                .map(|(name, value)| (name.to_owned(), value))
        };
        program.call.env.extend(action(about.action.as_str()));
        // A release that the program cannot be told of any more is none to go back to.
        let before = about.before.and_then(|release| target.plan(release).ok()).and_then(|change| change.program);
        let before = before.map(|mut program| {
            program.call.env.extend(action("undo"));
            program.call
        });
        acts.push(Act::Run { run: Run { program, before } });
    }
    acts.extend(push.map(|push| Act::Push { push }));
    Ok(acts)
}

type Repositories<'a> = BTreeMap<PathBuf, (Vec<&'a FileChange>, Vec<GitPush>)>;

fn commits(
    targets: &[Box<dyn Target>],
    changes: &[Change],
    about: &About<'_>,
) -> Result<(Vec<Commit>, Option<Push>), TargetError> {
    let mut repositories = Repositories::new();
    for (target, change) in targets.iter().zip(changes) {
        let git = target.git();
        if !git.commits() {
            continue;
        }
        for file in &change.files {
            let (files, pushes) = repositories.entry(repository_of(&file.path)?).or_default();
            files.push(file);
            pushes.extend(git.push().cloned().filter(|push| !pushes.contains(push)));
        }
    }
    let places: Vec<String> = repositories
        .iter()
        .flat_map(|(repository, (_, pushes))| pushes.iter().map(move |_| repository.display().to_string()))
        .collect();
    if places.len() > 1 {
        return Err(TargetError::TwoPushes(places.join(", ")));
    }
    let (mut commits, mut push) = (Vec::new(), None);
    for (repository, (files, pushes)) in &repositories {
        let Some(commit) = Commit::make(repository, files, &message(about))? else { continue };
        if let Some(settings) = pushes.first() {
            push = Some(Push::plan(&commit, settings)?);
        }
        commits.push(commit);
    }
    Ok((commits, push))
}

/// What the commit says: for people first, and in trailers (git-interpret-trailers(1)) for programs.
fn message(about: &About<'_>) -> String {
    let About { release, before, sequence, .. } = about;
    let verb = match about.action {
        Action::Deploy => "deploy",
        Action::Rollback => "roll back to",
    };
    let from = before.map(|before| format!(", after {}", before.version)).unwrap_or_default();
    let mut text = format!("{}: {verb} {}{from}\n\n", release.instance, release.version);
    if let Some(reason) = about.reason {
        text.push_str(&format!("{}\n\n", reason.trim()));
    }
    text.push_str(&format!("By {}.\n\n", one_line(about.actor)));
    text.push_str(&format!("Shiplap-Instance: {}\n", release.instance));
    text.push_str(&format!("Shiplap-Release: {}\n", release.tag));
    text.push_str(&format!("Shiplap-Deployment: {sequence}\n"));
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
