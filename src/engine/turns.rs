//! The turns of the members, and what a run does for all of them: compaction before, NOSPACE after.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::{
    cluster::Look,
    error::{Error, Kind},
    log::say,
    run::{Run, Stop, asked_to_end},
};
use crate::defrag::{
    quantity,
    run_result::Did,
    runner::{AlarmKind, Status, next, still_large, successor},
};

/// How long a defragmentation is waited for after SIGTERM. The kubelet kills after 30 seconds, and the result is to be written
/// before.
const GRACE: Duration = Duration::from_secs(25);

/// At least so long between two looks at sizes that change by a compaction. A member writes ten times a second.
const SETTLING: Duration = Duration::from_millis(500);
/// After so many looks at which nothing more was free, the compaction is over.
const SETTLED: u32 = 3;

/// How one turn ended.
#[derive(PartialEq, Eq)]
enum Turn {
    /// Nothing was changed.
    Idle,
    /// The member was, or may still be, away.
    Acted,
}

impl Run<'_> {
    /// Compacts. Nothing depends on it: where it fails, the run goes on.
    ///
    /// Returns how long it took.
    pub(super) async fn compact(&mut self, look: &Look) -> Duration {
        let (Some(at), Some(status)) = (next(&look.voters(), &look.statuses), look.statuses.first()) else {
            return Duration::ZERO;
        };
        let Some(client) = self.client(at) else { return Duration::ZERO };
        let began = Instant::now();
        say(&format!("compacting up to revision {}", status.revision));
        let ended = client.compact(status.revision).await;
        let took = began.elapsed();
        if let Err(error) = ended {
            // Another compaction may have come first; then it is done.
            if !error.text.contains("has been compacted") {
                let text = format!("the compaction failed: {error}");
                say(&text);
                self.notes.push(text);
            }
        }
        took
    }

    /// Looks at the members after a compaction, which each of them carries out by itself: until none has freed more for some looks,
    /// or for as long as a command may take. etcd counts what was freed some writes later, and where the compaction took long, so
    /// do they.
    pub(super) async fn settled(&mut self, compaction: Duration) -> Result<Look, Stop> {
        let in_use = |look: &Look, at: usize| look.statuses.get(at).map(|status| status.db_size_in_use);
        let since = self.elapsed();
        let mut look = self.ready().await?;
        let mut same = 0;
        while same < SETTLED && self.elapsed().saturating_sub(since) < self.options.command_timeout {
            self.pause(SETTLING.max(compaction)).await?;
            let before = std::mem::replace(&mut look, self.ready().await?);
            let freed = look.voters().into_iter().any(|at| in_use(&look, at) < in_use(&before, at));
            same = if freed { 0 } else { same + 1 };
        }
        Ok(look)
    }

    /// Gives each voter its turn.
    pub(super) async fn turns(&mut self, first: Look) -> Result<(), Stop> {
        let mut look = first;
        let mut remaining = look.voters();
        let mut pause_owed = false;
        while let Some(at) = next(&remaining, &look.statuses) {
            if self.shutdown.is_started() {
                return Err(asked_to_end());
            }
            if pause_owed && remaining.iter().any(|at| self.is_due(*at, &look)) {
                pause_owed = false;
                self.rest("for the next member").await?;
                look = self.ready().await?;
                continue;
            }
            let turn = self.turn(at, &mut look).await?;
            remaining.retain(|other| *other != at);
            self.over.push(at);
            if turn == Turn::Acted {
                let failed = self.members.get(at).is_some_and(|member| member.did == Did::Failed);
                if failed && !self.options.continue_on_error {
                    return Err(Stop::Failed(self.why(at)));
                }
                pause_owed = true;
                // Counted from when the member has caught up.
                if !remaining.is_empty() {
                    look = self.ready().await?;
                }
            } else if self.failed && !self.options.continue_on_error {
                return Err(Stop::Failed(self.why(at)));
            }
        }
        Ok(())
    }

    fn is_due(&self, at: usize, look: &Look) -> bool {
        let state = look.statuses.get(at).map(|status| status.state(self.options.quota));
        state.is_some_and(|state| self.options.rule.evaluate(&state).unwrap_or(true))
    }

    /// Pauses for this time, unless there would be no time left for a member.
    async fn rest(&self, what: &str) -> Result<(), Stop> {
        let wait = self.options.wait;
        if !self.deadline.fits(self.elapsed(), wait) {
            return Err(self.no_time());
        }
        if !wait.is_zero() {
            say(&format!("waiting for {wait:?} {what}"));
            self.pause(wait).await?;
        }
        Ok(())
    }

    fn no_time(&self) -> Stop {
        let command = self.options.command_timeout;
        Stop::Deferred(format!("no time is left before the deadline for another member, which may take {command:?}"))
    }

    fn why(&self, at: usize) -> String {
        let member = self.members.get(at);
        member.map(|member| format!("{}: {}", member.name, member.note)).unwrap_or_default()
    }

    fn note(&mut self, at: usize, did: Did, note: String) {
        if let Some(member) = self.members.get_mut(at) {
            member.did = did;
            if !note.is_empty() {
                say(&format!("{}: {note}", member.name));
                member.note = note;
            }
        }
    }

    /// One member's turn, on its status just then.
    async fn turn(&mut self, at: usize, look: &mut Look) -> Result<Turn, Stop> {
        // Members that were left alone take no time, so that what was looked at is of this second.
        let Some(status) = look.statuses.get(at).copied() else { return Ok(Turn::Idle) };
        if let Some(member) = self.members.get_mut(at) {
            member.size_before = status.db_size;
            member.size_after = status.db_size;
            member.leader = status.leads();
            say(&format!(
                "{}: {} in the file, {} of it in use{}",
                member.name,
                quantity::human(status.db_size),
                quantity::human(status.db_size_in_use),
                if status.leads() { ", leads" } else { "" }
            ));
        }
        match self.options.rule.evaluate(&status.state(self.options.quota)) {
            Err(error) => {
                self.failed = true;
                self.note(at, Did::NotTouched, format!("the rule fails for it: {error}"));
                return Ok(Turn::Idle);
            }
            Ok(false) => {
                self.note(at, Did::Skipped, String::new());
                return Ok(Turn::Idle);
            }
            Ok(true) if self.options.dry_run => {
                self.note(at, Did::Checked, String::new());
                return Ok(Turn::Idle);
            }
            Ok(true) => {}
        }
        if !self.deadline.fits(self.elapsed(), Duration::ZERO) {
            return Err(self.no_time());
        }
        if self.options.move_leader
            && status.leads()
            && look.voters().len() > 1
            && let Err(why) = self.move_leader(at, look).await?
        {
            self.failed = true;
            let text = format!("leadership could not be moved away, so it was not defragmented: {why}");
            self.note(at, Did::NotTouched, text);
            return Ok(Turn::Idle);
        }
        if self.shutdown.is_started() {
            return Err(asked_to_end());
        }
        self.defragment(at).await;
        Ok(Turn::Acted)
    }

    /// Moves leadership, once, to a voter whose turn is over and that has caught up, and waits until all follow it.
    async fn move_leader(&mut self, at: usize, look: &mut Look) -> Result<Result<(), String>, Stop> {
        let Some(to) = successor(&self.over, &look.statuses) else {
            return Ok(Err("no other voter has had its turn and caught up".to_owned()));
        };
        let name = |at: usize| look.seats.get(at).map(|seat| seat.name.clone()).unwrap_or_default();
        let (from_name, to_name) = (name(at), name(to));
        let (Some(client), Some(target)) = (self.client(at), look.seats.get(to).map(|seat| seat.id)) else {
            return Ok(Err("it is not connected".to_owned()));
        };
        say(&format!("moving leadership from {from_name} to {to_name}"));
        if let Err(error) = client.move_leader(target).await {
            return Ok(Err(error.text));
        }
        self.leader_from = from_name;
        self.leader_to = to_name;
        self.rest("after moving leadership").await?;
        *look = self.ready().await?;
        if look.statuses.get(at).is_some_and(Status::leads) {
            return Ok(Err("it leads again".to_owned()));
        }
        if !self.deadline.fits(self.elapsed(), Duration::ZERO) {
            return Err(self.no_time());
        }
        Ok(Ok(()))
    }

    async fn defragment(&mut self, at: usize) {
        let Some(client) = self.client(at) else { return };
        say(&format!("defragmenting {}", client.endpoint));
        let began = Instant::now();
        let limit = self.options.command_timeout;
        let given_up = async {
            self.shutdown.started().await;
            sleep(GRACE).await;
        };
        let ended = tokio::select! {
            ended = client.defragment() => ended,
            () = given_up => Err(Error::new(Kind::Unreachable, "the run was stopped (SIGTERM)")),
        };
        let took = began.elapsed();
        // It answers again at once; a moment of silence is no failure.
        let mut after = client.status().await;
        for _ in 0..3 {
            if after.is_ok() || ended.is_err() {
                break;
            }
            sleep(Duration::from_secs(1)).await;
            after = client.status().await;
        }
        if let Some(member) = self.members.get_mut(at) {
            member.seconds = took.as_secs_f64();
            if let Ok(after) = &after {
                member.size_after = after.db_size;
            }
        }
        match (ended, after) {
            (Ok(()), Ok(_)) => self.note(at, Did::Defragmented, String::new()),
            (Ok(()), Err(error)) => {
                let text = format!("it was defragmented, and does not answer since: {error}");
                self.note(at, Did::Failed, text);
            }
            (Err(error), _) => {
                let still =
                    if took >= limit || error.kind == Kind::Unreachable { "; it may still be at work" } else { "" };
                self.note(at, Did::Failed, format!("its defragmentation failed after {took:.1?}: {error}{still}"));
            }
        }
    }

    /// Clears NOSPACE where every database is small enough. Where it fails, the run is done all the same, and says so.
    pub(super) async fn disalarm(&mut self, threshold: f64) {
        let text = match self.try_disalarm(threshold).await {
            Ok(None) => return,
            Ok(Some(text)) => text,
            Err(text) => format!("NOSPACE was not cleared: {text}"),
        };
        say(&text);
        self.notes.push(text);
    }

    async fn try_disalarm(&mut self, threshold: f64) -> Result<Option<String>, String> {
        let look = match self.ready().await {
            Ok(look) => look,
            Err(Stop::Failed(text) | Stop::Deferred(text)) => return Err(text),
        };
        let raised = look.alarms.iter().filter(|alarm| alarm.kind == AlarmKind::NoSpace);
        let raised: Vec<u64> = raised.map(|alarm| alarm.member).collect();
        if raised.is_empty() {
            return Ok(None);
        }
        let sizes: Vec<(&str, u64)> =
            look.seats.iter().zip(&look.statuses).map(|(seat, status)| (seat.name.as_str(), status.db_size)).collect();
        let large = still_large(&sizes, self.options.quota, threshold);
        if !large.is_empty() {
            return Err(format!("still above {threshold} of the quota: {}", large.join(", ")));
        }
        let at = look.voters().first().copied().unwrap_or_default();
        let Some(client) = self.client(at) else { return Err("no member is connected".to_owned()) };
        for member in raised {
            client.disarm(member).await.map_err(|error| error.text)?;
        }
        Ok(Some("NOSPACE was cleared".to_owned()))
    }
}
