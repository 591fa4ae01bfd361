//! The body of a request into a blob that is being written.
//!
//! What came is handed to a thread in pieces, and hashed and written there while the next piece comes. So a transfer holds two pieces in memory and
//! no thread while it waits for its client.

use std::io::Write;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use futures::StreamExt;
use shiplap_cache::BlobWriter;
use tokio::task::JoinHandle;

use super::code;
use super::fault::Fault;

/// How much is written at once.
const PIECE: usize = 512 << 10;

/// What a body may bring.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// The most bytes that the blob may have.
    pub blob: u64,
    /// How many bytes come, where that was said.
    pub announced: Option<u64>,
    /// How long to wait for a byte.
    pub idle: Duration,
}

/// Writes a body to a blob; `note` is told how long it has got. When the body is at fault, what came before is kept: the writer comes back
/// with the error. When the disk is, or the blob is too large, there is no writer.
pub(super) async fn receive(
    writer: BlobWriter,
    body: Body,
    limits: Limits,
    note: impl Fn(u64),
) -> (Option<BlobWriter>, Result<(), Fault>) {
    let mut source = Source { size: writer.size(), stream: body.into_data_stream(), limits, taken: 0 };
    let mut sink = Sink::Idle(writer);
    loop {
        let (piece, end) = source.piece().await;
        let writer = match sink.idle().await {
            Ok(writer) => writer,
            Err(fault) => return (None, Err(fault)),
        };
        note(writer.size());
        sink = if piece.is_empty() { Sink::Idle(writer) } else { Sink::write(writer, piece) };
        if let Some(end) = end {
            let writer = match sink.idle().await {
                Ok(writer) => writer,
                Err(fault) => return (None, Err(fault)),
            };
            note(writer.size());
            return (Some(writer).filter(|_| !source.is_too_large()), end);
        }
    }
}

/// The blob, or the thread that writes to it.
enum Sink {
    Idle(BlobWriter),
    Busy(JoinHandle<std::io::Result<BlobWriter>>),
}

impl Sink {
    fn write(mut writer: BlobWriter, piece: Vec<Bytes>) -> Self {
        Self::Busy(tokio::task::spawn_blocking(move || {
            piece.iter().try_for_each(|bytes| writer.write_all(bytes))?;
            Ok(writer)
        }))
    }

    async fn idle(self) -> Result<BlobWriter, Fault> {
        match self {
            Self::Idle(writer) => Ok(writer),
            Self::Busy(task) => {
                let written = task.await.unwrap_or_else(|e| Err(std::io::Error::other(e)));
                written.map_err(|e| Fault::storage(&e))
            }
        }
    }
}

/// A body, counted.
struct Source {
    stream: BodyDataStream,
    limits: Limits,
    /// What the blob had before.
    size: u64,
    taken: u64,
}

impl Source {
    /// The next piece, and how the body ended, if it did.
    async fn piece(&mut self) -> (Vec<Bytes>, Option<Result<(), Fault>>) {
        let (mut piece, mut len) = (Vec::new(), 0);
        while len < PIECE {
            match self.next().await {
                Ok(Some(bytes)) => {
                    len += bytes.len();
                    piece.push(bytes);
                }
                Ok(None) => return (piece, Some(Ok(()))),
                Err(fault) => return (piece, Some(Err(fault))),
            }
        }
        (piece, None)
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Fault> {
        let cut = |why: String| Fault::new(code::BLOB_UPLOAD_INVALID, format!("the body broke off: {why}"));
        let Ok(next) = tokio::time::timeout(self.limits.idle, self.stream.next()).await else {
            return Err(cut(format!("nothing came for {} seconds", self.limits.idle.as_secs())));
        };
        let Some(bytes) = next.transpose().map_err(|e| cut(e.to_string()))? else {
            return match self.limits.announced {
                Some(announced) if announced != self.taken => Err(self.other_size(announced, self.taken)),
                _ => Ok(None),
            };
        };
        let taken = self.taken + bytes.len() as u64;
        if let Some(announced) = self.limits.announced.filter(|announced| taken > *announced) {
            return Err(self.other_size(announced, taken));
        }
        self.taken = taken;
        if self.is_too_large() {
            return Err(too_large(self.limits.blob));
        }
        Ok(Some(bytes))
    }

    fn is_too_large(&self) -> bool {
        self.size.saturating_add(self.taken) > self.limits.blob
    }

    fn other_size(&self, announced: u64, actual: u64) -> Fault {
        let message = format!(
            "{announced} bytes were announced and {actual} came: ask for the upload's status, and go on from there"
        );
        Fault::new(code::SIZE_INVALID, message)
    }
}

/// A blob has more bytes than are taken.
pub(super) fn too_large(max: u64) -> Fault {
    let message = format!(
        "a blob may have {max} bytes here, and this one has more: raise the registry's limit, or split the layer"
    );
    Fault::new(code::SIZE_INVALID, message).status(axum::http::StatusCode::PAYLOAD_TOO_LARGE)
}
