//! One budget of bytes for all request bodies together.
//!
//! A body takes room as its bytes arrive, so that what is announced and never sent costs nothing. Where there is no room,
//! it is made: of the address that has most in memory, the oldest request that is not assessed yet is ended. Whoever sends
//! little is thus never the one who goes, however many others stall.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Deref,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::{Body, HttpBody as _};
use http_body_util::BodyExt as _;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    capacity::Meter,
    peer::{Client, HangUp, Peer},
};

/// What a request costs besides its body: headers, the parts of an answer that are not sent yet.
const OVERHEAD: usize = 64 << 10;

/// The first room that a body takes.
const FIRST: usize = 16 << 10;

/// A request that is younger is not ended for others: within this time an honest one has long been read.
const GRACE: Duration = Duration::from_millis(200);

/// The same where the other has far less in memory.
const GRACE_BEFORE_SMALL: Duration = Duration::from_millis(20);

/// How many times less that is.
const SMALL: usize = 8;

/// Why a body was not read.
#[derive(Debug)]
pub enum Unread {
    /// It is larger than one may be.
    TooLarge,
    /// It was not complete in time.
    TooSlow,
    /// There is no room for it, or it had to make room for others.
    NoRoom,
    /// The connection broke.
    Broken(axum::Error),
}

/// The budget; clones share it.
#[derive(Clone, Debug)]
pub struct Bodies(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    budget: usize,
    meter: Meter,
    ledger: Mutex<Ledger>,
    freed: Notify,
}

/// Who has how much; the oldest first.
#[derive(Debug, Default)]
struct Ledger {
    used: usize,
    next: u64,
    entries: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    peer: Option<Peer>,
    bytes: usize,
    begun: Instant,
    state: State,
    evicted: CancellationToken,
    connection: HangUp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It can be ended for others.
    Waits,
    /// It is assessed, or its answer is held back.
    Stays,
    /// Its answer is there to be taken.
    Answered,
    /// It was ended, and gives its bytes back as soon as it has noticed.
    Leaves,
}

/// What became of a wish for bytes.
enum Taken {
    Yes,
    /// It is ended itself.
    Evicted,
    /// Bytes have to be given back first, or somebody's grace has to end.
    NotYet(Option<Instant>),
}

impl Bodies {
    /// A budget of so many bytes.
    #[must_use]
    pub fn new(budget: usize, meter: Meter) -> Self {
        Self(Arc::new(Shared { budget, meter, ledger: Mutex::default(), freed: Notify::new() }))
    }

    /// Reads a body of at most `limit` bytes by `deadline`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn read(
        &self,
        mut body: Body,
        (client, connection): (Option<Client>, HangUp),
        limit: usize,
        deadline: Instant,
    ) -> Result<Held, Unread> {
        let length = |announced| usize::try_from(announced).unwrap_or(usize::MAX);
        let announced = body.size_hint();
        if length(announced.lower()) > limit {
            return Err(Unread::TooLarge);
        }
        let expected = announced.exact().map_or(limit, length);
        let share = self.enter(client.map(|client| client.peer), connection);
        let evicted = share.evicted.clone();
        let read = async {
            share.grow(OVERHEAD).await?;
            let mut bytes = Vec::new();
            while let Some(frame) = body.frame().await {
                let Ok(chunk) = frame.map_err(Unread::Broken)?.into_data() else { continue };
                let needed = bytes.len() + chunk.len();
                if needed > limit {
                    return Err(Unread::TooLarge);
                }
                if needed > bytes.capacity() {
                    let capacity = needed.max((2 * bytes.capacity()).max(FIRST).min(expected));
                    share.grow(capacity - bytes.capacity()).await?;
                    bytes.try_reserve_exact(capacity - bytes.len()).map_err(|_| Unread::NoRoom)?;
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(Held { bytes, share })
        };
        tokio::select! {
            () = evicted.cancelled() => Err(Unread::NoRoom),
            read = timeout_at(deadline, read) => read.unwrap_or(Err(Unread::TooSlow)),
        }
    }

    fn enter(&self, peer: Option<Peer>, connection: HangUp) -> Share {
        let evicted = CancellationToken::new();
        let (begun, state) = (Instant::now(), State::Waits);
        let entry = Entry { peer, bytes: 0, begun, state, evicted: evicted.clone(), connection };
        let mut ledger = self.0.ledger();
        let id = ledger.next;
        ledger.next += 1;
        ledger.entries.insert(id, entry);
        drop(ledger);
        Share { budget: Arc::clone(&self.0), id, evicted }
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, id: u64, bytes: usize) -> Taken {
        let mut ledger = self.ledger();
        loop {
            let fits = ledger.used + bytes <= self.budget;
            let Some(entry) = ledger.entries.get_mut(&id).filter(|entry| entry.state != State::Leaves) else {
                return Taken::Evicted;
            };
            if fits {
                entry.bytes += bytes;
                ledger.used += bytes;
                self.meter.set(ledger.used);
                return Taken::Yes;
            }
            if ledger.used + bytes <= self.budget + ledger.leaving() {
                return Taken::NotYet(None);
            }
            match ledger.candidate(id) {
                None => return Taken::NotYet(None),
                Some((_, ripe)) if ripe > Instant::now() => return Taken::NotYet(Some(ripe)),
                Some((entry, _)) => {
                    if entry.state == State::Answered {
                        entry.connection.now();
                    }
                    entry.state = State::Leaves;
                    entry.evicted.cancel();
                    self.meter.turned_away();
                }
            }
        }
    }
}

impl Ledger {
    /// What is given back in a moment.
    fn leaving(&self) -> usize {
        self.entries.values().filter(|entry| entry.state == State::Leaves).map(|entry| entry.bytes).sum()
    }

    /// The request that makes room for this one, and from when on: of the address that has most, the oldest one that is not
    /// assessed yet, or else the oldest whose answer is not taken. None where that address has only such as are being assessed,
    /// for they end soon.
    fn candidate(&mut self, id: u64) -> Option<(&mut Entry, Instant)> {
        let mut bytes: HashMap<Option<Peer>, usize> = HashMap::new();
        for entry in self.entries.values().filter(|entry| entry.state != State::Leaves) {
            *bytes.entry(entry.peer).or_default() += entry.bytes;
        }
        let own = self.entries.get(&id).and_then(|entry| bytes.get(&entry.peer).copied()).unwrap_or_default();
        let (heaviest, most) = bytes.into_iter().max_by_key(|(_, bytes)| *bytes)?;
        let grace = if own.saturating_mul(SMALL) <= most { GRACE_BEFORE_SMALL } else { GRACE };
        let is_in = |state: State| move |entry: &&mut Entry| entry.peer == heaviest && entry.state == state;
        let state = if self.entries.values_mut().any(|entry| is_in(State::Waits)(&entry)) {
            State::Waits
        } else {
            State::Answered
        };
        let oldest = self.entries.values_mut().find(is_in(state))?;
        let ripe = oldest.begun + grace;
        Some((oldest, ripe))
    }

    fn give_back(&mut self, id: u64, keep: usize) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let back = entry.bytes.saturating_sub(keep);
            entry.bytes -= back;
            self.used -= back;
        }
    }
}

/// The part of the budget that a request has, until it is dropped.
#[derive(Debug)]
pub struct Share {
    budget: Arc<Shared>,
    id: u64,
    evicted: CancellationToken,
}

impl Share {
    async fn grow(&self, bytes: usize) -> Result<(), Unread> {
        loop {
            let mut freed = pin!(self.budget.freed.notified());
            freed.as_mut().enable();
            match self.budget.take(self.id, bytes) {
                Taken::Yes => return Ok(()),
                Taken::Evicted => return Err(Unread::NoRoom),
                Taken::NotYet(None) => freed.await,
                Taken::NotYet(Some(ripe)) => tokio::select! {
                    () = freed => {}
                    () = sleep_until(ripe) => {}
                },
            }
        }
    }

    /// The answer is there to be taken from now on.
    pub fn answered(&self) {
        if let Some(entry) = self.budget.ledger().entries.get_mut(&self.id).filter(|entry| entry.state == State::Stays)
        {
            (entry.state, entry.begun) = (State::Answered, Instant::now());
        }
        self.budget.freed.notify_waiters();
    }

    fn give_back(&self, keep: usize) {
        let mut ledger = self.budget.ledger();
        ledger.give_back(self.id, keep);
        self.budget.meter.set(ledger.used);
        drop(ledger);
        self.budget.freed.notify_waiters();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(0);
        self.budget.ledger().entries.remove(&self.id);
    }
}

/// A body in memory, with its part of the budget.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    share: Share,
}

impl Deref for Held {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Held {
    /// Waits until it has to make room for others.
    pub async fn evicted(&self) {
        self.share.evicted.cancelled().await;
    }

    /// From now on it stays, for somebody works on it; `false` where it has had to make room before.
    #[must_use]
    pub fn stay(&self) -> bool {
        let mut ledger = self.share.budget.ledger();
        let entry = ledger.entries.get_mut(&self.share.id).filter(|entry| entry.state != State::Leaves);
        entry.map(|entry| entry.state = State::Stays).is_some()
    }

    /// Gives the body back and keeps what the answer needs.
    #[must_use]
    pub fn into_answer(self) -> Share {
        let Self { bytes, share } = self;
        drop(bytes);
        share.give_back(OVERHEAD);
        share
    }
}

#[cfg(test)]
mod tests;
