use std::{net::IpAddr, time::Duration};

use futures::FutureExt as _;
use tokio::time::advance;

use super::*;

fn client(address: &str, verified: bool) -> Client {
    Client { peer: address.parse::<IpAddr>().unwrap().into(), verified }
}

fn places(connections: usize, peer_connections: usize) -> Arc<Places> {
    let limits = ServerLimits {
        connections,
        peer_connections,
        handshakes: connections,
        peer_handshakes: peer_connections,
        ..ServerLimits::default()
    };
    Places::new(&limits, &CapacityMetrics::default())
}

fn gone(place: &Place) -> bool {
    place.evicted().now_or_never().is_some()
}

struct Connection {
    place: Place,
    activity: Arc<Activity>,
}

/// A moment later somebody connects.
async fn connect(places: &Arc<Places>, client: Client) -> Option<Connection> {
    advance(Duration::from_millis(1)).await;
    let activity = Activity::new(false);
    let place = places.serve(client, &activity)?;
    Some(Connection { place, activity })
}

#[tokio::test(start_paused = true)]
async fn for_one_more_the_one_that_has_waited_longest_goes() {
    let places = places(3, 3);
    let someone = client("10.0.0.1", false);
    let first = connect(&places, someone).await.unwrap();
    let second = connect(&places, someone).await.unwrap();
    let third = connect(&places, someone).await.unwrap();
    // The first sends a body, the second is answered.
    advance(Duration::from_millis(1)).await;
    let _reading = first.activity.begin();
    advance(Duration::from_millis(1)).await;
    drop(second.activity.begin());
    let fourth = connect(&places, client("10.0.0.2", false)).await.unwrap();
    assert!(gone(&third.place) && !gone(&first.place) && !gone(&second.place));
    let _fifth = connect(&places, client("10.0.0.2", false)).await.unwrap();
    assert!(gone(&first.place) && !gone(&second.place) && !gone(&fourth.place));
}

#[tokio::test(start_paused = true)]
async fn who_has_called_well_stays_longer_and_who_is_owed_an_answer_stays() {
    let places = places(2, 2);
    let proven = connect(&places, client("10.0.0.1", false)).await.unwrap();
    proven.activity.prove();
    let silent = connect(&places, client("10.0.0.2", false)).await.unwrap();
    let busy = connect(&places, client("10.0.0.2", false)).await.unwrap();
    assert!(gone(&silent.place) && !gone(&proven.place));
    let request = busy.activity.begin();
    request.complete();
    let next = connect(&places, client("10.0.0.2", false)).await.unwrap();
    assert!(gone(&proven.place) && !gone(&busy.place));
    let other = next.activity.begin();
    other.complete();
    assert!(connect(&places, client("10.0.0.3", false)).await.is_none(), "all are owed an answer");
    other.answer();
    assert!(connect(&places, client("10.0.0.3", false)).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_address_takes_its_share_only_and_a_certificate_has_room_of_its_own() {
    let places = places(8, 2);
    let other = connect(&places, client("10.0.0.9", false)).await.unwrap();
    let mut verified = Vec::new();
    for _ in 0..3 {
        verified.push(connect(&places, client("10.0.0.1", true)).await.unwrap());
    }
    let mut kept = Vec::new();
    for _ in 0..20 {
        kept.push(connect(&places, client("10.0.0.1", false)).await.unwrap());
    }
    assert_eq!(kept.iter().filter(|one| !gone(&one.place)).count(), 2);
    assert!(!gone(&other.place) && verified.iter().all(|one| !gone(&one.place)));
    // From everywhere at once: those with a certificate are the last to go.
    for number in 0..100 {
        kept.push(connect(&places, client(&format!("10.0.1.{number}"), false)).await.unwrap());
    }
    assert!(gone(&other.place) && verified.iter().all(|one| !gone(&one.place)));
    assert_eq!(kept.iter().filter(|one| !gone(&one.place)).count(), 5);
}

#[test]
fn the_oldest_handshake_of_the_busiest_address_goes() {
    let places = places(4, 3);
    let peer = |address: &str| client(address, false).peer;
    let shake = |address: &str| places.shake(peer(address));
    let other = shake("10.0.0.9");
    let crowd: Vec<Place> = (0..5).map(|_| shake("10.0.0.1")).collect();
    assert_eq!(crowd.iter().map(gone).collect::<Vec<_>>(), [true, true, false, false, false], "its own share");
    let late = shake("10.0.0.2");
    assert!(gone(&crowd[2]) && !gone(&crowd[3]) && !gone(&other) && !gone(&late), "all places are taken");
}

#[test]
fn a_place_is_given_back() {
    let places = places(1, 1);
    let someone = client("10.0.0.1", false);
    for _ in 0..3 {
        let shaking = places.shake(someone.peer);
        let served = places.serve(someone, &Activity::new(true)).unwrap();
        assert!(!gone(&shaking) && !gone(&served));
    }
    let book = places.book();
    assert!(book.handshakes.is_empty() && book.served.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_spare_connection_of_a_client_that_calls_may_wait_for_its_first_request() {
    let places = places(8, 8);
    let limits = ServerLimits::default();
    let (caller, other) = (client("10.0.0.1", false), client("10.0.0.2", false));
    let calls = connect(&places, caller).await.unwrap();
    let spare = connect(&places, caller).await.unwrap();
    assert!(!places.expects(caller) && places.expects(client("10.0.0.3", true)));
    drop(calls.activity.begin());
    assert!(!places.expects(caller), "a request that was no valid review");
    calls.activity.prove();
    assert!(places.expects(caller) && !places.expects(other));
    advance(limits.headers).await;
    let expired = |expected| spare.activity.expired(&limits, false, expected);
    assert_eq!([false, true].map(expired), [true, false]);
    advance(limits.idle).await;
    assert_eq!([false, true].map(expired), [true, true]);
    // What was called once and not well is expected to call again as soon as anybody.
    drop(spare.activity.begin());
    advance(limits.headers).await;
    assert_eq!([false, true].map(expired), [true, true]);
    drop(calls);
    assert!(!places.expects(caller), "nothing of it is left");
}
