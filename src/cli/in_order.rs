//! Work on all processors, with the results in order.

use std::{
    num::NonZero,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
};

/// More do not help those who give and take.
const MOST_WORKERS: usize = 8;
/// Items that a worker has at a time, so that it need not wait for the next one and no more is in memory.
const AHEAD: usize = 2;
/// As large as that of the first thread: YAML has many levels.
const STACK: usize = 8 << 20;

/// Has workers work on each item that `next` gives, and gives the results to `take` in the same order. An error ends it.
pub(super) fn in_order<T: Send, R: Send>(
    mut next: impl FnMut() -> anyhow::Result<Option<T>>,
    work: impl Fn(T) -> R + Sync,
    mut take: impl FnMut(R) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let Some(first) = next()? else { return Ok(()) };
    // One needs no worker.
    let Some(second) = next()? else { return take(work(first)) };
    let mut begun = vec![second, first];
    let workers = thread::available_parallelism().map_or(1, NonZero::get).min(MOST_WORKERS);
    thread::scope(|scope| {
        // They have their turns, so the results are in order without being sorted.
        let mut lanes: Vec<(SyncSender<T>, Receiver<R>)> = Vec::new();
        for _ in 0..workers {
            let (give, items) = sync_channel::<T>(AHEAD);
            let (done, results) = sync_channel::<R>(AHEAD);
            let work = &work;
            let worker = move || items.into_iter().map(work).try_for_each(|result| done.send(result));
            thread::Builder::new().stack_size(STACK).spawn_scoped(scope, worker)?;
            lanes.push((give, results));
        }
        let (mut giving, mut taking) = (lanes.iter().cycle(), lanes.iter().cycle());
        let (mut under_way, mut is_more) = (0, true);
        loop {
            while is_more && under_way < workers * AHEAD {
                let Some(item) = begun.pop().map_or_else(&mut next, |item| Ok(Some(item)))? else {
                    is_more = false;
                    break;
                };
                // A worker is gone only if it has panicked, which the scope passes on.
                let given = giving.next().is_some_and(|(give, _)| give.send(item).is_ok());
                under_way += usize::from(given);
            }
            let result = taking.next().filter(|_| under_way > 0).and_then(|(_, results)| results.recv().ok());
            let Some(result) = result else { return Ok(()) };
            under_way -= 1;
            take(result)?;
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_have_the_order_of_their_items() {
        for count in [0, 1, 2, 7, 1000] {
            let (mut items, mut seen) = (0..count, Vec::new());
            let take = |result| {
                seen.push(result);
                Ok(())
            };
            in_order(|| Ok(items.next()), |item| item * 2, take).unwrap();
            assert_eq!(seen, (0..count).map(|item| item * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_error_ends_it() {
        let mut items = 0..;
        let take = |result| if result < 5 { Ok(()) } else { Err(anyhow::anyhow!("{result}")) };
        assert_eq!(in_order(|| Ok(items.next()), |item: i32| item, take).unwrap_err().to_string(), "5");
        let fails = || Err(anyhow::anyhow!("nothing there"));
        assert!(in_order(fails, |item: i32| item, |_| Ok(())).is_err());
    }
}
