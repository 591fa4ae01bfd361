//! What a release, deploy or rollback tells while it works.

use std::path::Path;

/// A step that is about to be taken or was taken. Between two of them at most one thing is made durable, so a test that stops the
/// process at each has seen every state that a crash can leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// A release's manifest is about to be stored.
    StoringManifest,
    /// The manifest is stored; the release is about to become visible.
    RecordingRelease,
    /// The release is visible.
    ReleaseRecorded,
    /// Everything is checked and planned; the intention is about to be recorded.
    Journaling,
    /// The intention is recorded; from here on the deployment is finished or undone.
    Journaled,
    /// A file is about to be written.
    Writing(&'a Path),
    /// The file is written.
    Written(&'a Path),
    /// All targets are written and read back; the outcome is about to be recorded.
    RecordingOutcome,
    /// The outcome is recorded.
    OutcomeRecorded,
}

/// Is told of each step.
pub trait Observer {
    /// The next step.
    fn progress(&self, step: Progress<'_>);
}

/// Does nothing with it.
impl Observer for () {
    fn progress(&self, _step: Progress<'_>) {}
}

impl<F: Fn(Progress<'_>)> Observer for F {
    fn progress(&self, step: Progress<'_>) {
        self(step);
    }
}
