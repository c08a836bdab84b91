//! The webhook as an HTTP service.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::Response,
    routing::post,
};
use jiff::Timestamp;
use rustls::ServerConfig;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    AdmissionMetrics, Entry,
    answer::{Answer, Failure, Outcome, answer, failed},
    reply,
    review::{self, Malformed, Operation},
    trace,
};
use crate::{
    defrag::policy::PolicySnapshot,
    runtime::{
        bodies::{Bodies, Share, Unread},
        capacity::Resource,
        clock::Clock,
        cores::Cores,
        holding::Holding,
        limits::ServerLimits,
        listen::{self, ValidRequest},
        pace::Pace,
        peer::{Client, HangUp},
        slots::Slots,
    },
};

/// Everything that an answer needs besides its request.
#[derive(Clone)]
pub struct Admission {
    /// The policies now in force, and the namespaces that they select by.
    pub snapshots: watch::Receiver<Arc<PolicySnapshot>>,
    /// The time of an assessment.
    pub clock: Clock,
    /// What is counted.
    pub metrics: AdmissionMetrics,
    cores: Cores,
    /// Half of them, for bodies from `ServerLimits::large` on.
    cores_for_large: Cores,
    limits: ServerLimits,
    bodies: Bodies,
    slots: Slots,
    pace: Pace,
    waiting: Arc<Semaphore>,
}

impl Admission {
    /// Admission under the policies of a cluster, by the system's clock.
    #[must_use]
    pub fn new(
        snapshots: watch::Receiver<Arc<PolicySnapshot>>,
        metrics: AdmissionMetrics,
        limits: &ServerLimits,
        cores: Cores,
    ) -> Self {
        let capacity = &metrics.listener.capacity;
        Self {
            snapshots,
            clock: Arc::new(Timestamp::now),
            bodies: Bodies::new(limits.bodies, capacity.meter(Resource::BodyBytes, limits.bodies)),
            slots: Slots::new(limits.requests, limits.peer_requests, capacity.meter(Resource::Slots, limits.requests)),
            pace: Pace::new(limits.of_namespace),
            waiting: Arc::new(Semaphore::new(limits.waiting)),
            metrics,
            cores_for_large: cores.half(),
            cores,
            limits: limits.clone(),
        }
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }
}

/// The service without a socket.
pub fn router(admission: &Admission) -> Router {
    let router = Entry::ALL.into_iter().fold(Router::new(), |router, entry| {
        let admission = admission.clone();
        router.route(entry.path(), post(move |request| serve(admission, entry, request)))
    });
    router
        .method_not_allowed_fallback(|| async {
            status(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "only POST is supported here".to_owned())
        })
        .fallback(|| async {
            let paths = Entry::ALL.map(Entry::path).join(", ");
            status(StatusCode::NOT_FOUND, "NotFound", format!("there is nothing at this path; send reviews to {paths}"))
        })
}

/// Serves reviews over TLS until `shutdown` is cancelled and the drain has ended.
///
/// # Errors
/// None while it runs; failures to accept are logged and tried again.
pub async fn run(
    listener: TcpListener,
    admission: Admission,
    tls: Arc<ServerConfig>,
    limits: ServerLimits,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let metrics = admission.metrics.listener.clone();
    listen::listen(listener, Some(tls), router(&admission), limits, metrics, shutdown).await;
    Ok(())
}

async fn serve(admission: Admission, entry: Entry, request: Request) -> Response {
    let started = Instant::now();
    let trace = trace::id(request.headers());
    let (response, outcome, findings) = match respond(&admission, entry, request, started).await {
        Ok((answer, share)) => {
            log(entry, &answer, trace.as_deref(), started.elapsed());
            let mut response = match answer.response.encode() {
                Ok(body) => json(StatusCode::OK, body).map(|body| Holding::body(body, share)),
                Err(error) => status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", error.to_string()),
            };
            if answer.outcome != Outcome::Unreadable {
                response.extensions_mut().insert(ValidRequest);
            }
            (response, answer.outcome, answer.findings)
        }
        Err((code, reason, message)) => {
            tracing::warn!(%entry, trace_id = trace, code = code.as_u16(), reason = message, "not an admission review");
            (status(code, reason, message), Outcome::Malformed, Vec::new())
        }
    };
    admission.metrics.reviewed(entry, outcome, &findings, started.elapsed());
    response
}

type Rejection = (StatusCode, &'static str, String);

/// The answer, and the part of the budget that it keeps until it is sent.
async fn respond(
    admission: &Admission,
    entry: Entry,
    request: Request,
    started: Instant,
) -> Result<(Answer, Option<Share>), Rejection> {
    let Admission { limits, bodies, slots, .. } = admission;
    let client = request.extensions().get::<Client>().copied();
    let deadline = started + limits.request;
    let body_deadline = deadline.min(started + limits.body_time);
    let hang_up = request.extensions().get::<HangUp>().cloned().unwrap_or_default();
    let body = bodies.read(request.into_body(), (client, hang_up), limits.body, body_deadline).await;
    let body = body.map_err(|unread| rejection(unread, limits))?;
    // Only what is complete takes a slot: whoever stalls is in nobody's way.
    let slot = tokio::select! {
        slot = timeout_at(deadline, slots.acquire(client.and_then(Client::capped))) => slot.ok().flatten(),
        () = body.evicted() => None,
    };
    let Some(slot) = slot.filter(|_| body.stay()) else {
        slots.turned_away();
        let message = format!("{} requests are in progress already; try again", limits.requests);
        return Err((StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message));
    };
    let snapshot = Arc::clone(&admission.snapshots.borrow());
    let clock = Arc::clone(&admission.clock);
    let known_uid = Arc::new(OnceLock::new());
    // A review is read and assessed where that delays nobody, and what is large is freed there too. A panic ends in an
    // answer, and an assessment that outlives its request keeps its slot until it is through.
    let bytes = body.len();
    let cores = if bytes < limits.large { &admission.cores } else { &admission.cores_for_large };
    let assessment = cores.run({
        let known_uid = Arc::clone(&known_uid);
        move || {
            let (uid, review) = review::read(&body)?;
            let mut answer = answer(entry, known_uid.get_or_init(|| uid), review, &snapshot, clock());
            if let Some(request) = &mut answer.request {
                (request.object, request.old_object) = (None, None);
            }
            drop(slot);
            Ok::<_, Malformed>((answer, body.into_answer()))
        }
    });
    let (failure, error) = match timeout_at(deadline, assessment).await {
        Ok(Ok(Ok((answer, share)))) => {
            wait_its_turn(admission, &answer, client, bytes, deadline).await;
            share.answered();
            return Ok((answer, Some(share)));
        }
        Ok(Ok(Err(malformed))) => return Err((StatusCode::BAD_REQUEST, "BadRequest", malformed.to_string())),
        Ok(Err(error)) => (Failure::Panicked, error.to_string()),
        Err(elapsed) => (Failure::TimedOut, elapsed.to_string()),
    };
    let uid = known_uid.get();
    tracing::error!(%entry, uid, error, limit = ?admission.limits.request, "a review was not assessed: {failure:?}");
    let uid = uid.ok_or_else(|| {
        let message = "this review was not read in time, since other reviews were first; try again".to_owned();
        (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    })?;
    Ok((failed(entry, uid, failure), None))
}

/// Waits where the request's namespace asks for more than its share. The slot is free again, and most of the memory; a connection is
/// held meanwhile, so only so many answers wait at once.
async fn wait_its_turn(
    admission: &Admission,
    answer: &Answer,
    client: Option<Client>,
    bytes: usize,
    deadline: Instant,
) {
    let request = answer.request.as_ref();
    let namespace = request.map_or("", |request| request.namespace.as_str());
    let creates = request.is_some_and(|request| request.operation == Operation::Create);
    let cost = if creates { bytes + admission.limits.of_create } else { bytes };
    let wait = admission.pace.wait(namespace, &client.and_then(Client::capped), cost, Instant::now());
    if wait.is_zero() {
        return;
    }
    if let Ok(_place) = admission.waiting.try_acquire() {
        admission.metrics.paced();
        sleep_until(deadline.min(Instant::now() + wait)).await;
    }
}

fn rejection(unread: Unread, limits: &ServerLimits) -> Rejection {
    match unread {
        Unread::TooLarge => {
            let message =
                format!("the body exceeds {} bytes, more than the API server can send for a StatefulSet", limits.body);
            (StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
        }
        Unread::TooSlow => {
            let message = format!("the body was not complete within {:?}", limits.request.min(limits.body_time));
            (StatusCode::REQUEST_TIMEOUT, "Timeout", message)
        }
        Unread::NoRoom => {
            let message = format!(
                "request bodies use all of the {} bytes that they may use together, most of them from this address; try again",
                limits.bodies
            );
            (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
        }
        Unread::Broken(error) => (StatusCode::BAD_REQUEST, "BadRequest", format!("the body ended early: {error}")),
    }
}

fn log(entry: Entry, answer: &Answer, trace_id: Option<&str>, took: Duration) {
    let uid = &answer.response.uid;
    let request = answer.request.as_ref();
    let namespace = request.map_or("", |request| &request.namespace);
    let name = request.map_or("", |request| &request.name);
    let operation = request.map_or("", |request| request.operation.as_str());
    let dry_run = request.is_some_and(|request| request.dry_run);
    let outcome = answer.outcome.as_str();
    let reason = answer.response.status.as_ref().and_then(|status| status.message.as_deref()).unwrap_or_default();
    if answer.response.allowed {
        tracing::debug!(%entry, uid, trace_id, outcome, namespace, name, operation, dry_run, ?took, "reviewed");
    } else {
        tracing::info!(%entry, uid, trace_id, outcome, namespace, name, operation, dry_run, ?took, reason, "refused");
    }
}

fn status(code: StatusCode, reason: &str, message: String) -> Response {
    json(code, serde_json::to_vec(&reply::failure(code.as_u16(), reason, message)).unwrap_or_default())
}

fn json(code: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
