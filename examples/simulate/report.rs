//! The table.

use std::fmt::Write as _;

use crate::{Options, Row, model::Shape, strategy::Strategy};

const MIB: f64 = (1u64 << 20) as f64;

/// `docs/simulation.md`.
pub(crate) fn markdown(rows: &[Row], options: &Options) -> String {
    let mut text = format!(
        "# How few runs are enough, simulated\n\n\
         Written by `make simulate`; what is wrong here is wrong in `examples/simulate`. {} days of an etcd of three members with a\n\
         quota of 8 GiB, in steps of ten minutes. A member-run blocks one member for as long as its defragmentation takes.\n\n\
         | growth | decided by | member-runs | reclaimed a run | highest usage | NOSPACE |\n\
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
            let nospace = if outcome.nospace == 0 { "0".to_owned() } else { format!("**{}**", outcome.nospace) };
            let _ = writeln!(
                text,
                "| {shape} | {} | {} | {each} | {:.0} % | {nospace} |",
                strategy.name(),
                outcome.member_runs,
                outcome.highest * 100.0
            );
        }
    }
    text.push_str("\n![Member-runs by pattern and strategy](simulation.svg)\n\n## In all\n\n| decided by | member-runs | NOSPACE |\n| --- | ---: | ---: |\n");
    for strategy in Strategy::ALL {
        let outcomes = rows.iter().flat_map(|row| &row.outcomes).filter(|(one, _)| *one == strategy);
        let (runs, nospace) = outcomes.fold((0, 0), |sum, (_, one)| (sum.0 + one.member_runs, sum.1 + one.nospace));
        let _ = writeln!(text, "| {} | {runs} | {nospace} |", strategy.name());
    }
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
         back at noon what it takes again in the evening. Few runs need a rule that waits for the quota, which only those who\n\
         measure can afford: [on-demand.md](on-demand.md).\n",
        options.contiguous * 100.0
    );
    text
}
