//! The socket through which a step reaches an SSH agent: of the owner and mode that the mount names, whoever owns the agent's
//! own. Bytes alone go through it, so no descriptor reaches a step this way.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use shiplap_cache::Store;

use super::error::StepError;
use crate::plan::FileOwner;

/// A socket that is there until it is dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    folder: tempfile::TempDir,
    listener: UnixListener,
}

impl Relay {
    /// Opens a socket of this owner for the agent behind another.
    pub(crate) fn start(store: &Store, agent: &Path, owner: FileOwner) -> Result<Self, StepError> {
        let folder = store.temporary()?;
        let at = folder.path().join("agent");
        let listener = listen(folder.path(), &at, owner).map_err(|source| StepError::Io {
            what: "make the socket",
            path: at.clone(),
            source,
        })?;
        let relay = Relay { folder, listener };
        let (accepting, agent) = (relay.listener.try_clone(), agent.to_owned());
        let started = accepting.and_then(|accepting| {
            std::thread::Builder::new().name("ssh agent".to_owned()).spawn(move || accept(&accepting, &agent))
        });
        started.map_err(|source| StepError::Io { what: "listen at", path: at, source })?;
        Ok(relay)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("agent")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // It wakes the thread that waits for steps, whose next accept(2) fails.
        let _ = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

fn listen(folder: &Path, at: &Path, owner: FileOwner) -> io::Result<UnixListener> {
    let open = rustix::fs::open(folder, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    // The name of a socket has 107 bytes at most, and a store may be deeper.
    let listener = UnixListener::bind(format!("/proc/self/fd/{}/agent", open.as_raw_fd()))?;
    chown(at, Some(owner.uid), Some(owner.gid))?;
    std::fs::set_permissions(at, std::fs::Permissions::from_mode(owner.mode))?;
    Ok(listener)
}

fn accept(listener: &UnixListener, agent: &Path) {
    for step in listener.incoming() {
        let Ok(step) = step else { return };
        // Where the agent is gone, the step sees its socket closed, as it would without us.
        let Ok(agent) = UnixStream::connect(agent) else { continue };
        let _ = forward(step, agent);
    }
}

/// Passes bytes both ways, on threads that end with the connection.
fn forward(step: UnixStream, agent: UnixStream) -> io::Result<()> {
    for (mut from, mut to) in [(step.try_clone()?, agent.try_clone()?), (agent, step)] {
        std::thread::Builder::new().name("ssh agent".to_owned()).spawn(move || {
            let _ = io::copy(&mut from, &mut to);
            let _ = to.shutdown(Shutdown::Write);
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn what_is_said_reaches_the_agent_and_its_answer_the_step() {
        let folder = tempfile::tempdir().unwrap();
        // Deeper than the name of a socket may be long.
        let store = Store::open(&folder.path().join("deep/".repeat(30))).unwrap();
        let agent = UnixListener::bind(folder.path().join("agent")).unwrap();
        let owner = FileOwner { uid: 0, gid: 0, mode: 0o640 };
        let relay = Relay::start(&store, &folder.path().join("agent"), owner).unwrap();
        assert_eq!(std::fs::metadata(relay.path()).unwrap().mode() & 0o7777, 0o640);

        let near = folder.path().join("near");
        std::os::unix::fs::symlink(relay.path(), &near).unwrap();
        let mut step = UnixStream::connect(&near).unwrap();
        step.write_all(b"question").unwrap();
        step.shutdown(Shutdown::Write).unwrap();
        let (mut there, _) = agent.accept().unwrap();
        let mut heard = String::new();
        there.read_to_string(&mut heard).unwrap();
        there.write_all(b"answer").unwrap();
        drop(there);
        let mut answer = String::new();
        step.read_to_string(&mut answer).unwrap();
        assert_eq!((heard.as_str(), answer.as_str()), ("question", "answer"));

        drop(relay);
        assert!(UnixStream::connect(&near).is_err());
    }
}
