//! What a release, deploy or rollback tells while it works.

use std::fmt::Display;

/// A step that is about to be taken or was taken. Between two of them at most one thing is made durable, so a test that stops the
/// process at each has seen every state that a crash can leave.
#[derive(Clone, Copy)]
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
    /// A file is about to be written, a branch to be moved, a program to be run, a commit to be pushed.
    Acting(&'a dyn Display),
    /// That is done.
    Acted(&'a dyn Display),
    /// All targets are written and read back; the outcome is about to be recorded.
    RecordingOutcome,
    /// The outcome is recorded.
    OutcomeRecorded,
}

/// For people.
impl Display for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::StoringManifest => f.write_str("store the manifest"),
            Self::RecordingRelease => f.write_str("record the release"),
            Self::ReleaseRecorded => f.write_str("the release is recorded"),
            Self::Journaling => f.write_str("write down what is meant"),
            Self::Journaled => f.write_str("what is meant is written down"),
            Self::Acting(act) => act.fmt(f),
            Self::Acted(act) => write!(f, "done: {act}"),
            Self::RecordingOutcome => f.write_str("record the outcome"),
            Self::OutcomeRecorded => f.write_str("the outcome is recorded"),
        }
    }
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
