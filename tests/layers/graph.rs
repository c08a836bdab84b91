//! Circles in the graph of imports.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::imports::Import;

/// For each file that imports itself by way of others the shortest way round; a circle is named once.
pub fn circles(imports: &[Import]) -> Vec<Vec<&Import>> {
    let mut from = BTreeMap::<&str, Vec<&Import>>::new();
    for import in imports {
        from.entry(&import.from).or_default().push(import);
    }
    let mut seen = BTreeSet::new();
    let all = from.keys().filter_map(|start| shortest(start, &from));
    all.filter(|circle| seen.insert(circle.iter().map(|import| &import.from).collect::<BTreeSet<_>>())).collect()
}

/// The shortest way from `start` back to it.
fn shortest<'a>(start: &str, from: &BTreeMap<&str, Vec<&'a Import>>) -> Option<Vec<&'a Import>> {
    let mut reached = BTreeMap::<&str, &Import>::new();
    let mut next = VecDeque::from([start]);
    while let Some(file) = next.pop_front() {
        for import in from.get(file).into_iter().flatten() {
            if !reached.contains_key(import.to.as_str()) {
                reached.insert(&import.to, import);
                next.push_back(&import.to);
            }
        }
    }
    let mut circle = vec![*reached.get(start)?];
    while let Some(last) = circle.last().filter(|import| import.from != start) {
        circle.push(reached.get(last.from.as_str())?);
    }
    circle.reverse();
    Some(circle)
}
