//! Members that are cut off, or that do not answer in time, behind a proxy of TCP.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use etcd_defrag_webhook::defrag::run_result::{Did, Outcome};
use harness::{EtcdCluster, EtcdOptions};

use crate::support::{Runner, cluster, waste};

/// Passes on what comes, both ways, until it is cut: then connections stay open and nothing passes any more.
struct Proxy {
    url: String,
    cut: Arc<AtomicBool>,
}

impl Proxy {
    /// In front of the member at an index. What the member says is passed on only as long as `answers` says so.
    fn start(etcd: &EtcdCluster, index: usize, answers: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        let member = etcd.endpoints()[index].trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let cut = Arc::new(AtomicBool::new(false));
        let (answers, state) = (Arc::new(answers), Arc::clone(&cut));
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let Ok(server) = TcpStream::connect(&member) else { continue };
                let (up, down) = (Arc::clone(&state), Arc::clone(&state));
                let answers = Arc::clone(&answers);
                let [from_client, to_client] = [client.try_clone().unwrap(), client];
                let [from_server, to_server] = [server.try_clone().unwrap(), server];
                thread::spawn(move || pass(from_client, to_server, || !up.load(Ordering::SeqCst)));
                thread::spawn(move || pass(from_server, to_client, || !down.load(Ordering::SeqCst) && answers()));
            }
        });
        Self { url, cut }
    }

    fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

/// Passes on what comes, as soon as it is `open`: what is lost on its way is sent again by TCP.
fn pass(mut from: TcpStream, mut to: TcpStream, open: impl Fn() -> bool) {
    let mut buffer = [0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        while !open() {
            thread::sleep(Duration::from_millis(20));
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// A member that defragments for longer than a command may take. It cannot be stopped, so no other one is begun beside it.
#[test]
fn no_other_member_is_begun_beside_one_that_does_not_answer_in_time() {
    let etcd = cluster(&EtcdOptions { tls: false, ..EtcdOptions::default() });
    waste(&etcd, 2);
    let slow = etcd.status().iter().position(|member| !member.is_leader).unwrap();
    // It goes silent once it has begun, which its log says before its answer can come.
    let (name, log) = (format!("etcd-{slow}"), etcd.member(slow).log_path());
    let proxy = Proxy::start(&etcd, slow, move || {
        !std::fs::read_to_string(&log).is_ok_and(|text| text.contains("starting defragment"))
    });
    let mut endpoints = etcd.endpoints().to_vec();
    endpoints[slow].clone_from(&proxy.url);
    let run = Runner::of(&etcd, &endpoints.join(","))
        .args(&["--command-timeout=5s", "--dial-timeout=5s", "--continue-on-error=false", "--compaction=false"])
        .run();
    run.incident(&etcd, "a member takes longer than --command-timeout");
    run.ended(Outcome::Failed, &format!("{name}: its defragmentation failed after 5"));
    run.ended(Outcome::Failed, "it may still be at work");
    assert_eq!(run.code, 1);
    assert_eq!((run.count(Did::Failed), run.count(Did::NotTouched)), (1, 2));
    let begun: Vec<String> = etcd.defragmentations().into_iter().map(|one| one.pod).collect();
    assert_eq!(begun, [name]);
}

/// Packets to one member are lost, between the first turn and the second.
#[test]
fn a_member_that_is_cut_off_is_waited_for() {
    let etcd = cluster(&EtcdOptions { tls: false, ..EtcdOptions::default() });
    let last = etcd.status().iter().rposition(|member| !member.is_leader).unwrap();
    let proxy = Proxy::start(&etcd, last, || true);
    let mut endpoints = etcd.endpoints().to_vec();
    endpoints[last].clone_from(&proxy.url);
    let args = ["--wait-between-defrags=5s", "--dial-timeout=2s", "--deadline=10m"];
    let run = Runner::of(&etcd, &endpoints.join(",")).args(&args).start();
    run.until("waiting for 5s for the next member");
    proxy.cut(true);
    run.until("waiting: ");
    assert_eq!(etcd.defragmentations().len(), 1);
    proxy.cut(false);
    let run = run.end();
    run.incident(&etcd, "packets to a member are lost between two turns");
    run.ended(Outcome::Done, "");
    assert_eq!(run.count(Did::Defragmented), 3);
    alone(&etcd);
}

/// Five members, one of which is away for a while.
#[test]
fn of_five_members_never_two_are_defragmented_at_a_time() {
    let etcd = cluster(&EtcdOptions { members: 5, ..EtcdOptions::default() });
    waste(&etcd, 8);
    let leader = etcd.status().iter().position(|member| member.is_leader).unwrap();
    let run = Runner::new(&etcd).args(&["--move-leader", "--wait-between-defrags=2s", "--deadline=10m"]).start();
    run.until("waiting for 2s for the next member");
    let away = (0..5).rfind(|at| *at != leader).unwrap();
    etcd.member(away).kill();
    run.until("cannot be reached");
    etcd.member(away).start();
    let run = run.end();
    run.incident(&etcd, "one of five members is killed between two others, and comes back");
    run.ended(Outcome::Done, "");
    assert_eq!(run.count(Did::Defragmented), 5);
    assert_eq!(run.result.leader_from, format!("etcd-{leader}"));
    let order = alone(&etcd);
    assert_eq!(order.last(), Some(&format!("etcd-{leader}")));
}

/// By the members' own logs: each once, and never two at a time. Returns the order.
fn alone(etcd: &EtcdCluster) -> Vec<String> {
    let all = etcd.defragmentations();
    for pair in all.windows(2) {
        assert!(pair[0].to.is_some_and(|to| to <= pair[1].from), "two members at a time: {all:?}");
    }
    let order: Vec<String> = all.into_iter().map(|one| one.pod).collect();
    let mut names = order.clone();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), order.len()), (etcd.endpoints().len(), etcd.endpoints().len()), "{order:?}");
    order
}
