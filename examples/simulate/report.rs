//! The table.

use std::fmt::Write as _;

use crate::{
    Options, Row,
    candidate::{self, Candidate},
    model::Shape,
    strategy::Strategy,
};

const MIB: f64 = (1u64 << 20) as f64;

/// `docs/simulation.md`.
pub(crate) fn markdown(rows: &[Row], candidates: &[Candidate], options: &Options) -> String {
    let mut text = format!(
        "# How few runs are enough, simulated\n\n\
         Written by `make simulate`; what is wrong here is wrong in `examples/simulate`. {} days of an etcd of three members with a\n\
         quota of 8 GiB, in steps of ten minutes. A member-run blocks one member for as long as its defragmentation takes. In\n\
         NOSPACE an etcd refuses writes, until the next run.\n\n\
         | growth | decided by | member-runs | reclaimed a run | highest usage | hours in NOSPACE |\n\
         | --- | --- | ---: | ---: | ---: | ---: |\n",
        options.days
    );
    for row in rows {
        for (index, (strategy, outcome)) in row.outcomes.iter().enumerate() {
            let shape = if index == 0 { row.shape.name() } else { "" };
            let each = if outcome.member_runs == 0 {
                "–".to_owned()
            } else {
                format!("{:.0} MiB", outcome.reclaimed / MIB / f64::from(outcome.member_runs))
            };
            let hours = loud(outcome.hours());
            let _ = writeln!(
                text,
                "| {shape} | {} | {} | {each} | {:.0} % | {hours} |",
                strategy.name(),
                outcome.member_runs,
                outcome.highest * 100.0
            );
        }
    }
    text.push_str("\n![Member-runs by pattern and strategy](simulation.svg)\n\n## In all\n\n| decided by | member-runs | hours in NOSPACE |\n| --- | ---: | ---: |\n");
    for strategy in Strategy::ALL {
        let outcomes = rows.iter().flat_map(|row| &row.outcomes).filter(|(one, _)| *one == strategy);
        let (runs, hours) = outcomes.fold((0, 0.0), |sum, (_, one)| (sum.0 + one.member_runs, sum.1 + one.hours()));
        let _ = writeln!(text, "| {} | {runs} | {hours:.0} |", strategy.name());
    }
    text.push_str(&compared(candidates));
    text.push_str("\n## Strategies\n\n");
    for strategy in Strategy::ALL {
        let _ = writeln!(text, "- **{}**: {}.", strategy.name(), strategy.about());
    }
    text.push_str(
        "\n## Patterns\n\nEach is made up from a seed, after a reason that is known; none is a recording.\n\n",
    );
    for shape in Shape::ALL {
        let _ = writeln!(text, "- **{}**: {}", shape.name(), shape.about());
    }
    let _ = write!(
        text,
        "\n## The model, and what it cannot say\n\n\
         bbolt keeps freed pages in its file and gives them to new data; the file never shrinks until it is written anew. A value of\n\
         several pages needs them in a row, so not every free page is of use: after each deletion {:.0} % of the\n\
         free pages are (`--contiguous`), an assumption and not a measurement. With 100 % a file is never larger than the most that was ever in use at\n\
         once, and defragmentation prevents no NOSPACE at all; the difference between nightly and on-demand runs in the pattern\n\
         *storm* is this assumption. Defragmentation takes no time, members are alike, and an alarm is lifted with the next\n\
         run. Rules are evaluated, and runs on demand are decided, by the code that does it in a cluster.\n\n\
         A rule that fires far from the quota does not become one that runs less often by being measured: the database is given\n\
         back at noon what it takes again in the evening. What measuring adds is the pattern *storm*, where the quota is reached\n\
         between two nights: [on-demand.md](on-demand.md).\n",
        options.contiguous * 100.0
    );
    text
}

/// A number that ought to be zero, shown where it is not.
fn loud(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("**{value:.0}**") }
}

/// The candidates for the built-in rule.
fn compared(candidates: &[Candidate]) -> String {
    let names: Vec<&str> = Shape::ALL.into_iter().map(Shape::name).collect();
    let mut text = format!(
        "\n## The built-in rule, and what else it could be\n\n\
         Each at midnight, of the form\n\
         `(dbSizeFree > 0.5*dbSize && dbSizeInUse > 100*1024*1024) || (dbQuotaUsage > 0.8 && dbSizeFree > N)`, with or without a third part: member-runs by pattern and in all, and hours in NOSPACE. Of two properties it is\n\
         shown for which quotas from 100 MiB to 16 GiB the analysis proves them: that the rule is true wherever the alert\n\
         `etcdDatabaseHighFragmentationRatio` of the etcd mixin is, and that it is true above 90 % of the quota wherever enough can be\n\
         reclaimed (a tenth of the quota, at least 32 MiB and at most 256 MiB).\n\n\
         | candidate | {} | member-runs | hours in NOSPACE | true where the alert is | true near the quota |\n\
         | --- | {}---: | ---: | --- | --- |\n",
        names.join(" | "),
        "---: | ".repeat(names.len())
    );
    let chosen = candidate::chosen(candidates).map(|candidate| candidate.name.as_str());
    for one in candidates {
        let runs: Vec<String> = one.outcomes.iter().map(|outcome| outcome.member_runs.to_string()).collect();
        let name = if chosen == Some(one.name.as_str()) { format!("**{}**", one.name) } else { one.name.clone() };
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {:.0} | {} | {} |",
            runs.join(" | "),
            one.member_runs(),
            one.hours(),
            candidate::missing(&one.alert),
            candidate::missing(&one.ceiling)
        );
    }
    if let Some(chosen) = candidate::chosen(candidates) {
        let _ = write!(
            text,
            "\nChosen is, of those that are proven for every quota and no longer in NOSPACE than every night gives, the one with the\n\
             fewest member-runs: `{}`. An N of bytes alone is too much for a small quota or too little\n\
             for a large one; a third part buys no hour for its runs ([decision 27](decisions/027-the-default-rule.md)).\n",
            chosen.rule
        );
    }
    text
}
