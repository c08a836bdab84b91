//! Slots: how many requests are assessed at once, and how many of them for one address.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{capacity::Meter, peer::Peer};

/// So many addresses are remembered before those without a request are forgotten.
const REMEMBERED: usize = 256;

/// The slots of a server; clones share them.
#[derive(Clone, Debug)]
pub struct Slots {
    all: Arc<Semaphore>,
    total: usize,
    of_peer: usize,
    peers: Arc<Mutex<HashMap<Peer, Arc<Semaphore>>>>,
    meter: Meter,
}

/// A slot that is taken, until it is dropped.
#[derive(Debug)]
pub struct Slot {
    // In this order: whoever waits for the address' share waits for one of all next.
    permit: Option<OwnedSemaphorePermit>,
    _of_peer: Option<OwnedSemaphorePermit>,
    slots: Slots,
}

impl Slots {
    /// So many slots in `total`, and `of_peer` of them for one address.
    #[must_use]
    pub fn new(total: usize, of_peer: usize, meter: Meter) -> Self {
        Self { all: Arc::new(Semaphore::new(total)), total, of_peer, peers: Arc::default(), meter }
    }

    /// Waits for a slot; if a client is capped by its address, that address may have only its share of them. `None`
    /// only if a semaphore was closed, which never happens.
    pub async fn acquire(&self, capped: Option<Peer>) -> Option<Slot> {
        let of_peer = match capped {
            Some(peer) => Some(self.of(peer).acquire_owned().await.ok()?),
            None => None,
        };
        let permit = Arc::clone(&self.all).acquire_owned().await.ok()?;
        self.note();
        Some(Slot { permit: Some(permit), _of_peer: of_peer, slots: self.clone() })
    }

    /// Takes note of a request that got none.
    pub fn turned_away(&self) {
        self.meter.turned_away();
    }

    fn of(&self, peer: Peer) -> Arc<Semaphore> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if peers.len() >= REMEMBERED {
            // Permits and those who wait for one share it.
            peers.retain(|_, semaphore| Arc::strong_count(semaphore) > 1);
        }
        Arc::clone(peers.entry(peer).or_insert_with(|| Arc::new(Semaphore::new(self.of_peer))))
    }

    fn note(&self) {
        self.meter.set(self.total.saturating_sub(self.all.available_permits()));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.permit = None;
        self.slots.note();
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::FutureExt as _;

    use super::*;
    use crate::runtime::capacity::{CapacityMetrics, Resource};

    #[test]
    fn one_address_takes_its_share_and_leaves_the_rest_to_others() {
        let slots = Slots::new(4, 2, CapacityMetrics::default().meter(Resource::Slots, 4));
        let take = |address: &str| {
            let peer = Peer::from(address.parse::<IpAddr>().unwrap());
            slots.acquire(Some(peer)).now_or_never().flatten()
        };
        let (first, second) = (take("10.0.0.1"), take("10.0.0.1"));
        assert!(first.is_some() && second.is_some() && take("10.0.0.1").is_none());
        let (other, verified) = (take("10.0.0.2"), slots.acquire(None).now_or_never().flatten());
        assert!(other.is_some() && verified.is_some() && take("10.0.0.3").is_none());
        drop(first);
        assert!(take("10.0.0.1").is_some());
    }

    #[test]
    fn addresses_without_a_request_are_forgotten() {
        let slots = Slots::new(1, 1, CapacityMetrics::default().meter(Resource::Slots, 1));
        for number in 0..10_000_u32 {
            let peer = Peer::from(IpAddr::from(number.to_be_bytes()));
            assert!(slots.acquire(Some(peer)).now_or_never().is_some());
        }
        assert!(slots.peers.lock().unwrap().len() <= REMEMBERED);
    }
}
