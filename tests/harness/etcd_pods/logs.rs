//! What the members of an etcd of pods say of themselves.

use jiff::Timestamp;
use serde_json::Value;

use super::EtcdPods;

/// A line of etcd's log.
#[derive(Debug, Clone)]
pub struct EtcdLog {
    pub time: Timestamp,
    pub message: String,
    /// The whole line.
    pub line: Value,
}

/// One defragmentation, by the log of the member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defragmentation {
    /// The pod.
    pub pod: String,
    pub from: Timestamp,
    /// `None` where the log ends before it does.
    pub to: Option<Timestamp>,
}

impl Defragmentation {
    /// How many members were blocked at the same time, at most. One whose end is not in its log is blocked from its beginning on.
    pub fn most_at_once(all: &[Self]) -> usize {
        let blocked =
            |at: Timestamp| all.iter().filter(|one| one.from <= at && one.to.is_none_or(|to| to > at)).count();
        all.iter().map(|one| blocked(one.from)).max().unwrap_or_default()
    }
}

impl EtcdPods<'_> {
    /// What a pod's container has logged since it was started last, or where
    /// `previous` in its life before.
    #[track_caller]
    pub fn log(&self, pod: &str, previous: bool) -> Vec<EtcdLog> {
        let previous = format!("--previous={previous}");
        let text = self.plane.kubectl_ok(&["-n", &self.namespace, "logs", pod, "-c", "etcd", &previous]);
        read(&text)
    }

    /// Every defragmentation that the members' containers have logged since they
    /// were started last, in the order of time.
    #[track_caller]
    pub fn defragmentations(&self) -> Vec<Defragmentation> {
        let mut all: Vec<Defragmentation> =
            self.pods().iter().flat_map(|pod| defragmentations(pod, &self.log(pod, false))).collect();
        all.sort_by_key(|defragmentation| defragmentation.from);
        all
    }
}

/// The defragmentations in the log of one member.
pub(crate) fn defragmentations(pod: &str, log: &[EtcdLog]) -> Vec<Defragmentation> {
    let mut found: Vec<Defragmentation> = Vec::new();
    for line in log {
        match line.message.as_str() {
            "starting defragment" => found.push(Defragmentation { pod: pod.to_owned(), from: line.time, to: None }),
            "finished defragment" => {
                if let Some(last) = found.last_mut() {
                    last.to = Some(line.time);
                }
            }
            _ => {}
        }
    }
    found
}

/// What a member has logged.
pub(crate) fn read(text: &str) -> Vec<EtcdLog> {
    text.lines().filter_map(parse).collect()
}

fn parse(text: &str) -> Option<EtcdLog> {
    let line: Value = serde_json::from_str(text).ok()?;
    let time = line["ts"].as_str()?.parse().ok()?;
    Some(EtcdLog { time, message: line["msg"].as_str()?.to_owned(), line })
}
