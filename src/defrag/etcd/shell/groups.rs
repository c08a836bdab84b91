//! The groups `{ … }` of a script, and which shell runs each.

use std::collections::BTreeMap;

use super::lex::{Item, KEYWORDS, Word};

/// For each part of a script that begins groups, whether they run in a shell of their own: in a pipe, or in the background. It is
/// absent where they differ in that, or do not end.
pub(super) fn groups(items: &[Item]) -> BTreeMap<usize, bool> {
    // Where it begins, and whether that is enough to tell; nothing for the body of a function.
    let mut open: Vec<Option<(usize, bool)>> = Vec::new();
    let mut begun: BTreeMap<usize, usize> = BTreeMap::new();
    let mut ended: BTreeMap<usize, Vec<bool>> = BTreeMap::new();
    let mut defines = false;
    let mut is_pattern = false;
    for (index, item) in items.iter().enumerate() {
        let command = match item {
            Item::Command(command) => command,
            Item::Open => {
                defines = false;
                continue;
            }
            Item::Branch => {
                is_pattern = true;
                continue;
            }
            _ => continue,
        };
        let ends_case = command.words.first().and_then(Word::literal) == Some("esac");
        if std::mem::take(&mut is_pattern) && !ends_case {
            continue;
        }
        let mut words = command.words.iter();
        let mut beside = false;
        while let Some(word) = words.next().and_then(Word::literal) {
            match word {
                "{" if std::mem::take(&mut defines) => open.push(None),
                "{" => {
                    *begun.entry(index).or_default() += 1;
                    open.push(Some((index, beside)));
                }
                "}" => {
                    if let Some((from, beside)) = open.pop().flatten() {
                        ended.entry(from).or_default().push(beside || command.apart);
                    }
                }
                "coproc" => beside = true,
                "function" => {
                    words.next();
                    defines = true;
                }
                word if word.ends_with("()") => defines = true,
                word if KEYWORDS.contains(&word) => {}
                _ => break,
            }
        }
    }
    let settled = ended.into_iter().filter_map(|(from, apart)| {
        let first = *apart.first()?;
        let agree = begun.get(&from) == Some(&apart.len()) && apart.iter().all(|apart| *apart == first);
        agree.then_some((from, first))
    });
    settled.collect()
}
