//! The messages between the caller and the processes of a step: a length, then JSON.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::Failure;

/// What the processes of a step tell the caller.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// Something that had to be done around the step failed.
    Failed(Failure),
    /// The step's program could not be executed.
    NotStarted {
        /// The exit code that a shell gives for it: 126 or 127.
        code: i32,
        /// Why.
        message: String,
    },
    /// The step's calls are told to the descriptor that comes with this message.
    Traced,
    /// The served tree of this number is mounted: its device comes with this message.
    Served(usize),
    /// The step's calls cannot be told; why.
    Untraced(String),
    /// The step ended with this code.
    Exited(i32),
    /// The step was killed by this signal.
    Signalled(i32),
    /// The tree is in its final state.
    Finished,
}

/// One message ready to send.
pub(super) fn frame(message: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Sends one message; the caller being gone is no error, for then nobody wants to know.
pub(super) fn report(mut control: &UnixStream, message: &Report) {
    if let Ok(bytes) = frame(message) {
        let _ = control.write_all(&bytes);
    }
}

/// Sends one message with a descriptor (unix(7), `SCM_RIGHTS`).
pub(super) fn report_with(control: &UnixStream, message: &Report, descriptor: &OwnedFd) {
    let Ok(bytes) = frame(message) else { return };
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor.as_fd()];
    with.push(SendAncillaryMessage::ScmRights(&descriptors));
    // A message is far smaller than what a socket takes at once.
    let _ = sendmsg(control, &[IoSlice::new(&bytes)], &mut with, SendFlags::empty());
}

/// Receives bytes, and the descriptor that came with them, if one did.
pub(super) fn receive(control: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut with = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(control, &mut [IoSliceMut::new(buffer)], &mut with, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = with.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, descriptor))
}

/// Reads one message.
pub(super) fn read<T: DeserializeOwned>(mut from: impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_le_bytes(length) as usize];
    from.read_exact(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// Takes all whole messages off the front of `bytes`; a sender killed in the middle of one leaves a rest that counts for nothing.
pub(super) fn take_all(bytes: &mut Vec<u8>) -> Vec<Report> {
    let mut reports = Vec::new();
    let mut rest = bytes.as_slice();
    let mut taken = 0;
    while let Ok(report) = read(&mut rest) {
        reports.push(report);
        taken = bytes.len() - rest.len();
    }
    bytes.drain(..taken);
    reports
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_messages_survive_a_torn_one() {
        let mut bytes = frame(&Report::Exited(3)).unwrap();
        bytes.extend(frame(&Report::Finished).unwrap());
        let torn = frame(&Report::Signalled(9)).unwrap();
        bytes.extend(&torn[..torn.len() - 1]);
        let reports = take_all(&mut bytes);
        assert!(matches!(reports[..], [Report::Exited(3), Report::Finished]));
        // And it is whole once the rest has come.
        bytes.push(torn[torn.len() - 1]);
        assert!(matches!(take_all(&mut bytes)[..], [Report::Signalled(9)]));
        assert!(bytes.is_empty());
    }
}
