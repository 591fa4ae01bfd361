//! What is written in a thread, as a body that is sent meanwhile.

use std::io::{self, Write};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::mpsc;

/// How much is sent at once.
const PIECE: usize = 256 << 10;
/// How many pieces may wait to be sent.
const WAITING: usize = 4;

/// The bytes that `write` writes. It runs in a thread that may wait, and ends early when nobody reads any more; when it fails, so does the body.
pub(super) fn stream(
    write: impl FnOnce(&mut dyn Write) -> crate::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let (sender, mut receiver) = mpsc::channel(WAITING);
    let _running = tokio::task::spawn_blocking(move || {
        let mut out = Sender { sender, piece: Vec::with_capacity(PIECE) };
        if let Err(error) = write(&mut out).and_then(|()| out.flush().map_err(closed)) {
            // Nobody may be there to hear it.
            let _ = out.sender.blocking_send(Err(io::Error::other(error)));
        }
    });
    futures::stream::poll_fn(move |context| receiver.poll_recv(context))
}

fn closed(source: io::Error) -> crate::Error {
    crate::Error::Io { what: "send", path: "an image".into(), source }
}

struct Sender {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: Vec<u8>,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..taken]);
        if self.piece.len() == PIECE {
            self.flush()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        self.sender.blocking_send(Ok(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn all_bytes_come_in_order() {
        let wanted: Vec<u8> = (0..PIECE * 3 + 17).map(|n| (n % 251) as u8).collect();
        let written = wanted.clone();
        let stream = stream(move |out| out.write_all(&written).map_err(closed));
        let pieces: Vec<_> = stream.map(Result::unwrap).collect().await;
        assert_eq!(pieces.concat(), wanted);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_writer_that_fails_breaks_the_body_off() {
        let mut stream = Box::pin(stream(|out| {
            out.write_all(b"some").map_err(closed)?;
            Err(crate::Error::Exists("x".into()))
        }));
        let error = stream.next().await.unwrap().unwrap_err();
        assert!(error.to_string().contains("exists already"), "{error}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_writer_ends_when_nobody_reads() {
        let (tell, told) = tokio::sync::oneshot::channel();
        let mut stream = Box::pin(stream(move |out| {
            let ended = loop {
                if let Err(error) = out.write_all(&[0; PIECE]) {
                    break error;
                }
            };
            let _ = tell.send(ended.kind());
            Ok(())
        }));
        stream.next().await.unwrap().unwrap();
        drop(stream);
        assert_eq!(told.await.unwrap(), io::ErrorKind::BrokenPipe);
    }
}
