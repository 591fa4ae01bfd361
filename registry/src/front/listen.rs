//! Takes connections, bounds them, and lets them end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::Front;
use super::body::Outgoing;
use super::limits::{HEADERS, HEADERS_2, Limits, SEND_BUFFER, STREAMS, WINDOWS};
use super::origin::Peer;
use super::stall::Stall;

/// How long a connection that was asked to end may take for it.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a silent client of HTTP/2 is asked whether it is there.
const PING: Duration = Duration::from_secs(20);
/// How long to wait when the system has no more files or memory for a connection.
const BREATH: Duration = Duration::from_millis(200);

/// What stands behind a port.
#[derive(Clone)]
struct Service {
    router: Router,
    tls: Option<TlsAcceptor>,
    front: Front,
}

/// Answers on a port until `stop`, then lets running requests end. Gives how many had to be cut off.
pub(super) async fn serve(
    front: &Front,
    router: Router,
    tls: Option<Arc<ServerConfig>>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> usize {
    let service = Service { router, tls: tls.map(TlsAcceptor::from), front: front.clone() };
    let limits = &front.0.limits;
    let places = Arc::new(Semaphore::new(limits.connections));
    let (stopping, stopped) = watch::channel(false);
    let mut open = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => break,
            next = next => next,
        };
        while let Some(ended) = open.try_join_next() {
            report(ended);
        }
        match accepted {
            Ok((stream, address)) => {
                let connection = connection(service.clone(), stream, address, stopped.clone());
                open.spawn(async move {
                    let _place = place;
                    connection.await;
                });
            }
            // The client went away in the queue.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
            }
            Err(error) => {
                tracing::error!("cannot take a connection: {error}");
                sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    let _ = stopping.send(true);
    let drained = timeout(limits.drain, async {
        while let Some(ended) = open.join_next().await {
            report(ended);
        }
    });
    if drained.await.is_ok() {
        return 0;
    }
    let cut = open.len();
    open.shutdown().await;
    cut
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!("a connection ended by a mistake of ours: {error}");
    }
}

async fn connection(service: Service, stream: TcpStream, address: SocketAddr, mut stopped: watch::Receiver<bool>) {
    let _counted = Counted::new(service.front.clone());
    let limits = service.front.0.limits.clone();
    // Answers are written whole; nothing is gained by waiting for more.
    let _ = stream.set_nodelay(true);
    let stream = Stall::new(stream, limits.patience);
    let peer = Peer { address, tls: service.tls.is_some() };
    let Some(tls) = service.tls else { return http(service.router, stream, peer, &limits, stopped).await };
    let shaken = tokio::select! {
        shaken = timeout(limits.handshake, tls.accept(stream)) => shaken,
        _ = stopped.wait_for(|stopped| *stopped) => return,
    };
    match shaken {
        Ok(Ok(stream)) => http(service.router, stream, peer, &limits, stopped).await,
        Ok(Err(error)) => tracing::debug!(remote = %address.ip(), "no TLS: {error}"),
        Err(_) => tracing::debug!(remote = %address.ip(), "no TLS in time"),
    }
}

/// Speaks HTTP/1.1 or HTTP/2, as the client begins.
async fn http<S>(router: Router, stream: S, peer: Peer, limits: &Limits, mut stopped: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Activity::new();
    let begun = activity.clone();
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| {
        let (router, busy) = (router.clone(), begun.begin());
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        async move {
            let response = router.oneshot(request).await;
            response.map(|response| response.map(|body| Outgoing::wrap(body, |_| (), busy)))
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(HEADERS);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING)
        .max_header_list_size(HEADERS_2)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // Once it was asked to end: when it has to.
    let mut ends: Option<Instant> = None;
    let mut leaving = false;
    loop {
        let wake = ends.unwrap_or_else(|| activity.deadline(limits));
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(remote = %peer.address.ip(), "a connection ended early: {error}");
                }
                return;
            }
            _ = stopped.wait_for(|stopped| *stopped), if !leaving => {
                // The drain bounds how long this takes.
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(wake) => {
                if ends.is_some() {
                    return;
                }
                if activity.is_overdue(limits) {
                    connection.as_mut().graceful_shutdown();
                    ends = Some(Instant::now() + FAREWELL);
                }
            }
        }
    }
}

/// Requests on one connection.
#[derive(Clone)]
struct Activity(Arc<Mutex<State>>);

struct State {
    running: usize,
    /// Whether there ever was a request.
    asked: bool,
    /// Since when nothing runs.
    quiet: Instant,
}

impl Activity {
    fn new() -> Self {
        Self(Arc::new(Mutex::new(State { running: 0, asked: false, quiet: Instant::now() })))
    }

    fn begin(&self) -> Busy {
        let mut state = self.lock();
        state.running += 1;
        state.asked = true;
        Busy(self.clone())
    }

    /// When to look whether nothing was asked for too long.
    fn deadline(&self, limits: &Limits) -> Instant {
        let state = self.lock();
        match (state.running, state.asked) {
            (0, false) => state.quiet + limits.header,
            (0, true) => state.quiet + limits.idle,
            _ => Instant::now() + limits.idle,
        }
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let running = self.lock().running;
        running == 0 && self.deadline(limits) <= Instant::now()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request that runs, until its answer was sent.
struct Busy(Activity);

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.running -= 1;
        state.quiet = Instant::now();
    }
}

/// A connection in the metrics.
struct Counted(Front);

impl Counted {
    fn new(front: Front) -> Self {
        front.0.metrics.connections().inc();
        Self(front)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.metrics.connections().dec();
    }
}
