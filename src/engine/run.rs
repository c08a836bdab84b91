//! One run, from the first connection to the result.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    cluster::{Cluster, Look, Wrong},
    log::say,
    options::Options,
};
use crate::{
    defrag::{
        run_result::{Did, Member, Outcome, RunResult},
        runner::{Deadline, mismatch, outcome, reason_of_check},
    },
    runtime::shutdown::Shutdown,
};

/// Between two looks at a cluster that is not healthy.
const AGAIN: Duration = Duration::from_secs(1);

/// What a run has come to.
pub(super) struct Run<'a> {
    pub(super) options: &'a Options,
    pub(super) shutdown: &'a Shutdown,
    pub(super) deadline: Deadline,
    began: Instant,
    cluster: Option<Cluster>,
    /// One for each endpoint, in that order, once the members are known.
    pub(super) members: Vec<Member>,
    /// The members whose turn is over, in the order of their turns.
    pub(super) over: Vec<usize>,
    total: usize,
    pub(super) leader_from: String,
    pub(super) leader_to: String,
    /// Something failed besides a defragmentation.
    pub(super) failed: bool,
    /// The result apart from the members.
    pub(super) notes: Vec<String>,
}

/// A run that does not come to its end.
pub(super) enum Stop {
    /// Something is wrong that does not pass by itself.
    Failed(String),
    /// It may be tried again.
    Deferred(String),
}

/// Runs once. A shutdown begins no other member, and leaves one alone that is still at work shortly before the process is
/// killed.
pub async fn run(options: &Options, shutdown: &Shutdown) -> RunResult {
    let mut run = Run {
        options,
        shutdown,
        deadline: Deadline { at: options.deadline, command: options.command_timeout, dry_run: options.dry_run },
        began: Instant::now(),
        cluster: None,
        members: Vec::new(),
        over: Vec::new(),
        total: 0,
        leader_from: String::new(),
        leader_to: String::new(),
        failed: false,
        notes: Vec::new(),
    };
    let ended = run.all().await;
    let result = run.result(ended);
    for member in &result.members {
        say(&line(member));
    }
    say(&format!("{:?}: {result}", result.outcome));
    result
}

impl Run<'_> {
    async fn all(&mut self) -> Result<(), Stop> {
        let options = self.options;
        if options.dry_run {
            say("dry run: everything is checked, nothing is changed");
        }
        if let Err(error) = options.validate() {
            return Err(Stop::Failed(error.to_string()));
        }
        let mut first = self.ready().await?;
        self.total = first.total;
        for (seat, status) in first.seats.iter().zip(&first.statuses) {
            if let Some(member) = self.members.get_mut(seat.endpoint) {
                member.size_before = status.db_size;
                member.leader = status.leads();
                if seat.learner {
                    member.did = Did::Skipped;
                    "a learner, which cannot be defragmented".clone_into(&mut member.note);
                }
            }
        }
        if options.compaction && !options.dry_run {
            let took = self.compact(&first).await;
            first = self.settled(took).await?;
        }
        self.turns(first).await?;
        if let (Some(threshold), false, false) = (options.disalarm, options.dry_run, self.any_failed()) {
            self.disalarm(threshold).await;
        }
        Ok(())
    }

    /// Waits until the endpoints are the members of a healthy cluster.
    pub(super) async fn ready(&mut self) -> Result<Look, Stop> {
        let since = self.elapsed();
        let mut said = String::new();
        loop {
            let wrong = match self.look().await {
                Ok(look) => return Ok(look),
                Err(wrong) => wrong,
            };
            self.remember(&wrong);
            if !wrong.passes {
                return Err(Stop::Failed(wrong.text));
            }
            if wrong.text != said {
                say(&format!("waiting: {}", wrong.text));
                said.clone_from(&wrong.text);
            }
            if !self.deadline.may_wait(since, self.elapsed(), AGAIN) {
                return Err(if self.options.dry_run { Stop::Failed(wrong.text) } else { Stop::Deferred(wrong.text) });
            }
            self.pause(AGAIN).await?;
        }
    }

    async fn look(&mut self) -> Result<Look, Wrong> {
        let cluster = match self.cluster.take() {
            Some(cluster) => cluster,
            None => Cluster::open(self.options).await?,
        };
        let look = cluster.look().await;
        let cluster = self.cluster.insert(cluster);
        let look = look?;
        if self.members.len() != look.seats.len() || self.members.iter().any(|member| member.name.is_empty()) {
            let member = |(name, endpoint): (&str, &str)| untouched(name, endpoint);
            let named = look.seats.iter().map(|seat| seat.name.as_str());
            self.members =
                named.zip(cluster.clients.iter().map(|client| client.endpoint.as_str())).map(member).collect();
        }
        for (member, status) in self.members.iter_mut().zip(&look.statuses) {
            member.quota = status.quota;
            if let Some(text) = mismatch(self.options.quota, status.quota).filter(|_| member.note.is_empty()) {
                member.note = text;
            }
        }
        Ok(look)
    }

    /// Keeps what is wrong with an endpoint that was never reached, so that the result says it for each.
    fn remember(&mut self, wrong: &Wrong) {
        if self.members.iter().any(|member| !member.name.is_empty()) {
            return;
        }
        self.members = self.options.endpoints.iter().map(|endpoint| untouched("", endpoint)).collect();
        for (endpoint, why) in &wrong.endpoints {
            for member in self.members.iter_mut().filter(|member| member.endpoint == *endpoint) {
                member.note.clone_from(why);
            }
        }
    }

    pub(super) fn client(&self, at: usize) -> Option<&super::client::Client> {
        self.cluster.as_ref()?.clients.get(at)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits, unless the process is asked to end.
    pub(super) async fn pause(&self, length: Duration) -> Result<(), Stop> {
        tokio::select! {
            biased;
            () = self.shutdown.started() => Err(asked_to_end()),
            () = sleep(length) => Ok(()),
        }
    }

    pub(super) fn any_failed(&self) -> bool {
        self.failed || self.members.iter().any(|member| member.did == Did::Failed)
    }

    fn result(mut self, ended: Result<(), Stop>) -> RunResult {
        let (outcome, reason) = match ended {
            Ok(()) => {
                let outcome = outcome(&self.members, self.options.dry_run, self.failed);
                let check = (outcome == Outcome::Checked).then(|| reason_of_check(&self.members, self.options.quota));
                (outcome, check)
            }
            // Whatever came first: a member that failed is not cured by another try.
            Err(Stop::Deferred(reason)) if self.any_failed() => (Outcome::Failed, Some(reason)),
            Err(Stop::Deferred(reason)) => (Outcome::Deferred, Some(reason)),
            Err(Stop::Failed(reason)) => (Outcome::Failed, Some(reason)),
        };
        let mut reasons: Vec<String> = self.notes.drain(..).collect();
        reasons.extend(reason.filter(|reason| !reasons.contains(reason)));
        let mut members = Vec::with_capacity(self.members.len());
        for at in &self.over {
            members.extend(self.members.get(*at).cloned());
        }
        let rest = self.members.into_iter().enumerate().filter(|(at, _)| !self.over.contains(at));
        members.extend(rest.map(|(_, member)| member));
        RunResult {
            members_total: u32::try_from(self.total).unwrap_or(u32::MAX),
            seconds: self.began.elapsed().as_secs_f64(),
            leader_from: self.leader_from,
            leader_to: self.leader_to,
            members,
            ..RunResult::new(outcome, reasons.join("; "))
        }
    }
}

pub(super) fn asked_to_end() -> Stop {
    Stop::Deferred("the run was stopped (SIGTERM)".to_owned())
}

fn untouched(name: &str, endpoint: &str) -> Member {
    Member {
        name: name.to_owned(),
        endpoint: endpoint.to_owned(),
        did: Did::NotTouched,
        size_before: 0,
        size_after: 0,
        quota: 0,
        seconds: 0.0,
        leader: false,
        note: String::new(),
    }
}

/// A member in the log.
fn line(member: &Member) -> String {
    let name = if member.name.is_empty() { String::new() } else { format!("{} ", member.name) };
    let mut line = format!("{name}{}: {:?}", member.endpoint, member.did);
    let mut add = |what: String| {
        line.push_str(", ");
        line.push_str(&what);
    };
    // 0 is a size that nobody knows.
    for (size, when) in [(member.size_before, "before"), (member.size_after, "after")] {
        if size > 0 {
            add(format!("{size} bytes {when}"));
        }
    }
    if member.touched() {
        add(format!("{:.1} s", member.seconds));
    }
    if member.leader {
        add("leader".to_owned());
    }
    if !member.note.is_empty() {
        add(member.note.clone());
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_a_member_has_what_is_known_of_it() {
        let unknown = Member { note: "no connection".to_owned(), ..untouched("", "https://e-0:2379") };
        let known = Member { size_before: 9, leader: true, ..untouched("e-1", "https://e-1:2379") };
        let done = Member { did: Did::Defragmented, size_after: 4, seconds: 0.25, ..known.clone() };
        assert_eq!(
            [unknown, known, done].map(|member| line(&member)),
            [
                "https://e-0:2379: NotTouched, no connection",
                "e-1 https://e-1:2379: NotTouched, 9 bytes before, leader",
                "e-1 https://e-1:2379: Defragmented, 9 bytes before, 4 bytes after, 0.2 s, leader",
            ]
        );
    }
}
