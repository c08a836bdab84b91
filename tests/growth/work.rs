//! The work that something takes, and how it grows.

use std::{
    alloc::System,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use etcd_defrag_webhook::defrag::rule;
use rustix::time::{ClockId, clock_gettime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// What is counted belongs to the whole process, so one test at a time runs.
static COUNTING: Mutex<()> = Mutex::new(());

/// How much more eight times and twice the size may allocate. Of n log n these are about 10 and 2.2; a list that grows by
/// doubling takes up to a fifth more.
const MOST_BYTES: (f64, f64) = (12.0, 2.6);
/// The same for the time, with room for a noisy machine. Something quadratic takes 64 and 4 times as long.
const MOST_TIME: (f64, f64) = (24.0, 3.2);
/// Less than this says nothing of growth: bytes, and nanoseconds.
const NEGLIGIBLE: (u64, u64) = (32 << 10, 200_000);
/// A time that has grown too fast is measured again so often.
const TRIES: usize = 8;

/// What each of four sizes took.
pub struct Growth {
    bytes: [u64; 4],
    nanoseconds: [u64; 4],
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milliseconds = self.nanoseconds.map(|nanoseconds| (nanoseconds / 10_000) as f64 / 100.0);
        write!(f, "for sizes of 1, 2, 4 and 8 it allocates {:?} bytes and takes {milliseconds:?} ms", self.bytes)
    }
}

/// Whether the largest takes too many times as much as the smallest, or as the half; what is negligible counts as just that.
fn exceeds(taken: [u64; 4], negligible: u64, (eightfold, double): (f64, f64)) -> bool {
    let [smallest, _, half, largest] = taken.map(|taken| taken.max(negligible) as f64);
    largest > smallest * eightfold || largest > half * double
}

/// The right to count; nothing else in this process allocates meanwhile.
pub struct Alone(#[expect(dead_code, reason = "held")] MutexGuard<'static, ()>);

impl Alone {
    /// Waits until nobody else counts.
    pub fn wait() -> Self {
        Self(COUNTING.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How the work grows over four inputs, each of twice the size of the one before; `None` where no faster than n log n.
pub fn grows<T>(_: &Alone, inputs: &[T; 4], work: impl Fn(&T)) -> Option<Growth> {
    // Whatever is made once and kept.
    work(&inputs[0]);
    let mut growth = Growth { bytes: [0; 4], nanoseconds: [u64::MAX; 4] };
    for _ in 0..TRIES {
        for (index, input) in inputs.iter().enumerate() {
            rule::forget_analyses();
            let region = Region::new(ALLOCATOR);
            let began = on_the_processor();
            work(input);
            growth.nanoseconds[index] = growth.nanoseconds[index].min(on_the_processor() - began);
            let change = region.change();
            growth.bytes[index] = change.bytes_allocated as u64;
        }
        if exceeds(growth.bytes, NEGLIGIBLE.0, MOST_BYTES) {
            return Some(growth);
        }
        if !exceeds(growth.nanoseconds, NEGLIGIBLE.1, MOST_TIME) {
            return None;
        }
    }
    Some(growth)
}

/// The time that this thread has had a processor, in nanoseconds.
fn on_the_processor() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap() * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap()
}

/// A loop in a loop is found, whether it allocates or not, and a loop alone is none.
#[test]
fn quadratic_work_is_found() {
    let alone = Alone::wait();
    let inputs = [500_usize, 1_000, 2_000, 4_000].map(|size| (0..size).collect::<Vec<_>>());
    let compares = |input: &Vec<usize>| {
        let twice = input.iter().enumerate().find(|(at, one)| input.iter().take(*at).any(|other| other == *one));
        assert!(twice.is_none());
    };
    let copies = |input: &Vec<usize>| {
        for end in (0..input.len()).step_by(10) {
            std::hint::black_box(input[..end].to_vec());
        }
    };
    let sorts = |input: &Vec<usize>| {
        let sorted: std::collections::BTreeSet<_> = input.iter().rev().copied().collect();
        assert_eq!(sorted.len(), input.len());
    };
    assert!(grows(&alone, &inputs, compares).is_some());
    assert!(grows(&alone, &inputs, copies).is_some());
    assert!(grows(&alone, &inputs, sorts).is_none());
}
