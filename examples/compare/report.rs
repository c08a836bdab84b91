//! The table.

use std::{fmt::Write as _, fs};

use etcd_defrag_webhook::defrag::quantity::human;

use crate::model::{Run, Scenario, about};

/// On what it was measured.
pub(crate) struct Facts {
    pub(crate) live: u64,
    pub(crate) quota: u64,
    pub(crate) wait: String,
    /// Thousandths of a CPU that a slow member has.
    pub(crate) limit: u32,
    pub(crate) etcd_version: String,
    pub(crate) kubernetes_version: String,
}

/// `docs/compare.md`.
pub(crate) fn markdown(scenarios: &[Scenario], facts: &Facts) -> String {
    let mut text = String::from(
        "# defrag.sh and this project, measured\n\n\
         Written by `make compare`; what is wrong here is wrong in `examples/compare`.\n\n\
         | what | whose CronJob | members blocked | at the same time | blocked: longest, in all | reclaimed | time-outs | run | \
         failed writes | slowest write |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for scenario in scenarios {
        for (index, run) in scenario.runs.iter().enumerate() {
            let title = if index == 0 { scenario.title.as_str() } else { "" };
            let _ = writeln!(text, "| {title} | {} |", row(run));
        }
    }
    text.push_str("\n![When members are blocked, and which writes fail](compare.svg)\n\n");
    text.push_str(&how(facts));
    text
}

fn row(run: &Run) -> String {
    let (overlaps, most) = run.overlaps();
    let at_once = match most {
        0 => "–".to_owned(),
        1 => "1".to_owned(),
        most => format!("**{most}**, for {:.0} s", overlaps.iter().map(|one| one.length()).sum::<f64>()),
    };
    let (longest, reclaimed) = match run.members_blocked() {
        0 => ("–".to_owned(), "–".to_owned()),
        _ => (format!("{:.1} s, {:.1} s", run.longest_blocked(), run.blocked_in_all()), run.reclaimed_in_words()),
    };
    let end = if run.exit_code == 0 { "exit 0".to_owned() } else { format!("**exit {}**", run.exit_code) };
    format!(
        "{} | {} of {} | {at_once} | {longest} | {reclaimed} | {} of {:.0} s | {end} | {} of {} | {:.1} s",
        run.who,
        run.members_blocked(),
        run.lanes.len(),
        run.timeouts,
        run.timeout,
        run.failed,
        run.writes,
        run.slowest
    )
}

fn how(facts: &Facts) -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = memory().map(|bytes| format!(", {} of memory", about(bytes))).unwrap_or_default();
    format!(
        "Three members with TLS, as pods of a StatefulSet on a real node, each with {live} live and a quota of {quota}.\n\
         Writes go through every member all the time, one after another and at least 0.3 s apart; a write has failed\n\
         when it is not answered within 2 s. A member is blocked from \"starting defragment\" to \"finished defragment\" in\n\
         its log. What is reclaimed is that of all members together.\n\n\
         The script defragments above 200 MiB to reclaim, or with more than 80 % of 2 GiB in use, whatever the quota is. Our built-in rule\n\
         asks for more than half of the database or, above 80 % of the quota, for more than 256 MiB or a tenth of the quota: with\n\
         `--free 256Mi` it defragments none of these members. The first run of all follows the filling of the database, so its disk\n\
         is busier than that of the others.\n\n\
         The first two CronJobs run the engine etcd-defrag itself, the third our own runner (`job.engine: BuiltIn`). That of\n\
         defrag.sh has the arguments and the pod that the script gives it, and ours are as they are after one label, but for a\n\
         wait of {wait} between members instead of 30s. Runs are begun by hand, not by the schedule. A run that failed is looked at up to its first end\n\
         and until every member is done; `restartPolicy: OnFailure` would then run it once more.\n\n\
         Slow members have {limit} thousandths of a CPU each, which makes defragmentations as slow as a slow disk does.\n\
         Liveness probes are off: kamaji-etcd's would kill such a member in the middle, whoever defragments it, and\n\
         `liveness-too-eager` warns of that.\n\n\
         Machine: {cores} cores{memory}; etcd {etcd}, Kubernetes {kubernetes}. Times differ from run to run.\n\
         Other sizes: `make compare SIZE='--live 3Gi --free 4Gi'`; `--help` has all of them.\n",
        live = human(facts.live),
        quota = human(facts.quota),
        wait = facts.wait,
        limit = facts.limit,
        etcd = facts.etcd_version,
        kubernetes = facts.kubernetes_version,
    )
}

/// Of this machine, in bytes.
fn memory() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? << 10)
}
