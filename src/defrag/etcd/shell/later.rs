//! Where variables are set, which loops and functions read before that.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    arithmetic,
    lex::{GIVEN, Item, KEYWORDS, Piece, Word, is_identifier},
};

/// What sets each variable that its words name.
const SETTERS: [&str; 8] = ["read", "mapfile", "readarray", "getopts", "unset", "printf", "let", "select"];

/// Where each variable is set last, as the number of a part of the script, and whether it may be set to several words.
#[derive(Debug, Default)]
pub(super) struct Later(BTreeMap<String, (usize, bool)>);

impl Later {
    pub(super) fn of(items: &[Item]) -> Self {
        let mut all: BTreeMap<String, (usize, bool)> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let has_blanks = matches!(item, Item::Command(command) if command.words.iter().any(may_have_blanks));
            for name in names_set(item) {
                let (at, blanks) = all.entry(name.to_owned()).or_default();
                *at = index;
                *blanks |= has_blanks;
            }
        }
        Self(all)
    }

    pub(super) fn is_set_behind(&self, now: usize, name: &str) -> bool {
        self.0.get(name).is_some_and(|(at, _)| *at > now)
    }

    pub(super) fn may_have_blanks(&self, name: &str) -> bool {
        self.0.get(name).is_none_or(|(_, blanks)| *blanks)
    }
}

fn may_have_blanks(word: &Word) -> bool {
    fn has(piece: &Piece) -> bool {
        match piece {
            Piece::Literal(text) => text.contains([' ', '\t', '\n']),
            Piece::Default { word, .. } => word.iter().any(has),
            _ => false,
        }
    }
    word.array.is_some() || word.pieces.iter().any(has)
}

/// The variables that are set somewhere in a loop: at its beginning they may have the value from its end.
pub(super) fn set_in_loops(items: &[Item]) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut loops = 0_usize;
    for item in items {
        if let Item::Command(command) = item {
            let keywords = command.words.iter().map_while(|word| word.literal().filter(|word| is_keyword(word)));
            for keyword in keywords {
                match keyword {
                    "for" | "while" | "until" | "select" => loops += 1,
                    "done" => loops = loops.saturating_sub(1),
                    _ => {}
                }
            }
        }
        if loops > 0 {
            names.extend(names_set(item));
        }
    }
    names
}

/// The variables that a part of a script may set.
pub(super) fn names_set(item: &Item) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let words = match item {
        Item::Command(command) => command.words.as_slice(),
        Item::Arithmetic(text) => {
            names.extend(arithmetic::assigned(text));
            return names;
        }
        _ => return names,
    };
    let mut words = words.iter().peekable();
    while words.next_if(|word| word.literal().is_some_and(is_keyword)).is_some() {}
    let first = words.peek().and_then(|word| word.literal());
    let sets_all = first.is_some_and(|word| SETTERS.contains(&word));
    names.extend(first.filter(|word| matches!(*word, "set" | "shift")).map(|_| GIVEN));
    for word in words {
        names.extend(word.assigned().map(|assigned| assigned.name));
        names.extend(word.literal().filter(|text| sets_all && is_identifier(text)));
        names.extend(word.pieces.iter().filter_map(|piece| match piece {
            Piece::Default { name, sign: '=', .. } => Some(name.as_str()),
            _ => None,
        }));
    }
    names
}

fn is_keyword(word: &str) -> bool {
    KEYWORDS.contains(&word) || matches!(word, "for" | "select")
}
