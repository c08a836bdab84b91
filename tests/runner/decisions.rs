//! The same decisions as etcd-defrag: which members, in which order, and the exit code; and where ours are others, as
//! `docs/policies.md` says.
//!
//! `make decisions` makes many more of them, on more clusters: `DECISIONS` dry runs and `WHOLE_RUNS` runs.

use std::{path::Path, process::Command, thread, time::Duration};

use etcd_defrag_webhook::defrag::run_result::{Did, Outcome};
use harness::{EtcdCluster, EtcdOptions, engine_on_path, eventually};

use crate::support::{PATIENT, Runner, cluster, files, fill_up, is_full, waste};

const MIB: u64 = 1 << 20;

/// What is decided of each endpoint, in the order of the turns, and the exit code.
type Decisions = (Vec<(String, bool)>, i32);

/// What etcd-defrag decides, by its log.
fn theirs(engine: &Path, etcd: &EtcdCluster, endpoints: &[String], args: &[String]) -> Decisions {
    let mut command = Command::new(engine);
    command.arg(format!("--endpoints={}", endpoints.join(","))).args(PATIENT).args(files(etcd)).args(args);
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    let mut decided = Vec::new();
    for line in log.lines() {
        let quoted = || line.split('"').nth(1).unwrap_or_default().to_owned();
        if line.contains("[Dry run] skip defragmenting") || line.contains("Finished defragmenting") {
            decided.push((quoted(), true));
        } else if let Some((_, endpoint)) = line.split_once("Evaluation result is false, so skipping endpoint: ") {
            decided.push((endpoint.to_owned(), false));
        }
    }
    (decided, output.status.code().unwrap())
}

fn ours(etcd: &EtcdCluster, args: &[String]) -> Decisions {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let run = Runner::new(etcd).args(&args).run();
    let members = run.result.members.iter();
    let decided = members.filter(|member| member.did != Did::NotTouched);
    let decided = decided.map(|member| (member.endpoint.clone(), member.did != Did::Skipped)).collect();
    (decided, run.code)
}

/// Rules of every kind. Some are wrong, some are wrong for some states only.
const RULES: [&str; 13] = [
    "",
    "dbSizeFree > 1*1024*1024",
    "dbSizeFree > 100*1024*1024",
    "dbQuotaUsage > 0.8",
    "dbQuotaUsage > 80/100",
    "dbSize > 80/100*dbQuota",
    "dbQuotaUsage > 0.2 && dbSizeFree > 200*1024",
    "dbSize - dbSizeInUse > dbSize / 2",
    "dbQuota / dbSize > 3.5 ? dbSizeFree > 0 : dbSizeFree < 0",
    "dbSize % 4096 == 0",
    "dbSize >",
    "dbSize",
    "1 / (dbSize - 104857600) > 0",
];

/// What one etcd is compared on, and what was compared so far.
struct Comparison<'a> {
    engine: &'a Path,
    etcd: EtcdCluster,
    members: usize,
    /// The quota of one that has reached it.
    full: Option<u64>,
    dry: usize,
    whole: usize,
    moved: usize,
}

impl Comparison<'_> {
    /// Another state: other sizes, other shares in use, another leader, or members that differ.
    fn shift(&self, round: usize) {
        let etcd = &self.etcd;
        let endpoints = etcd.endpoints();
        let one = &endpoints[round % endpoints.len()];
        let full = self.full.is_some();
        match round % 4 {
            0 | 2 if !full => waste(etcd, 1 + round % 3),
            1 => {
                let status = etcd.etcdctl_command().env("ETCDCTL_ENDPOINTS", one).arg("defrag").status().unwrap();
                assert!(status.success());
            }
            3 if self.members > 1 => {
                let run = Runner::new(etcd).args(&["--move-leader", "--compaction=false"]).run();
                assert_eq!(run.count(Did::Defragmented), self.members);
            }
            _ => {}
        }
        self.settle();
    }

    /// etcd writes a moment after it has answered, and a compaction goes on.
    fn settle(&self) {
        let etcd = &self.etcd;
        let sizes = || etcd.status().iter().map(|one| (one.db_size, one.db_size_in_use)).collect::<Vec<_>>();
        let mut last = sizes();
        eventually("the sizes to stay as they are", Duration::from_mins(1), || {
            thread::sleep(Duration::from_millis(300));
            let now = sizes();
            let same = now == last;
            last = now;
            same.then_some(())
        });
    }

    /// Rules that are just true, or just not, for the sizes that a member has now.
    fn rules(&self, round: usize) -> Vec<String> {
        let status = self.etcd.status();
        let member = &status[round % status.len()];
        let (size, free) = (member.db_size, member.db_size - member.db_size_in_use);
        let exact = [
            format!("dbSize >= {size}"),
            format!("dbSize > {size}"),
            format!("dbSizeFree >= {free}"),
            format!("dbSizeInUse < {} || dbQuotaUsage > 0.5", member.db_size_in_use),
        ];
        RULES.iter().map(|rule| (*rule).to_owned()).chain(exact).collect()
    }

    /// Dry runs on the state that is there.
    fn dry_runs(&mut self, round: usize, wanted: usize) {
        let quotas = [16 * MIB, 64 * MIB, 2 << 30];
        for (number, rule) in self.rules(round).into_iter().enumerate() {
            if self.dry >= wanted {
                return;
            }
            let turn = round + number;
            let mut args = vec![
                format!("--etcd-storage-quota-bytes={}", quotas[turn % 3]),
                format!("--defrag-rule={rule}"),
                "--dry-run".to_owned(),
                format!("--continue-on-error={}", turn.is_multiple_of(2)),
            ];
            args.extend(["--cluster", "--move-leader", "--auto-disalarm"].get(turn % 5).map(|arg| (*arg).to_owned()));
            self.alike(&args);
            self.dry += 1;
        }
    }

    fn alike(&self, args: &[String]) {
        let of_theirs = theirs(self.engine, &self.etcd, self.etcd.endpoints(), args);
        assert_eq!(of_theirs, ours(&self.etcd, args), "{} members, {args:?}", self.members);
    }

    /// A run of one of the two does what a dry run of the other has said of the same state; then they change sides.
    fn whole_run(&mut self, round: usize) {
        if self.full.is_some() && !is_full(&self.etcd) {
            fill_up(&self.etcd);
            self.settle();
        }
        let member = self.etcd.status().into_iter().nth(round % self.members).unwrap();
        let rule = match round % 3 {
            0 => String::new(),
            1 => format!("dbSize >= {}", member.db_size),
            _ => format!("dbSize > {}", member.db_size),
        };
        // A compaction changes sizes, which the dry run does not know of.
        let compaction = rule.is_empty();
        let mut args = vec![format!("--defrag-rule={rule}"), format!("--compaction={compaction}")];
        args.push("--continue-on-error=false".to_owned());
        if let Some(quota) = self.full {
            args.extend([format!("--etcd-storage-quota-bytes={quota}"), "--auto-disalarm".to_owned()]);
        }
        if (round / 2).is_multiple_of(2) {
            args.push("--move-leader".to_owned());
        }
        if (round / 3).is_multiple_of(2) {
            args.push("--cluster".to_owned());
        }
        let dry: Vec<String> = args.iter().cloned().chain(["--dry-run".to_owned()]).collect();
        let before = self.leader();
        let endpoints = self.etcd.endpoints();
        let (foretold, done) = if round.is_multiple_of(2) {
            (theirs(self.engine, &self.etcd, endpoints, &dry), ours(&self.etcd, &args))
        } else {
            (ours(&self.etcd, &dry), theirs(self.engine, &self.etcd, endpoints, &args))
        };
        assert_eq!(foretold, done, "{} members, round {round}, {args:?}", self.members);
        let led = done.0.iter().any(|(endpoint, defragmented)| *defragmented && *endpoint == before);
        if led && self.members > 1 && args.iter().any(|arg| arg == "--move-leader") {
            assert_ne!(self.leader(), before, "round {round}, {args:?}");
            self.moved += 1;
        }
        if let Some(quota) = self.full {
            // The alarm is cleared where no member is above the threshold any more, which is 90 % of the quota by default.
            let is_above = self.etcd.status().iter().any(|member| member.db_size * 10 >= quota * 9);
            assert_eq!(is_full(&self.etcd), is_above, "round {round}, {args:?}");
            assert!(!compaction || !is_above, "a compaction frees nearly all: round {round}, {args:?}");
        }
        self.whole += 1;
    }

    fn leader(&self) -> String {
        self.etcd.status().into_iter().find(|member| member.is_leader).unwrap().endpoint
    }
}

fn count(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

#[test]
fn the_decisions_are_those_of_etcd_defrag() {
    let Some(engine) = engine_on_path() else {
        println!("SKIPPED: etcd-defrag is not on PATH, so there is nothing to compare with");
        return;
    };
    let (dry, whole) = (count("DECISIONS", 51), count("WHOLE_RUNS", 4));
    let quota = Some(64 * MIB);
    let default = EtcdOptions { quota, ..EtcdOptions::default() };
    let mut all = vec![("three members with TLS", default.clone(), false)];
    if dry > 100 {
        let plain = EtcdOptions { tls: false, quota, ..EtcdOptions::default() };
        all.extend([
            ("one member", EtcdOptions { members: 1, ..default.clone() }, false),
            ("three members without TLS", plain.clone(), false),
            ("five members", EtcdOptions { members: 5, ..plain.clone() }, false),
            ("three full members", EtcdOptions { quota: Some(16 * MIB), ..plain }, true),
        ]);
    }
    let share = |total: usize| total.div_ceil(all.len());
    let (dry, whole) = (share(dry), share(whole));
    thread::scope(|scope| {
        let done: Vec<_> = all
            .into_iter()
            .map(|(name, options, full)| {
                let engine = &engine;
                scope.spawn(move || (name, compare(engine, &options, full, dry, whole)))
            })
            .collect();
        for one in done {
            let (name, (dry, whole, moved)) = one.join().unwrap();
            println!(
                "{name}: {dry} dry runs and {whole} runs were decided alike, {moved} of these with a moved leader"
            );
        }
    });
}

fn compare(engine: &Path, options: &EtcdOptions, full: bool, dry: usize, whole: usize) -> (usize, usize, usize) {
    let etcd = cluster(options);
    if full {
        fill_up(&etcd);
    } else {
        waste(&etcd, 4);
    }
    let full = options.quota.filter(|_| full);
    let mut one = Comparison { engine, etcd, members: options.members, full, dry: 0, whole: 0, moved: 0 };
    for round in 0.. {
        if one.dry >= dry {
            break;
        }
        one.shift(round);
        one.dry_runs(round, dry);
    }
    for round in 0..whole {
        one.shift(2 * round);
        one.whole_run(round);
    }
    (one.dry, one.whole, one.moved)
}

/// Where the two differ, and are meant to: each row of the table in `docs/policies.md`.
#[test]
fn what_differs_from_etcd_defrag_is_what_is_documented() {
    let Some(engine) = engine_on_path() else {
        println!("SKIPPED: etcd-defrag is not on PATH, so there is nothing to compare with");
        return;
    };
    let etcd = cluster(&EtcdOptions { tls: false, ..EtcdOptions::default() });
    let all = etcd.endpoints();
    let args = |extra: &[&str]| extra.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();

    // A voter that is not named.
    let two = &all[..2];
    let (decided, code) = theirs(&engine, &etcd, two, &args(&["--dry-run"]));
    assert_eq!((decided.len(), code), (2, 0));
    let run = Runner::of(&etcd, &two.join(",")).args(&["--dry-run"]).run();
    run.ended(Outcome::Failed, "which no endpoint reaches");

    // Two names of one member.
    let twice = vec![all[0].clone(), all[0].replace("127.0.0.1", "localhost"), all[1].clone(), all[2].clone()];
    let (decided, code) = theirs(&engine, &etcd, &twice, &args(&["--dry-run"]));
    assert_eq!((decided.len(), code), (4, 0));
    let run = Runner::of(&etcd, &twice.join(",")).args(&["--dry-run"]).run();
    run.ended(Outcome::Failed, "both reach the member etcd-0");

    // A flag that nobody knows.
    assert_eq!(theirs(&engine, &etcd, all, &args(&["--no-such-flag"])).1, 1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_etcd-defrag-webhook"));
    assert_eq!(command.args(["defrag", "--no-such-flag"]).output().unwrap().status.code(), Some(2));

    // A member that is away: nothing is touched by either, and only ours may be tried again.
    let victim = etcd.member(2);
    victim.kill();
    let short = ["--command-timeout=5s", "--dial-timeout=2s", "--compaction=false"];
    let mut command = Command::new(&engine);
    let output = command.arg(format!("--endpoints={}", all.join(","))).args(short).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let run = Runner::new(&etcd).args(&["--command-timeout=2s", "--deadline=4s"]).run();
    run.ended(Outcome::Deferred, "cannot be reached");
    assert!(run.code == 75 && run.result.no_member_was_touched());
    victim.start();
}
