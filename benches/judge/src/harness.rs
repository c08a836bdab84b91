//! Times contenders that do the same work in turn, so that drift of the machine meets all of them alike.

use std::{hint::black_box, time::Instant};

/// Batches of each contender.
const ROUNDS: usize = 200;
/// How long a batch is to take at least, in nanoseconds.
const BATCH: f64 = 100_000.0;

pub type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Does its work that many times and says how long one took, in nanoseconds.
pub type Batch<'a> = Box<dyn FnMut(u32) -> Result<f64> + 'a>;

/// Nanoseconds of one iteration.
#[derive(Clone, Copy)]
pub struct Times {
    pub median: f64,
    /// 99 of 100 batches were quicker.
    pub p99: f64,
}

/// The batches of work that is done in this process.
pub fn here<'a, T>(mut work: impl FnMut() -> T + 'a) -> Batch<'a> {
    Box::new(move |iterations| {
        let began = Instant::now();
        for _ in 0..iterations {
            black_box(work());
        }
        Ok(began.elapsed().as_secs_f64() * 1e9 / f64::from(iterations))
    })
}

/// Times of the contenders, in their order.
pub fn measure(mut contenders: Vec<Batch<'_>>) -> Result<Vec<Times>> {
    let mut iterations = Vec::new();
    for batch in &mut contenders {
        let mut count = 1_u32;
        while count < 1 << 20 && batch(count)? * f64::from(count) < BATCH {
            count *= 2;
        }
        iterations.push(count);
    }
    let mut times = vec![Vec::with_capacity(ROUNDS); contenders.len()];
    for round in 0..ROUNDS {
        for turn in 0..contenders.len() {
            // There and back, so that nobody always follows the same neighbour.
            let index = if round % 2 == 0 { turn } else { contenders.len() - 1 - turn };
            times[index].push(contenders[index](iterations[index])?);
        }
    }
    Ok(times
        .into_iter()
        .map(|mut times| {
            times.sort_by(f64::total_cmp);
            Times { median: times[ROUNDS / 2], p99: times[ROUNDS * 99 / 100] }
        })
        .collect())
}

/// Nanoseconds for people.
pub fn human(nanos: f64) -> String {
    match nanos {
        _ if nanos < 1e3 => format!("{nanos:.0} ns"),
        _ if nanos < 1e6 => format!("{:.2} µs", nanos / 1e3),
        _ => format!("{:.2} ms", nanos / 1e6),
    }
}
