//! Who is connected, and which connection is closed if there is no place for a new one. New connections never wait in
//! the kernel's queue: there the API server would wait behind all earlier ones.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::activity::Activity;
use crate::runtime::{
    capacity::{CapacityMetrics, Meter, Resource},
    limits::ServerLimits,
    peer::{Client, Peer},
};

/// The places of a listener.
#[derive(Debug)]
pub(super) struct Places {
    limits: ServerLimits,
    connections: Meter,
    handshakes: Meter,
    book: Mutex<Book>,
}

/// By the order in which they came.
#[derive(Debug, Default)]
struct Book {
    next: u64,
    handshakes: BTreeMap<u64, (Peer, CancellationToken)>,
    served: BTreeMap<u64, Served>,
}

#[derive(Debug)]
struct Served {
    client: Client,
    activity: Arc<Activity>,
    evicted: CancellationToken,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    id: u64,
    evicted: CancellationToken,
}

impl Places {
    pub(super) fn new(limits: &ServerLimits, metrics: &CapacityMetrics) -> Arc<Self> {
        Arc::new(Self {
            limits: limits.clone(),
            connections: metrics.meter(Resource::Connections, limits.connections),
            handshakes: metrics.meter(Resource::Handshakes, limits.handshakes),
            book: Mutex::default(),
        })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a handshake; the oldest one goes where there is none, of this address where that has its share.
    pub(super) fn shake(self: &Arc<Self>, peer: Peer) -> Place {
        let mut book = self.book();
        let crowded = if book.shaking(peer) >= self.limits.peer_handshakes {
            Some(peer)
        } else if book.handshakes.len() >= self.limits.handshakes {
            book.busiest()
        } else {
            None
        };
        let oldest = crowded.and_then(|peer| book.handshakes.iter().find(|(_, (other, _))| *other == peer));
        if let Some(id) = oldest.map(|(id, _)| *id) {
            book.end(id);
            self.handshakes.turned_away();
        }
        let (id, evicted) = book.id();
        book.handshakes.insert(id, (peer, evicted.clone()));
        self.note(&book);
        Place { places: Arc::clone(self), id, evicted }
    }

    /// A place for a connection past its handshake; where there is none, the one that has waited for its client longest goes.
    /// `None` where none waits.
    pub(super) fn serve(self: &Arc<Self>, client: Client, activity: &Arc<Activity>) -> Option<Place> {
        let mut book = self.book();
        let of = client.capped().filter(|peer| book.of(Some(*peer)).count() >= self.limits.peer_connections);
        if of.is_some() || book.served.len() >= self.limits.connections {
            let longest = book.of(of).filter_map(|(id, served)| {
                let since = served.activity.waits_since()?;
                Some(((served.client.verified, served.activity.is_proven(), since), id))
            });
            let id = longest.min().map(|(_, id)| id);
            self.connections.turned_away();
            book.end(id?);
        }
        let (id, evicted) = book.id();
        let served = Served { client, activity: Arc::clone(activity), evicted: evicted.clone() };
        book.served.insert(id, served);
        self.note(&book);
        Some(Place { places: Arc::clone(self), id, evicted })
    }

    /// Whether calls of this client are expected on any connection: it has shown a certificate, or a valid review was answered
    /// on a connection of the same address.
    pub(super) fn expects(&self, client: Client) -> bool {
        let proven = |served: &Served| served.client.peer == client.peer && served.activity.is_proven();
        client.verified || self.book().served.values().any(proven)
    }

    fn note(&self, book: &Book) {
        self.handshakes.set(book.handshakes.len());
        self.connections.set(book.served.len());
    }
}

impl Book {
    fn id(&mut self) -> (u64, CancellationToken) {
        self.next += 1;
        (self.next, CancellationToken::new())
    }

    fn shaking(&self, peer: Peer) -> usize {
        self.handshakes.values().filter(|(other, _)| *other == peer).count()
    }

    /// The address with most handshakes.
    fn busiest(&self) -> Option<Peer> {
        let mut counts: HashMap<Peer, usize> = HashMap::new();
        for (peer, _) in self.handshakes.values() {
            *counts.entry(*peer).or_default() += 1;
        }
        counts.into_iter().max_by_key(|(_, count)| *count).map(|(peer, _)| peer)
    }

    /// The connections that are capped together, or all.
    fn of(&self, capped: Option<Peer>) -> impl Iterator<Item = (u64, &Served)> {
        self.served
            .iter()
            .filter(move |(_, served)| capped.is_none() || served.client.capped() == capped)
            .map(|(id, served)| (*id, served))
    }

    fn end(&mut self, id: u64) {
        let shaking = self.handshakes.remove(&id).map(|(_, evicted)| evicted);
        let served = self.served.remove(&id).map(|served| served.evicted);
        for evicted in [shaking, served].into_iter().flatten() {
            evicted.cancel();
        }
    }
}

impl Place {
    /// Waits until the place is needed for another connection.
    pub(super) fn evicted(&self) -> WaitForCancellationFuture<'_> {
        self.evicted.cancelled()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut book = self.places.book();
        book.handshakes.remove(&self.id);
        book.served.remove(&self.id);
        self.places.note(&book);
    }
}

#[cfg(test)]
mod tests;
