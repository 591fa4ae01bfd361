//! Bodies that are watched on their way.

use std::any::Any;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::{BoxError, Error};
use http_body::{Frame, SizeHint};

use super::patience::Patience;

/// What a client sends: counted, and cut off when it comes too slowly.
pub(super) struct Incoming<F> {
    body: Body,
    patience: Patience,
    count: F,
}

impl<F: Fn(usize) + Send + Unpin + 'static> Incoming<F> {
    pub fn wrap(body: Body, patience: Duration, count: F) -> Body {
        Body::new(Self { body, patience: Patience::new(patience), count })
    }
}

impl<F: Fn(usize) + Unpin> HttpBody for Incoming<F> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Pending => this.patience.waits(cx).map(|()| Some(Err(Error::new(too_slow())))),
            Poll::Ready(frame) => {
                let bytes = frame.as_ref().and_then(|f| f.as_ref().ok()?.data_ref().map(Bytes::len)).unwrap_or(0);
                this.patience.moved(bytes);
                (this.count)(bytes);
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn too_slow() -> BoxError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, "the client sends too slowly").into()
}

/// What a client is sent: counted, and something that lives as long as it.
pub(super) struct Outgoing<F: FnMut(usize), T = ()> {
    body: Body,
    count: F,
    _held: T,
}

impl<F: FnMut(usize) + Send + Unpin + 'static, T: Any + Send + Unpin> Outgoing<F, T> {
    pub fn wrap(body: Body, count: F, held: T) -> Body {
        Body::new(Self { body, count, _held: held })
    }
}

impl<F: FnMut(usize) + Unpin, T: Unpin> HttpBody for Outgoing<F, T> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            (this.count)(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
