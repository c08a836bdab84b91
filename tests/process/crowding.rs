//! Attacks on the ports of the real binary by somebody who can merely reach them: what they cost in memory, and what becomes of
//! the calls and probes of others meanwhile. Everything is on loopback: the attackers have addresses of their own there.

use std::{fs, net::Ipv4Addr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    task::JoinSet,
    time::{Instant, interval, timeout},
};

use crate::crowd::{BODY, Ports, half_a_body, idle_at_the_probes, limit, peak, request, review, silence};
use harness::{ControlPlane, Serve};

/// How long an API server waits for an answer (`timeoutSeconds` of the registration).
const PATIENCE: Duration = Duration::from_secs(5);

/// How long an attack goes on: longer than every time-out that it plays with.
const ATTACK: Duration = Duration::from_secs(8);

/// Who calls: an address for those who are attacked, and others for those who attack.
const VICTIM: Ipv4Addr = Ipv4Addr::LOCALHOST;
const ATTACKER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// One of eight, for attacks that an address alone could not make.
fn attacker(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + number % 8)
}

fn ports(plane: &ControlPlane, serve: &Serve) -> Ports {
    let ca = fs::read(plane.dir().join("webhook-certs/ca.crt")).unwrap();
    Ports::new(Ipv4Addr::LOCALHOST, serve.port, serve.probes, "127.0.0.1", &ca)
}

/// A call from a new connection, as an API server makes it that has none.
async fn call(ports: &Ports, review: &str) -> Result<(), String> {
    let call = async {
        let mut stream = ports.tls(VICTIM).await.map_err(|error| error.to_string())?;
        stream.write_all(request(review).as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = Vec::new();
        // Some servers end without close_notify; what was answered counts.
        let ended = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        match answer.lines().next() {
            Some("HTTP/1.1 200 OK") => Ok(()),
            Some(line) => Err(line.to_owned()),
            None => Err(format!("no answer: {ended:?}")),
        }
    };
    timeout(PATIENCE, call).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// A probe as the kubelet makes it, with the second that readiness probes get by default.
async fn probe(ports: &Ports, path: &str) -> Result<(), String> {
    let probe = async {
        let mut stream = ports.connect(VICTIM, ports.probes).await.map_err(|error| error.to_string())?;
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).await.map_err(|error| error.to_string())?;
        if answer == b"HTTP/1.1 200" { Ok(()) } else { Err(String::from_utf8_lossy(&answer).into_owned()) }
    };
    timeout(PATIENCE, probe).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// What others saw during an attack.
#[derive(Debug, Default)]
struct Seen {
    took: Vec<Duration>,
    failed: Vec<String>,
}

impl Seen {
    fn note(&mut self, begun: Instant, outcome: Result<(), String>) {
        self.took.push(begun.elapsed());
        self.failed.extend(outcome.err());
    }

    fn say(mut self, what: &str) -> Self {
        self.took.sort_unstable();
        let at = |share: usize| self.took.get(self.took.len() * share / 100).copied().unwrap_or_default();
        println!(
            "{what}: {} tried, {} failed, median {:?}, p99 {:?} {:?}",
            self.took.len(),
            self.failed.len(),
            at(50),
            at(99),
            self.failed.first()
        );
        self
    }

    #[track_caller]
    fn all_answered(self) {
        assert!(self.failed.is_empty(), "{} of {} failed: {:?}", self.failed.len(), self.took.len(), self.failed);
    }
}

/// Calls and probes for as long as an attack goes on.
async fn meanwhile(ports: &Ports, lasts: Duration) -> (Seen, Seen) {
    let review = review();
    let (mut calls, mut probes) = (Seen::default(), Seen::default());
    let until = Instant::now() + lasts;
    let mut pace = interval(Duration::from_millis(100));
    while Instant::now() < until {
        pace.tick().await;
        let begun = Instant::now();
        let (called, (took, probe)) = tokio::join!(call(ports, &review), async {
            let outcome = probe(ports, "/healthz").await;
            (begun.elapsed(), outcome)
        });
        calls.note(begun, called);
        probes.took.push(took);
        probes.failed.extend(probe.err());
    }
    (calls, probes)
}

/// Does `attack` beside calls and probes of others, and ends it.
async fn under(attack: JoinSet<()>, ports: &Ports, what: &str) -> (Seen, Seen) {
    let (calls, probes) = meanwhile(ports, ATTACK).await;
    drop(attack);
    (calls.say(&format!("{what}: calls")), probes.say(&format!("{what}: probes")))
}

#[test]
fn whoever_reaches_the_ports_takes_neither_memory_nor_places_from_others() {
    let plane = ControlPlane::start();
    let serve = Serve::start_with(&plane, &harness::ServeOptions::default());
    let ports = ports(&plane, &serve);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    // Those who attack have a thread of their own, so that figures are not of waiting for them.
    let attackers = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let (calls, probes) = meanwhile(&ports, Duration::from_secs(2)).await;
        calls.say("nothing: calls").all_answered();
        probes.say("nothing: probes").all_answered();
        println!("nothing: peak {} MiB", peak(serve.pid()));

        // 64 bodies of 7 MiB less one byte each.
        let mut attack = JoinSet::new();
        for number in 0..64 {
            attack.spawn_on(half_a_body(ports.clone(), attacker(number), BODY - 1), attackers.handle());
        }
        let (calls, probes) = under(attack, &ports, "64 half-sent bodies").await;
        let (peak, limit) = (peak(serve.pid()), limit());
        println!("64 half-sent bodies: peak {peak} MiB of {limit} MiB");
        // Each attack is shown before one is judged.
        let mut seen = vec![calls, probes];

        // 128 that have sent next to nothing: not memory, but places.
        let mut attack = JoinSet::new();
        for number in 0..128 {
            attack.spawn_on(half_a_body(ports.clone(), attacker(number), 10), attackers.handle());
        }
        let (calls, probes) = under(attack, &ports, "128 bodies that stall").await;
        seen.extend([calls, probes]);

        // 300 connections a second that say nothing.
        let mut attack = JoinSet::new();
        attack.spawn_on(silence(ports.clone(), ATTACKER, 300), attackers.handle());
        let (calls, probes) = under(attack, &ports, "300 silent connections a second").await;
        seen.extend([calls, probes]);

        // 64 connections to the probe port that say nothing, and are opened again when they are closed.
        let mut attack = JoinSet::new();
        for _ in 0..64 {
            attack.spawn_on(idle_at_the_probes(ports.clone(), ATTACKER), attackers.handle());
        }
        let (calls, probes) = under(attack, &ports, "64 idle connections to the probe port").await;
        seen.extend([calls, probes]);

        assert!(peak < limit, "the chart allows {limit} MiB, and half-sent bodies took {peak} MiB");
        for seen in seen {
            seen.all_answered();
        }
    });
}
