//! Threads for work that only computes, separate from those that serve TLS, probes and the Lease. At most one piece for
//! each core is done at a time, in the order of requests, so each delays the others by no more than its own time.

use std::{io, sync::Arc, thread::available_parallelism};

use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
    task::{JoinError, JoinHandle, spawn_blocking},
};

/// The cores of this machine, or a share of them.
#[derive(Clone, Debug)]
pub struct Cores {
    count: usize,
    threads: Threads,
    all: Arc<Semaphore>,
    /// Of a part of them, what bounds it.
    share: Option<Arc<Semaphore>>,
}

impl Cores {
    /// As many as this process may use.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn of_this_machine() -> io::Result<Self> {
        Self::new(available_parallelism().map_or(1, usize::from))
    }

    /// So many, at least one, with a thread for each that stays. The threads that a runtime has for work that blocks are more than that: one that
    /// ends its work gives its core back before it can be given other work, and then another thread is started.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(count: usize) -> io::Result<Self> {
        let count = count.max(1);
        let runtime = Builder::new_multi_thread().worker_threads(count).thread_name("assess").build()?;
        Ok(Self::on(count, Threads::Own(Arc::new(Own(Some(runtime))))))
    }

    /// This number of threads, at least one, from those of the caller's runtime for blocking work. While there is such
    /// work, a paused clock of that runtime stops; it does not know about our own threads.
    #[must_use]
    pub fn of_runtime(count: usize) -> Self {
        Self::on(count.max(1), Threads::OfRuntime)
    }

    fn on(count: usize, threads: Threads) -> Self {
        Self { count, threads, all: Arc::new(Semaphore::new(count)), share: None }
    }

    /// Half of them, at least one, for work that must not delay other work: however much of it there is, it uses only
    /// these.
    #[must_use]
    pub fn half(&self) -> Self {
        let count = (self.count / 2).max(1);
        let (threads, all) = (self.threads.clone(), Arc::clone(&self.all));
        Self { count, threads, all, share: Some(Arc::new(Semaphore::new(count))) }
    }

    /// Does this work when its turn has come. Work whose caller is gone is not started; work that has started is
    /// completed, and occupies its core until then.
    ///
    /// # Errors
    ///
    /// The work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        // Neither is ever closed.
        let share = match &self.share {
            Some(share) => Arc::clone(share).acquire_owned().await.ok(),
            None => None,
        };
        let core = Arc::clone(&self.all).acquire_owned().await.ok();
        self.threads
            .start(move || {
                let _held = (share, core);
                work()
            })
            .await
    }
}

/// Where the work is done.
#[derive(Clone, Debug)]
enum Threads {
    Own(Arc<Own>),
    OfRuntime,
}

impl Threads {
    fn start<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        match self {
            Self::Own(own) if let Some(runtime) = &own.0 => runtime.spawn(async move { work() }),
            Self::Own(_) | Self::OfRuntime => spawn_blocking(work),
        }
    }
}

/// Threads of our own; there until they are dropped.
#[derive(Debug)]
struct Own(Option<Runtime>);

impl Drop for Own {
    fn drop(&mut self) {
        // To wait for work under way would block who drops this.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashSet,
        sync::{
            Mutex,
            atomic::{AtomicUsize, Ordering},
        },
        thread,
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn no_more_than_there_are_cores_at_once_and_in_the_order_of_asking() {
        let cores = Cores::new(2).unwrap();
        let (now, most, order) = (AtomicUsize::new(0), AtomicUsize::new(0), Mutex::new(Vec::new()));
        let shared = Arc::new((now, most, order));
        let all = (0..20).map(|number| {
            let shared = Arc::clone(&shared);
            cores.run(move || {
                shared.2.lock().unwrap().push(number);
                let now = shared.0.fetch_add(1, Ordering::SeqCst) + 1;
                shared.1.fetch_max(now, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(5));
                shared.0.fetch_sub(1, Ordering::SeqCst);
            })
        });
        for ended in futures::future::join_all(all).await {
            ended.unwrap();
        }
        assert_eq!(shared.1.load(Ordering::SeqCst), 2);
        let order = shared.2.lock().unwrap();
        assert!(order.iter().enumerate().all(|(at, number)| at.abs_diff(*number) <= 1), "{order:?}");
    }

    #[tokio::test]
    async fn there_is_one_thread_for_each_core_however_much_is_asked_for() {
        let cores = Cores::new(2).unwrap();
        let half = cores.half();
        let all = (0..2000).map(|number| if number % 2 == 0 { &cores } else { &half }.run(|| thread::current().id()));
        let threads: HashSet<_> = futures::future::join_all(all).await.into_iter().map(Result::unwrap).collect();
        assert!(threads.len() <= 2, "{} threads", threads.len());
        assert!(!threads.contains(&thread::current().id()));
    }

    #[tokio::test]
    async fn a_panic_ends_in_an_error_and_gives_the_core_back() {
        let cores = Cores::new(1).unwrap();
        for _ in 0..3 {
            let error = cores.run(|| -> () { panic!("on purpose") }).await.unwrap_err();
            assert!(error.is_panic() && error.to_string().contains("on purpose"), "{error}");
        }
        assert_eq!(cores.run(|| 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn what_stands_in_line_with_half_of_them_leaves_the_others_free() {
        let cores = Cores::new(2).unwrap();
        let half = cores.half();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let slow = (0..10).map(|_| {
            let (half, wait) = (half.clone(), Arc::clone(&wait));
            tokio::spawn(async move { half.run(move || wait.lock().unwrap().recv().unwrap()).await })
        });
        let slow: Vec<_> = slow.collect();
        tokio::task::yield_now().await;
        assert_eq!(cores.run(|| 7).await.unwrap(), 7, "ten pieces of work that do not end are in nobody's way");
        for _ in &slow {
            release.send(()).unwrap();
        }
        for slow in slow {
            slow.await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let cores = Cores::new(1).unwrap();
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let first = tokio::spawn({
            let cores = cores.clone();
            async move { cores.run(move || wait.recv().unwrap()).await }
        });
        tokio::task::yield_now().await;
        let begun = Arc::new(AtomicUsize::new(0));
        let second = cores.run({
            let begun = Arc::clone(&begun);
            move || begun.fetch_add(1, Ordering::SeqCst)
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), second).await.is_err());
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        cores.run(|| ()).await.unwrap();
        assert_eq!(begun.load(Ordering::SeqCst), 0);
    }
}
