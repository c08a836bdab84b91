//! Reviews as bytes through the router, without a socket.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    http::{Method, Request, StatusCode},
};
use etcd_defrag_webhook::{
    admission::{
        AdmissionMetrics, Entry, reply,
        server::{Admission, router},
    },
    defrag::{
        finding::{Code, Finding},
        keys::Key,
        policy::PolicySnapshot,
        statefulset::StatefulSet,
    },
    runtime::{cores::Cores, limits::ServerLimits},
};
use http_body_util::BodyExt;
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::watch, time::advance};
use tower::ServiceExt;

use crate::{
    client::{Gate, quick},
    fixtures::{UID, annotated, etcd, review, set, with},
};

/// Admission under the built-in policy at the epoch.
pub(crate) fn admission(limits: &ServerLimits, metrics: AdmissionMetrics) -> Admission {
    admission_under(PolicySnapshot::default(), limits, metrics)
}

fn admission_under(snapshot: PolicySnapshot, limits: &ServerLimits, metrics: AdmissionMetrics) -> Admission {
    let (_, snapshot) = watch::channel(Arc::new(snapshot));
    Admission::new(snapshot, metrics, limits, Cores::of_runtime(2)).with_clock(Arc::new(|| Timestamp::UNIX_EPOCH))
}

fn service() -> Router {
    router(&admission(&quick(), AdmissionMetrics::default()))
}

async fn call(service: Router, method: Method, path: &str, body: Body) -> (StatusCode, Value) {
    let request = Request::builder().method(method).uri(path).body(body).unwrap();
    let response = service.oneshot(request).await.unwrap();
    let status = response.status();
    assert_eq!(response.headers()["content-type"], "application/json");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

async fn post(entry: Entry, body: impl Into<Body>) -> (StatusCode, Value) {
    call(service(), Method::POST, entry.path(), body.into()).await
}

/// The response to a review that must be answered under the request's uid.
async fn answer(entry: Entry, review: &Value) -> Value {
    answer_under(&PolicySnapshot::default(), entry, review).await
}

/// The same under the policies of a cluster.
pub(crate) async fn answer_under(snapshot: &PolicySnapshot, entry: Entry, review: &Value) -> Value {
    let service = router(&admission_under(snapshot.clone(), &quick(), AdmissionMetrics::default()));
    let (status, mut answer) = call(service, Method::POST, entry.path(), review.to_string().into()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], UID);
    answer["response"].take()
}

#[tokio::test]
async fn a_create_is_filled_in_judged_and_accepted() {
    let object = etcd();
    let mutated = answer(Entry::Mutate, &review("CREATE", "", object.clone(), json!(null))).await;
    assert_eq!(mutated["allowed"], true);
    assert_eq!(mutated["patchType"], "JSONPatch");
    let patch: k8s_openapi::ByteString = serde_json::from_value(mutated["patch"].clone()).unwrap();
    let patch: json_patch::Patch = serde_json::from_slice(&patch.0).unwrap();
    let mut result = object;
    json_patch::patch(&mut result, &patch).unwrap();
    assert_eq!(result["metadata"]["annotations"]["etcd-defrag.io/schedule"], "0 0 * * *");

    let again = answer(Entry::Mutate, &review("CREATE", "", result.clone(), json!(null))).await;
    assert_eq!(again, json!({"uid": UID, "allowed": true}));
    let validated = answer(Entry::Validate, &review("CREATE", "", result, json!(null))).await;
    assert_eq!(validated["allowed"], true, "{validated}");
}

#[tokio::test]
async fn a_refusal_has_a_cause_for_each_finding_and_reads_well() {
    let object = annotated(&[("etcd-defrag.io/shedule", "0 0 * * *"), ("etcd-defrag.io/suspend", "yes")]);
    for (operation, sub_resource, old) in
        [("CREATE", "", json!(null)), ("UPDATE", "", etcd()), ("UPDATE", "status", etcd())]
    {
        let refused = answer(Entry::Validate, &review(operation, sub_resource, object.clone(), old)).await;
        assert_eq!(refused["allowed"], false);
        let status = &refused["status"];
        assert_eq!((&status["code"], &status["reason"]), (&json!(422), &json!("Invalid")));
        assert_eq!(status["details"]["name"], "kamaji-etcd");
        assert_eq!(status["details"]["group"], "apps");
        assert_eq!(status["details"]["kind"], "StatefulSet");
        let mut fields: Vec<&str> = status["details"]["causes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|cause| cause["field"].as_str().unwrap())
            .collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            ["metadata.annotations[etcd-defrag.io/shedule]", "metadata.annotations[etcd-defrag.io/suspend]"]
        );
    }
}

#[test]
fn the_words_of_a_refusal() {
    let object: StatefulSet = serde_json::from_value(etcd()).unwrap();
    let finding = |code, key: Key, message: &str| Finding::new(code, key.field(), "", message);
    let one = [finding(Code::ScheduleNeverFires, Key::Schedule, "February has no 31st. Write \"0 0 28 2 *\".")];
    insta::assert_snapshot!(serde_json::to_string_pretty(&reply::invalid(&object, &one)).unwrap());
    let two = [
        one[0].clone(),
        finding(Code::QuotaUnknown, Key::Quota, "No quota can be seen. Write it here, such as \"8Gi\"."),
    ];
    insta::assert_snapshot!(reply::invalid(&object, &two).message.unwrap());
    let many = vec![one[0].clone(); 5000];
    let status = reply::invalid(&object, &many);
    assert_eq!(status.details.unwrap().causes.unwrap().len(), 33);
    assert!(status.message.unwrap().ends_with("* metadata.annotations: 4968 further findings are not shown"));
}

#[tokio::test]
async fn what_is_no_review_gets_a_clear_error() {
    let sound = review("CREATE", "", etcd(), json!(null));
    let but = |pointer: &str, value: Value| {
        let mut changed = sound.clone();
        set(&mut changed, pointer, value);
        changed.to_string().into_bytes()
    };
    let mut twice = sound.to_string();
    twice.truncate(twice.len() - 1);
    twice.push_str(",\"request\":{\"uid\":\"x\"}}");
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("empty", vec![]),
        ("blanks", b" \n".to_vec()),
        ("text", b"hello".to_vec()),
        ("cut off", sound.to_string().into_bytes()[..200].to_vec()),
        ("trailing", format!("{sound} x").into_bytes()),
        ("two requests", twice.into_bytes()),
        ("a list", b"[\"admission.k8s.io/v1\",\"AdmissionReview\",{\"uid\":\"x\"}]".to_vec()),
        ("a number", b"42".to_vec()),
        ("not UTF-8", [b"{\"kind\":\"".as_slice(), &[0xff, 0xfe], b"\"}"].concat()),
        ("UTF-16", "{\"kind\":1}".encode_utf16().flat_map(u16::to_le_bytes).collect()),
        ("deep lists", vec![b'['; 200_000]),
        ("deep objects", "{\"request\":".repeat(100_000).into_bytes()),
        ("deep uid", format!("{{\"request\":{{\"uid\":{}", "[".repeat(100_000)).into_bytes()),
        ("no members", b"{}".to_vec()),
        ("another kind", but("/kind", json!("Pod"))),
        ("a long kind", but("/kind", json!("P".repeat(10_000)))),
        ("a kind of another type", but("/kind", json!(7))),
        ("an old version", but("/apiVersion", json!("admission.k8s.io/v1beta1"))),
        ("no request", but("/request", json!(null))),
        ("a request of another type", but("/request", json!("x"))),
        ("no uid", but("/request/uid", json!(null))),
        ("an empty uid", but("/request/uid", json!(""))),
        ("a uid of another type", but("/request/uid", json!({}))),
    ];
    let mut lines = String::new();
    for (what, body) in cases {
        for entry in Entry::ALL {
            let (status, answer) = post(entry, body.clone()).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{what}");
            assert_eq!(answer["kind"], "Status");
            assert_eq!((&answer["status"], &answer["code"]), (&json!("Failure"), &json!(400)));
            if entry == Entry::Validate {
                lines.push_str(&format!("{what}: {}\n", answer["message"].as_str().unwrap()));
            }
        }
    }
    insta::assert_snapshot!(lines);
}

/// Nothing that has a uid is left to the failure policy.
#[tokio::test]
async fn what_cannot_be_judged_is_still_answered() {
    let sound = review("UPDATE", "", etcd(), etcd());
    let cases = [
        ("no operation", "/request/operation", json!(null)),
        ("no resource", "/request/resource", json!(null)),
        ("no object", "/request/object", json!(null)),
        ("an object of another type", "/request/object", json!("text")),
        ("metadata of another type", "/request/object/metadata", json!(3)),
        ("labels that are numbers", "/request/object/metadata/labels", json!({"etcd-defrag.io/enabled": true})),
        ("too many replicas", "/request/object/spec/replicas", json!(2_147_483_648_u64)),
        ("containers of another type", "/request/object/spec/template/spec/containers", json!({})),
        ("a long text in place of a number", "/request/object/spec/replicas", json!("x".repeat(10_000))),
        ("an old object of another type", "/request/oldObject", json!([1])),
    ];
    let mut lines = String::new();
    for (what, pointer, value) in cases {
        let mut changed = sound.clone();
        set(&mut changed, pointer, value);
        let refused = answer(Entry::Validate, &changed).await;
        let status = answer(Entry::Status, &changed).await;
        assert_eq!(status["allowed"], refused["allowed"], "{what}");
        for entry in Entry::ALL.into_iter().filter(|entry| !entry.fails_closed()) {
            let allowed = answer(entry, &changed).await;
            assert_eq!(allowed["allowed"], true, "{what}");
            if refused["allowed"] == false {
                assert!(allowed["warnings"][0].as_str().unwrap().chars().count() <= 120, "{what}");
            }
        }
        let message = refused["status"]["message"].as_str().unwrap_or("accepted");
        lines.push_str(&format!("{what}: {message}\n"));
    }
    insta::assert_snapshot!(lines);
}

#[tokio::test]
async fn odd_objects_get_a_sound_answer() {
    let long = "n".repeat(253);
    let typos: serde_json::Map<String, Value> =
        (0..5000).map(|number| (format!("etcd-defrag.io/shedule-or-something-{number}"), json!(""))).collect();
    let odd = [
        with("/spec/template/spec/containers", json!([])),
        with(
            "/spec/template/spec/containers",
            json!(vec![etcd()["spec"]["template"]["spec"]["containers"][0].clone(); 10]),
        ),
        with("/spec/template/spec/containers/0/env", json!([{"name": "POD_NAME", "value": "$(POD_NAME)$(POD_NAME)"}])),
        with("/spec/replicas", json!(i32::MAX)),
        with("/spec/replicas", json!(-1)),
        with("/metadata/name", json!(long)),
        with("/metadata/annotations/etcd-defrag.io~1rule", json!("(".repeat(256 << 10))),
        with("/metadata/annotations/etcd-defrag.io~1schedule", json!("*,".repeat(128 << 10))),
        with("/metadata/annotations/etcd-defrag.io~1schedule", json!("\u{0}\u{202e}\n")),
        with("/metadata/labels/etcd-defrag.io~1enabled", json!("")),
        with("/metadata/annotations", typos.into()),
        json!({}),
        json!({"metadata": {"labels": {"etcd-defrag.io/enabled": "true"}}}),
    ];
    for object in odd {
        for entry in Entry::ALL {
            for (operation, old) in [("CREATE", json!(null)), ("UPDATE", etcd()), ("UPDATE", json!(null))] {
                let answer = answer(entry, &review(operation, "", object.clone(), old)).await;
                assert!(answer["allowed"].is_boolean());
                let code = answer["status"]["code"].as_u64().unwrap_or(422);
                assert_eq!(code, 422, "not assessed: {answer}");
                assert!(answer.to_string().len() < 64 << 10, "an answer of {} bytes", answer.to_string().len());
            }
        }
    }
}

/// Deep nesting ends in an answer, where it is decoded and where it is skipped.
#[tokio::test]
async fn deep_nesting_is_answered() {
    let nested = format!("{}1{}", "{\"f:x\":".repeat(100_000), "}".repeat(100_000));
    for (pointer, allowed) in [
        ("/request/object/status", true),
        ("/request/userInfo", true),
        ("/request/object/spec/replicas", false),
        ("/request/object/metadata/name", false),
    ] {
        let mut request = review("UPDATE", "", etcd(), etcd());
        set(&mut request, pointer, json!("HERE"));
        let body = request.to_string().replace("\"HERE\"", &nested);
        let (status, answer) = post(Entry::Validate, body).await;
        assert_eq!((status, &answer["response"]["uid"]), (StatusCode::OK, &json!(UID)), "{pointer}");
        assert_eq!(answer["response"]["allowed"], allowed, "{pointer}: {answer}");
    }
}

#[tokio::test]
async fn other_operations_and_other_kinds_pass() {
    let bad = annotated(&[("etcd-defrag.io/shedule", "x")]);
    for operation in ["DELETE", "CONNECT", "DANCE"] {
        let allowed = answer(Entry::Validate, &review(operation, "", json!(null), bad.clone())).await;
        assert_eq!(allowed, json!({"uid": UID, "allowed": true}));
    }
    let scale = json!({"metadata": {"name": "e"}, "spec": {"replicas": 1}});
    let said = answer(Entry::Validate, &review("UPDATE", "scale", scale, json!(null))).await;
    insta::assert_snapshot!(said["warnings"][0].as_str().unwrap());
    assert_eq!(said["allowed"], true);
}

#[tokio::test]
async fn a_dry_run_gets_the_same_answer() {
    let mut request = review("CREATE", "", annotated(&[("etcd-defrag.io/shedule", "x")]), json!(null));
    for entry in Entry::ALL {
        request["request"]["dryRun"] = json!(false);
        let real = answer(entry, &request).await;
        request["request"]["dryRun"] = json!(true);
        assert_eq!(answer(entry, &request).await, real);
    }
}

#[tokio::test]
async fn bodies_up_to_seven_mebibytes_are_read_with_and_without_a_length() {
    let padded = |size: usize| {
        let text = review("CREATE", "", etcd(), json!(null)).to_string();
        Bytes::from(format!("{text}{}", " ".repeat(size - text.len())))
    };
    let limit = 7 << 20;
    for (size, expected) in [(limit, StatusCode::OK), (limit + 1, StatusCode::PAYLOAD_TOO_LARGE)] {
        let body = padded(size);
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            body.chunks(64 << 10).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let (announced, _) = post(Entry::Validate, body).await;
        let (streamed, answer) = post(Entry::Validate, Body::from_stream(futures::stream::iter(chunks))).await;
        assert_eq!((announced, streamed), (expected, expected));
        if expected == StatusCode::PAYLOAD_TOO_LARGE {
            insta::assert_snapshot!(answer["message"].as_str().unwrap());
        }
    }
}

#[tokio::test]
async fn other_methods_and_paths_are_told_what_is_served() {
    let (status, answer) = call(service(), Method::GET, "/validate", Body::empty()).await;
    assert_eq!((status, &answer["message"]), (StatusCode::METHOD_NOT_ALLOWED, &json!("only POST is supported here")));
    let (status, answer) = call(service(), Method::POST, "/", Body::empty()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert_eq!(
        answer["message"],
        "there is nothing at this path; send reviews to /enroll, /mutate, /create, /validate, /status"
    );
}

/// On a paused clock, which stands still while a review is assessed: so no machine is too slow for it.
#[tokio::test(start_paused = true)]
async fn a_panic_and_a_stall_are_answered_under_the_uid() {
    let limits = ServerLimits::default();
    let panics = admission(&limits, AdmissionMetrics::default()).with_clock(Arc::new(|| panic!("a bug")));
    let gate = Gate::open();
    gate.close();
    let stalls = admission(&limits, AdmissionMetrics::default()).with_clock(Arc::new({
        let gate = Arc::clone(&gate);
        move || {
            gate.pass();
            Timestamp::UNIX_EPOCH
        }
    }));
    let request = review("CREATE", "", etcd(), json!(null)).to_string();
    let ask = async |admission: &Admission, path: &str, stalled: bool| {
        let time_passes = async {
            if stalled {
                gate.reached().await;
                advance(limits.request).await;
            }
        };
        tokio::join!(call(router(admission), Method::POST, path, request.clone().into()), time_passes).0
    };
    let mut lines = String::new();
    for (admission, stalled) in [(panics, false), (stalls, true)] {
        let (status, refused) = ask(&admission, "/validate", stalled).await;
        assert_eq!((status, &refused["response"]["uid"]), (StatusCode::OK, &json!(UID)));
        assert_eq!(refused["response"]["allowed"], false);
        let (_, allowed) = ask(&admission, "/mutate", stalled).await;
        assert_eq!((&allowed["response"]["uid"], &allowed["response"]["allowed"]), (&json!(UID), &json!(true)));
        lines.push_str(&format!("{}\n{}\n", refused["response"]["status"]["message"], allowed["response"]["warnings"]));
    }
    gate.release();
    insta::assert_snapshot!(lines);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_told_so_and_takes_no_slot() {
    let limits = ServerLimits { request: Duration::from_millis(100), requests: 1, ..ServerLimits::default() };
    let service = router(&admission(&limits, AdmissionMetrics::default()));
    let endless = || Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let (first, second) = tokio::join!(
        call(service.clone(), Method::POST, "/mutate", endless()),
        call(service.clone(), Method::POST, "/mutate", endless()),
    );
    for (status, answer) in [first, second] {
        assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
        assert_eq!(answer["message"], "the body was not complete within 100ms");
    }
}

#[tokio::test]
async fn a_review_of_usual_size_waits_for_no_row_of_large_ones() {
    let gate = Gate::open();
    gate.close();
    let admission = admission(&quick(), AdmissionMetrics::default()).with_clock(Arc::new({
        let gate = Arc::clone(&gate);
        move || {
            gate.pass();
            Timestamp::UNIX_EPOCH
        }
    }));
    let service = router(&admission);
    let large = annotated(&[("example.com/notes", &"x".repeat(ServerLimits::default().large))]);
    let large = review("CREATE", "", large, json!(null)).to_string();
    let row: Vec<_> =
        (0..4).map(|_| tokio::spawn(call(service.clone(), Method::POST, "/mutate", large.clone().into()))).collect();
    gate.reached().await;
    // Time for another one to begin too, which none should.
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.open_for_others();
    let usual = review("CREATE", "", etcd(), json!(null)).to_string();
    let (status, answer) = call(service, Method::POST, "/mutate", usual.into()).await;
    let held = !row.iter().any(tokio::task::JoinHandle::is_finished);
    // Before anything is judged, or a failure would leave threads behind that wait for ever.
    gate.release();
    assert!(held, "a large one was not held");
    assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(true)), "{answer}");
    for large in row {
        assert_eq!(large.await.unwrap().0, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_house_is_told_so() {
    let limits = ServerLimits { requests: 1, ..ServerLimits::default() };
    let gate = Gate::open();
    gate.close();
    let held = admission(&limits, AdmissionMetrics::default()).with_clock(Arc::new({
        let gate = Arc::clone(&gate);
        move || {
            gate.pass();
            Timestamp::UNIX_EPOCH
        }
    }));
    let service = router(&held);
    let request = review("CREATE", "", etcd(), json!(null)).to_string();
    let first = tokio::spawn(call(service.clone(), Method::POST, "/mutate", request.clone().into()));
    gate.reached().await;
    let second = call(service.clone(), Method::POST, "/mutate", request.clone().into());
    let ((status, answer), ()) = tokio::join!(second, advance(limits.request));
    gate.release();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer["message"], "1 requests are in progress already; try again");
    first.await.unwrap();
    // The slot is free again.
    assert_eq!(call(service, Method::POST, "/mutate", request.into()).await.0, StatusCode::OK);
}

/// How long the answer takes to a review of the same etcd in a namespace; it is allowed.
async fn takes(service: &Router, namespace: &str, operation: &str, path: &str) -> Duration {
    let old = if operation == "CREATE" { json!(null) } else { etcd() };
    let mut request = review(operation, "", etcd(), old);
    request["request"]["namespace"] = json!(namespace);
    let begun = tokio::time::Instant::now();
    let (status, answer) = call(service.clone(), Method::POST, path, request.to_string().into()).await;
    assert_eq!((status, &answer["response"]["allowed"]), (StatusCode::OK, &json!(true)));
    begun.elapsed()
}

/// A namespace that asks for much slows nobody but itself.
#[tokio::test(start_paused = true)]
async fn answers_to_a_namespace_that_asks_for_much_wait_while_others_ask() {
    let service = router(&admission(&ServerLimits::default(), AdmissionMetrics::default()));
    let takes = async |namespace: &str| takes(&service, namespace, "CREATE", "/create").await;
    let none = Duration::ZERO;
    for _ in 0..100 {
        assert_eq!(takes("migration").await, none, "who is alone waits for nothing");
    }
    let (mut much, mut little) = (none, none);
    for _ in 0..10 {
        for _ in 0..20 {
            much += takes("much").await;
        }
        little += takes("little").await;
    }
    assert!(much > Duration::from_secs(2), "{much:?}");
    assert_eq!(little, none);
}

/// What a new object costs the API server is not in the size of its review.
#[tokio::test(start_paused = true)]
async fn creates_use_up_a_share_sooner_than_changes_of_the_same_size() {
    let service = router(&admission(&ServerLimits::default(), AdmissionMetrics::default()));
    let mut at_once = Vec::new();
    for (operation, path) in [("CREATE", "/create"), ("UPDATE", "/validate")] {
        takes(&service, "other", operation, path).await;
        let mut count = 0;
        while takes(&service, operation, operation, path).await == Duration::ZERO {
            count += 1;
        }
        at_once.push(count);
    }
    let [creates, changes] = at_once[..] else { panic!("{at_once:?}") };
    assert!(creates > 0 && creates * 2 < changes, "{creates} creates, {changes} changes");
}
