//! What a deployment does, one after the other: files, commits, programs, a push. Each is in the journal before it is done.
//!
//! A file and a branch are on one side of their change or the other, and can be put back on either. What a program or a push did is not seen and not taken
//! back: so they come last, a program is run again with what is to be, and there is at most one push, at the very end.

mod commit;
pub(crate) mod plan;
pub(crate) mod program;
mod push;

use std::fmt;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

pub(crate) use commit::Commit;
pub(crate) use program::Run;
pub(crate) use push::Push;

use crate::history::Lock;
use crate::target::{Edit, Side, TargetError};

/// One thing that a deployment does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Act {
    /// Writes a file. In a journal it stands as it did when there was nothing else.
    File(Edit),
    /// Moves a branch to a commit that is made already.
    Commit { commit: Commit },
    /// Runs a program.
    Run { run: Run },
    /// Pushes a commit.
    Push { push: Push },
}

impl Act {
    /// Whether it can still be done.
    pub(crate) fn ready(&self) -> Result<(), TargetError> {
        match self {
            Self::File(edit) => match edit.side()? {
                Side::Neither => Err(TargetError::Changed(edit.path.clone())),
                _ => edit.sweep(),
            },
            Self::Commit { commit } => match commit.side()? {
                Side::Neither => Err(commit.moved()),
                _ => Ok(()),
            },
            Self::Run { .. } | Self::Push { .. } => Ok(()),
        }
    }

    /// Does it, unless it is seen to be done.
    pub(crate) fn forward(&self, lock: &Lock) -> Result<(), TargetError> {
        let _shared = share(lock)?;
        match self {
            Self::File(edit) => edit.forward(),
            Self::Commit { commit } => commit.forward(),
            Self::Run { run } => run.forward(),
            Self::Push { push } => push.forward(),
        }
    }

    /// Takes it back. `begun` says whether it was begun, as far as is known. What is left as it is comes back in words.
    pub(crate) fn backward(&self, begun: bool, lock: &Lock) -> Result<Option<String>, TargetError> {
        let _shared = share(lock)?;
        match self {
            Self::File(edit) => match edit.side()? {
                Side::Neither => Ok(Some(format!("{} is left as someone else wrote it", edit.path.display()))),
                _ => edit.backward().map(|()| None),
            },
            Self::Commit { commit } => commit.backward(),
            Self::Run { run } if begun => run.backward(),
            Self::Push { push } if begun => Ok(push.left()),
            Self::Run { .. } | Self::Push { .. } => Ok(None),
        }
    }

    /// Whether nothing comes back from it.
    pub(crate) fn is_push(&self) -> bool {
        matches!(self, Self::Push { .. })
    }

    /// What is to be said of it when a process died that was to do it.
    pub(crate) fn doubt(&self) -> Option<String> {
        match self {
            Self::Run { run } => Some(format!("it is not known whether `{run}` had run, so it was run again")),
            _ => None,
        }
    }
}

/// What is started meanwhile holds the lock too: when this process is killed, nobody recovers before a program that it started has ended.
fn share(lock: &Lock) -> Result<OwnedFd, TargetError> {
    lock.share().map_err(|e| TargetError::Program { command: "dup".to_owned(), why: e.to_string() })
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(edit) => write!(f, "write {}", edit.path.display()),
            Self::Commit { commit } => write!(f, "commit to {commit}"),
            Self::Run { run } => write!(f, "run {run}"),
            Self::Push { push } => write!(f, "push to {push}"),
        }
    }
}
