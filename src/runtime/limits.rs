//! What one client may cost the webhook.

use std::time::Duration;

/// Bounds on connections, requests and the drain at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The largest request body, in bytes. A review carries the object twice and the API server stores at most about
    /// 3 MiB of each.
    pub body: usize,
    /// How long one request may take, body included; below the `timeoutSeconds` of the registration, so that our own
    /// answer arrives first.
    pub request: Duration,
    /// Requests that are read or assessed at once; more wait.
    pub requests: usize,
    /// Connections at once; more wait in the kernel's queue.
    pub connections: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long the headers of a request may take from their first byte, and the first request from the handshake.
    pub headers: Duration,
    /// How long a connection may wait for its next request. Above the 90 s after which Go's client closes an idle
    /// connection itself: a server that closes first can meet a request half-way, and Go does not repeat a POST.
    pub idle: Duration,
    /// HTTP/2 requests at once on one connection.
    pub streams: u32,
    /// How long connections are still accepted after shutdown was asked for, until the endpoints have forgotten us.
    pub drain_delay: Duration,
    /// How long requests in flight may take after that.
    pub drain: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            body: 7 << 20,
            request: Duration::from_secs(4),
            requests: 64,
            connections: 512,
            handshake: Duration::from_secs(5),
            headers: Duration::from_secs(10),
            idle: Duration::from_mins(2),
            streams: 64,
            drain_delay: Duration::from_secs(3),
            drain: Duration::from_secs(10),
        }
    }
}
