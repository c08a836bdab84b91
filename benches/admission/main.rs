//! `make bench-admission`: what admission costs a write, beside what else a cluster could have: nothing, the policy of `vap`, a webhook
//! in Go, and a webhook that answers at once behind our own entries, which is what the API server itself spends on being asked.
//!
//! All are measured in one run, one after the other in each round, and compared with what the same run says of the others: machines
//! are noisy. A turn begins when the API server is seen to ask whom it is about; of the one that
//! allows all nothing is seen, so it begins after a pause. `ROUNDS=5` says how many rounds.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a benchmark that cannot go on ends")]

mod direct;
mod load;
mod peers;
mod report;

use std::{env, fs};

use harness::{CONTROLLER_MANAGER, ControlPlane};

use load::{Load, Write};
use peers::{Peer, Peers};
use report::Results;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Result {
    if peers::is_the_one_that_allows_all().await? {
        return Ok(());
    }
    let rounds: usize = env::var("ROUNDS").map_or(Ok(3), |rounds| rounds.parse())?;
    println!("load of the machine before: {}", fs::read_to_string("/proc/loadavg")?.trim());
    let plane = ControlPlane::start();
    // Pods and runs would cost the same processors.
    plane.component(CONTROLLER_MANAGER).stop();
    let peers = Peers::start(&plane)?;
    let mut results = Results::default();
    direct::measure(&peers, rounds, &mut results).await?;

    let load = Load::start(&plane).await?;
    for round in 0..rounds {
        for step in 0..Peer::ALL.len() {
            // Nobody is always the first.
            let peer = Peer::ALL[(step + round) % Peer::ALL.len()];
            let _registered = peers.register(peer);
            for write in Write::ALL {
                let name = write.name();
                let steady = load.steady(write).await?;
                results.add(peer, &format!("{name}, median"), steady.median);
                results.add(peer, &format!("{name}, p99"), steady.p99);
                let saturated = load.saturated(write).await?;
                results.add(peer, &format!("{name}, writes/s"), saturated.rate);
                results.add(peer, &format!("{name}, ms of the API server"), saturated.cost * 1e3);
            }
        }
    }
    println!("load of the machine after: {}", fs::read_to_string("/proc/loadavg")?.trim());
    results.print()
}
