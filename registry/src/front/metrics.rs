//! What a server counts, in the text format of OpenMetrics that Prometheus reads.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// From a manifest that is in memory to a layer over a slow line.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0];

/// The media type of what [`Metrics::text`] gives.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: &'static str,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

/// The counters of a server.
#[derive(Debug)]
pub(super) struct Metrics {
    requests: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram, fn() -> Histogram>,
    received: Counter<u64, AtomicU64>,
    sent: Counter<u64, AtomicU64>,
    refused: Counter,
    running: Gauge,
    connections: Gauge,
    free: Gauge,
    uploads: Gauge,
    registry: Registry,
}

impl Metrics {
    pub fn new() -> Self {
        let seconds: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            received: Counter::default(),
            sent: Counter::default(),
            refused: Counter::default(),
            running: Gauge::default(),
            connections: Gauge::default(),
            free: Gauge::default(),
            uploads: Gauge::default(),
            registry: Registry::with_prefix("shiplap"),
        };
        let build = Family::<Build, Gauge>::default();
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        let Self { registry, requests, seconds, received, sent, refused, running, connections, free, uploads } =
            &mut metrics;
        registry.register("build_info", "The version that runs", build);
        registry.register("http_requests", "Requests that were answered", requests.clone());
        registry.register_with_unit(
            "http_request",
            "From the first byte of a request to the last byte of its answer",
            Unit::Seconds,
            seconds.clone(),
        );
        registry.register_with_unit("http_received", "Bytes of requests' bodies", Unit::Bytes, received.clone());
        registry.register_with_unit("http_sent", "Bytes of answers' bodies", Unit::Bytes, sent.clone());
        registry.register("login_failures", "Names, passwords and tokens that were refused", refused.clone());
        registry.register("http_requests_running", "Requests that are being answered", running.clone());
        registry.register("connections", "Open connections", connections.clone());
        registry.register_with_unit("store_free", "Room on the store's disk", Unit::Bytes, free.clone());
        registry.register("uploads", "Open uploads", uploads.clone());
        metrics
    }

    pub fn began(&self) {
        self.running.inc();
    }

    pub fn ended(&self, method: &'static str, route: &'static str, status: u16, took: Duration) {
        self.running.dec();
        self.requests.get_or_create(&Answered { method, route, status }).inc();
        self.seconds.get_or_create(&Asked { method, route }).observe(took.as_secs_f64());
    }

    pub fn received(&self) -> Counter<u64, AtomicU64> {
        self.received.clone()
    }

    pub fn sent(&self) -> Counter<u64, AtomicU64> {
        self.sent.clone()
    }

    pub fn refused(&self) {
        self.refused.inc();
    }

    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// All of it, as text. `free` is the room on the disk at this moment, `uploads` how many are open.
    pub fn text(&self, free: Option<u64>, uploads: usize) -> String {
        self.uploads.set(i64::try_from(uploads).unwrap_or(i64::MAX));
        self.free.set(free.map_or(-1, |free| i64::try_from(free).unwrap_or(i64::MAX)));
        let mut out = String::new();
        // Writing into a string does not fail.
        let _ = text::encode(&mut out, &self.registry);
        out
    }
}
