//! What one client may cost the webhook.

use std::time::Duration;

use super::pace::Share;

/// Bounds on connections, requests and the drain at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// The largest request body, in bytes. A review carries the object twice and the API server stores at most about
    /// 3 MiB of each.
    pub body: usize,
    /// How long one request may take, body included; below the `timeoutSeconds` of the registration, so that our own
    /// answer arrives first.
    pub request: Duration,
    /// How long a body may take from the headers on.
    pub body_time: Duration,
    /// All bodies in memory together, in bytes.
    pub bodies: usize,
    /// From how many bytes on a body is read beside others of its kind on half of the cores only. Reviews of nearly all
    /// StatefulSets are smaller, and never wait for a row of large ones.
    pub large: usize,
    /// Requests that are assessed at once, their bodies complete; more wait.
    pub requests: usize,
    /// How many of them may be of one address.
    pub peer_requests: usize,
    /// What one namespace may ask for in reviews before its answers wait, while others ask too. Some 40 usual reviews a second, which
    /// is 20 writes of our keys.
    pub of_namespace: Share,
    /// What the review of a create counts there besides its bytes: for a new object the API server, the controllers and etcd have
    /// more to do than for a change, and again when it is deleted.
    pub of_create: usize,
    /// How many answers may wait for that at once; more are sent without waiting.
    pub waiting: usize,
    /// Connections at once, past their handshake; for one more the one that has waited for its client longest is closed.
    pub connections: usize,
    /// How many of them may be of one address, unless they have shown a certificate.
    pub peer_connections: usize,
    /// TLS handshakes at once; for one more the oldest is ended, of the address that has most.
    pub handshakes: usize,
    /// How many of them may be of one address.
    pub peer_handshakes: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long a client may take over what it owes: the first request from the handshake, headers from their first byte,
    /// each part of an answer, and the next request as long as none was a valid review.
    pub headers: Duration,
    /// How long a connection may wait for its next request once a valid review was answered on it. Above the 90 s after which Go's
    /// client closes an idle connection itself: a server that closes first can meet a request half-way, and Go does not
    /// repeat a POST.
    pub idle: Duration,
    /// Whether a connection carries more than one request.
    pub reuse: bool,
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
            body_time: Duration::from_secs(2),
            bodies: 48 << 20,
            large: 64 << 10,
            requests: 64,
            peer_requests: 16,
            of_namespace: Share {
                rate: 1 << 20,
                burst: 512 << 10,
                overhead: 16 << 10,
                longest: Duration::from_secs(1),
            },
            of_create: 48 << 10,
            waiting: 64,
            connections: 256,
            peer_connections: 64,
            handshakes: 128,
            peer_handshakes: 32,
            handshake: Duration::from_secs(3),
            headers: Duration::from_secs(5),
            idle: Duration::from_mins(2),
            reuse: true,
            streams: 64,
            drain_delay: Duration::from_secs(3),
            drain: Duration::from_secs(10),
        }
    }
}
