use std::net::IpAddr;

use axum::body::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use tokio::{
    task::JoinHandle,
    time::{advance, sleep},
};

use super::*;
use crate::runtime::capacity::{CapacityMetrics, Resource};

const LIMIT: usize = 256 << 10;

/// Room for so many requests that have sent [`LIMIT`].
fn room_for(requests: usize) -> Bodies {
    let budget = requests * (LIMIT + OVERHEAD);
    Bodies::new(budget, CapacityMetrics::default().meter(Resource::BodyBytes, budget))
}

fn client(address: &str) -> Client {
    Client { peer: address.parse::<IpAddr>().unwrap().into(), verified: false }
}

/// So many bytes, and then nothing more; without an end.
fn stalled(bytes: usize) -> Body {
    let sent = stream::iter((0..bytes / 1024).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![b' '; 1024]))));
    Body::from_stream(sent.chain(stream::pending()))
}

fn read(bodies: &Bodies, from: &str, body: Body) -> JoinHandle<Result<Held, Unread>> {
    let (bodies, from) = (bodies.clone(), (Some(client(from)), HangUp::default()));
    tokio::spawn(async move { bodies.read(body, from, LIMIT, Instant::now() + Duration::from_secs(10)).await })
}

fn used(bodies: &Bodies) -> usize {
    bodies.0.ledger().used
}

#[tokio::test(start_paused = true)]
async fn what_is_announced_and_not_sent_takes_no_room() {
    let bodies = room_for(1);
    let _stalled: Vec<_> = (0..4).map(|_| read(&bodies, "10.0.0.1", stalled(0))).collect();
    advance(Duration::from_millis(1)).await;
    assert_eq!(used(&bodies), 4 * OVERHEAD);
}

#[tokio::test(start_paused = true)]
async fn a_whole_body_is_read_and_its_bytes_are_given_back() {
    let bodies = room_for(1);
    let text = vec![b'x'; LIMIT];
    let held = read(&bodies, "10.0.0.1", Body::from(text.clone())).await.unwrap().unwrap();
    assert_eq!(*held, *text);
    assert_eq!(used(&bodies), LIMIT + OVERHEAD);
    assert!(held.stay());
    let answer = held.into_answer();
    assert_eq!(used(&bodies), OVERHEAD);
    drop(answer);
    assert_eq!(used(&bodies), 0);
}

/// An answer that is not taken may have been small; what it costs the others is its place in the budget.
#[tokio::test(start_paused = true)]
async fn the_address_that_takes_no_answers_makes_room_with_a_whole_connection() {
    let bodies = Bodies::new(5 * OVERHEAD, CapacityMetrics::default().meter(Resource::BodyBytes, 5 * OVERHEAD));
    let connections = [HangUp::default(), HangUp::default()];
    let mut untaken = Vec::new();
    for number in 0..4 {
        let from = (Some(client("10.0.0.1")), connections[number / 2].clone());
        let held = bodies.read(Body::from("{}"), from, LIMIT, Instant::now() + Duration::from_secs(1)).await.unwrap();
        assert!(held.stay());
        untaken.push(held.into_answer());
    }
    let other = read(&bodies, "10.0.0.2", Body::from(vec![b'x'; OVERHEAD]));
    sleep(2 * GRACE).await;
    assert!(!other.is_finished(), "answers that are held back by us are nobody's fault");
    untaken.iter().for_each(Share::answered);
    connections[0].asked().await;
    // The connection goes with all that it has.
    drop(untaken.drain(..2));
    assert!(other.await.unwrap().is_ok());
    assert!(connections[1].asked().now_or_never().is_none(), "one connection was enough");
}

#[tokio::test(start_paused = true)]
async fn the_address_that_stalls_most_makes_room_its_oldest_first() {
    let bodies = room_for(4);
    // Three of the four places; the fourth is another's.
    let light = read(&bodies, "10.0.0.9", stalled(LIMIT));
    sleep(Duration::from_millis(1)).await;
    let mut heavy = Vec::new();
    for _ in 0..3 {
        heavy.push(read(&bodies, "10.0.0.1", stalled(LIMIT)));
        sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    let honest = read(&bodies, "10.0.0.2", Body::from(vec![b'x'; LIMIT])).await.unwrap();
    assert!(honest.is_ok(), "{honest:?}");
    assert!(begun.elapsed() < 2 * GRACE, "{:?}", begun.elapsed());
    let oldest = heavy.remove(0).await.unwrap();
    assert!(matches!(oldest, Err(Unread::NoRoom)), "{oldest:?}");
    assert!(!light.is_finished() && heavy.iter().all(|other| !other.is_finished()));
}

#[tokio::test(start_paused = true)]
async fn who_sends_little_waits_for_hardly_anything_and_who_sends_much_for_its_own() {
    let bodies = room_for(2);
    for (from, body, most) in [("10.0.0.2", 1024, 2 * GRACE_BEFORE_SMALL), ("10.0.0.1", LIMIT, 2 * GRACE)] {
        let crowd = [read(&bodies, "10.0.0.1", stalled(LIMIT)), read(&bodies, "10.0.0.1", stalled(LIMIT))];
        sleep(Duration::from_millis(1)).await;
        let begun = Instant::now();
        assert!(read(&bodies, from, Body::from(vec![b'x'; body])).await.unwrap().is_ok());
        let took = begun.elapsed();
        assert!(took > most / 4 && took < most, "{from}: {took:?}");
        for other in crowd {
            other.abort();
        }
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_waits_for_a_slot_makes_room_and_one_that_is_assessed_does_not() {
    let bodies = room_for(2);
    let whole = || Body::from(vec![b'x'; LIMIT]);
    let assessed = read(&bodies, "10.0.0.1", whole()).await.unwrap().unwrap();
    let waits = read(&bodies, "10.0.0.1", whole()).await.unwrap().unwrap();
    assert!(assessed.stay());
    // What is ended counts until it is gone.
    let other = read(&bodies, "10.0.0.2", whole());
    waits.evicted().await;
    assert!(!waits.stay());
    assert!(assessed.evicted().now_or_never().is_none());
    assert!(!other.is_finished() && used(&bodies) > LIMIT + OVERHEAD);
    drop(waits);
    let other = other.await.unwrap().unwrap();
    assert!(other.stay());
    // Where all are assessed, their end is waited for.
    let last = read(&bodies, "10.0.0.3", whole());
    sleep(4 * GRACE).await;
    assert!(!last.is_finished());
    drop(assessed);
    assert!(last.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_too_slow_or_too_large_or_broken_says_so() {
    let bodies = room_for(2);
    let slow = read(&bodies, "10.0.0.1", stalled(1024)).await.unwrap();
    assert!(matches!(slow, Err(Unread::TooSlow)), "{slow:?}");
    let large = read(&bodies, "10.0.0.1", stalled(LIMIT + 1024)).await.unwrap();
    assert!(matches!(large, Err(Unread::TooLarge)), "{large:?}");
    let broken = stream::once(async { Err::<Bytes, _>(std::io::Error::other("gone")) });
    let broken = read(&bodies, "10.0.0.1", Body::from_stream(broken)).await.unwrap();
    assert!(matches!(broken, Err(Unread::Broken(_))), "{broken:?}");
    assert_eq!(used(&bodies), 0);
}

/// Whatever 64 senders do, the budget holds, and nothing is left of it at the end.
#[tokio::test(start_paused = true)]
async fn the_budget_holds_whoever_comes() {
    let bodies = room_for(3);
    let senders: Vec<_> =
        (0..64).map(|number| read(&bodies, &format!("10.0.0.{}", number % 7), stalled(LIMIT))).collect();
    for _ in 0..100 {
        sleep(Duration::from_millis(20)).await;
        assert!(used(&bodies) <= 3 * (LIMIT + OVERHEAD), "{}", used(&bodies));
    }
    for sender in senders {
        assert!(sender.await.unwrap().is_err());
    }
    assert_eq!(used(&bodies), 0);
    assert!(bodies.0.ledger().entries.is_empty());
}
