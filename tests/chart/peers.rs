//! The README compares the values with those of other charts. What it says is here, is.

use std::{collections::BTreeSet, fs};

use super::readme::documented;
use harness::chart;

#[test]
fn what_the_comparison_says_is_here_is_here() {
    let readme = fs::read_to_string(chart().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("\n## Compared with other charts\n").unwrap();
    let known: BTreeSet<String> = documented().into_iter().collect();
    let groups: BTreeSet<&str> = known.iter().filter_map(|name| Some(name.rsplit_once('.')?.0)).collect();
    let (mut have, mut why_not) = (0, 0);
    for row in rest.lines().filter(|row| row.starts_with("| `")) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [_, _, _, here] = cells[..] else { panic!("{row} has not four cells") };
        let here = here.trim();
        if let Some(reason) = here.strip_prefix("no: ") {
            assert!(reason.len() > 10, "{row} gives no reason");
            why_not += 1;
            continue;
        }
        let names: Vec<&str> = here.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row} names no value of ours");
        for name in names {
            assert!(known.contains(name) || groups.contains(name), "{name} is no value: {row}");
        }
        have += 1;
    }
    println!("{have} rows with a value of ours, {why_not} with a reason why not");
    assert!(have > 30 && why_not > 10);
}
