//! Which StatefulSets are reconciled, and when: each at most once at a time, each with its own back-off.
//!
//! A plain data structure: the time is passed in, so that its guarantees can be tested without waiting.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher},
    time::Duration,
};

use tokio::time::Instant;

use super::ObjectKey;
use crate::runtime::backoff;

/// The pause after the first failure of an object; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause while the API server cannot be reached or asks for patience: it must be noticed soon that it is
/// back, whatever the object.
pub(super) const LONGEST_PAUSE_UNREACHABLE: Duration = Duration::from_secs(5);
/// The longest pause after answers that this object gets and others do not.
pub(super) const LONGEST_PAUSE_REFUSED: Duration = Duration::from_mins(5);

/// The result of a reconciliation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing until something changes.
    Wait,
    /// Another look after this time, even if nothing changes.
    After(Duration),
    /// Another look after a pause that doubles with each failure in a row, up to this.
    Retry(Duration),
}

#[derive(Debug, Default)]
struct QueuedObject {
    /// In `ready`.
    queued: bool,
    /// Handed out and not yet finished.
    running: bool,
    /// Something changed while it was handed out.
    again: bool,
    /// In `timers` at this time.
    due: Option<Instant>,
    /// Failures in a row.
    failures: u32,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<ObjectKey>,
    timers: BTreeSet<(Instant, ObjectKey)>,
    objects: HashMap<ObjectKey, QueuedObject>,
}

impl Queue {
    /// Asks for a look at an object as soon as possible; a look that is already asked for is not doubled.
    pub(super) fn add(&mut self, key: &ObjectKey) {
        let object = self.objects.entry(key.clone()).or_default();
        if let Some(due) = object.due.take() {
            self.timers.remove(&(due, key.clone()));
        }
        if object.running {
            object.again = true;
        } else if !object.queued {
            object.queued = true;
            self.ready.push_back(key.clone());
        }
    }

    /// The next object to look at. It counts as running until [`Self::finished`].
    pub(super) fn next(&mut self, now: Instant) -> Option<ObjectKey> {
        while let Some((due, key)) = self.timers.first().cloned()
            && due <= now
        {
            self.add(&key);
            self.timers.remove(&(due, key));
        }
        let key = self.ready.pop_front()?;
        let object = self.objects.entry(key.clone()).or_default();
        object.queued = false;
        object.running = true;
        Some(key)
    }

    /// Marks an object as running without a reconciliation, unless one is in progress or waiting, until
    /// [`Self::release`].
    pub(super) fn reserve(&mut self, key: &ObjectKey) -> bool {
        let object = self.objects.entry(key.clone()).or_default();
        let free = !object.running && !object.queued;
        object.running |= free;
        free
    }

    /// Releases an object that was reserved. If it changed meanwhile, it is reconciled.
    pub(super) fn release(&mut self, key: &ObjectKey) {
        let Some(object) = self.objects.get_mut(key) else { return };
        object.running = false;
        if std::mem::take(&mut object.again) {
            self.add(key);
        } else if object.due.is_none() && object.failures == 0 {
            self.objects.remove(key);
        }
    }

    /// Whether no reconciliation is waiting, except for timers.
    pub(super) fn is_idle(&self) -> bool {
        self.ready.is_empty()
    }

    /// When the next timer is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Takes an object back. A change that came meanwhile outweighs any pause.
    pub(super) fn finished(&mut self, key: &ObjectKey, now: Instant, next: Next) {
        let Some(object) = self.objects.get_mut(key) else { return };
        object.running = false;
        object.failures = if matches!(next, Next::Retry(_)) { object.failures.saturating_add(1) } else { 0 };
        if std::mem::take(&mut object.again) {
            self.add(key);
            return;
        }
        let pause = match next {
            Next::Wait => None,
            Next::After(pause) => Some(pause),
            Next::Retry(longest) => Some(pause_after(object.failures, longest, key)),
        };
        match pause {
            Some(pause) => {
                let due = now + pause;
                object.due = Some(due);
                self.timers.insert((due, key.clone()));
            }
            None => {
                self.objects.remove(key);
            }
        }
    }
}

/// The pause after so many failures in a row. A tenth of it depends on the object, so that objects that failed together
/// do not come back together.
fn pause_after(failures: u32, longest: Duration, key: &ObjectKey) -> Duration {
    let doubled = backoff::pause(FIRST_PAUSE, longest, failures);
    let share = BuildHasherDefault::<DefaultHasher>::default().hash_one(key) % 100;
    let spread = doubled.as_millis().saturating_mul(u128::from(share)) / 1000;
    doubled.saturating_sub(Duration::from_millis(u64::try_from(spread).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "ns".to_owned(), name: name.to_owned() }
    }

    #[test]
    fn what_is_reserved_is_not_handed_out_and_loses_no_change_and_no_pause() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        assert!(queue.reserve(&key("a")) && !queue.reserve(&key("a")));
        queue.add(&key("a"));
        assert_eq!(queue.next(now), None);
        queue.release(&key("a"));
        assert!(!queue.reserve(&key("a")), "it waits for a look");
        assert_eq!(queue.next(now), Some(key("a")));
        assert!(!queue.reserve(&key("a")), "it is being looked at");
        queue.finished(&key("a"), now, Next::After(Duration::from_secs(5)));
        assert!(queue.reserve(&key("a")));
        assert_eq!(queue.next(now + Duration::from_secs(5)), None);
        queue.release(&key("a"));
        assert_eq!(queue.next(now + Duration::from_secs(5)), Some(key("a")));
        queue.finished(&key("a"), now, Next::Wait);
        assert!(queue.reserve(&key("b")));
        queue.release(&key("b"));
        assert!(queue.objects.is_empty());
    }

    #[test]
    fn an_object_is_handed_out_once_however_often_it_is_added() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        queue.add(&key("a"));
        queue.add(&key("b"));
        assert_eq!(queue.next(now), Some(key("a")));
        assert_eq!(queue.next(now), Some(key("b")));
        assert_eq!(queue.next(now), None);
    }

    #[test]
    fn a_change_during_a_look_leads_to_exactly_one_more() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        assert_eq!(queue.next(now), Some(key("a")));
        queue.add(&key("a"));
        queue.add(&key("a"));
        assert_eq!(queue.next(now), None, "never two at once");
        queue.finished(&key("a"), now, Next::Wait);
        assert_eq!(queue.next(now), Some(key("a")));
        queue.finished(&key("a"), now, Next::Wait);
        assert_eq!(queue.next(now), None);
        assert!(queue.objects.is_empty(), "a settled object takes no memory");
    }

    #[test]
    fn pauses_double_for_each_object_alone_and_start_over_after_a_success() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        let mut now = start;
        let mut pauses = Vec::new();
        queue.add(&key("bad"));
        for _ in 0..12 {
            assert_eq!(queue.next(now), Some(key("bad")));
            queue.finished(&key("bad"), now, Next::Retry(Duration::from_mins(1)));
            let due = queue.due().unwrap();
            pauses.push(due - now);
            assert_eq!(queue.next(due - Duration::from_millis(1)), None, "not before its time");
            now = due;
        }
        assert!(pauses[0] <= FIRST_PAUSE && pauses[0] >= FIRST_PAUSE.mul_f64(0.9));
        assert!(pauses[1] > pauses[0].mul_f64(1.9) && pauses[2] > pauses[1].mul_f64(1.9));
        assert!(pauses[11] <= Duration::from_mins(1) && pauses[11] >= Duration::from_secs(54));

        queue.add(&key("good"));
        assert_eq!(queue.next(now), Some(key("good")), "another object's failures do not delay it");
        queue.finished(&key("good"), now, Next::Wait);
        assert_eq!(queue.next(now), Some(key("bad")));
        queue.finished(&key("bad"), now, Next::Wait);
        queue.add(&key("bad"));
        assert_eq!(queue.next(now), Some(key("bad")));
        queue.finished(&key("bad"), now, Next::Retry(Duration::from_mins(1)));
        assert_eq!(queue.due().unwrap() - now, pauses[0]);
    }

    #[test]
    fn a_change_ends_a_pause_at_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        queue.next(now);
        queue.finished(&key("a"), now, Next::After(Duration::from_mins(5)));
        assert_eq!(queue.next(now), None);
        queue.add(&key("a"));
        assert_eq!(queue.next(now), Some(key("a")));
        queue.finished(&key("a"), now, Next::Wait);
        assert_eq!(queue.next(now + Duration::from_secs(400)), None, "the old timer is gone");
    }

    #[test]
    fn a_hundred_failures_do_not_overflow() {
        assert_eq!(
            pause_after(u32::MAX, LONGEST_PAUSE_REFUSED, &key("a")),
            pause_after(100, LONGEST_PAUSE_REFUSED, &key("a"))
        );
    }
}
