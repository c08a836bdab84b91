//! All possible values of a variable: those that branches or loops assign to it, if all are visible.

use std::collections::BTreeSet;

use super::{
    super::{
        lex::{GIVEN, Piece, Word, is_position},
        several::{BLANKS, MOST_TEXTS, joined, one_of, unseen},
    },
    Variables,
};
use crate::defrag::etcd::{
    expand::Content,
    marks::{ONE_OF, UNKNOWN},
};

impl Variables<'_> {
    /// The texts of which a variable is one before it is set once more.
    pub(super) fn texts_before(&mut self, name: &str) -> Vec<String> {
        match self.texts(name) {
            Some(texts) => texts,
            None if self.content(name) == Content::Unset => vec![String::new()],
            None => vec![self.environment.shell(name)],
        }
    }

    /// The possible values of a variable, if all of them are visible.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let texts = &self.environment.variable(name)?.one_of;
        let length = texts.iter().map(|text| text.len() + 1).sum();
        let is_known = !texts.is_empty() && !self.is_set_later(name);
        if is_known && self.spend(length) { Some(self.environment.variable(name)?.one_of.clone()) } else { None }
    }

    fn spend(&mut self, characters: usize) -> bool {
        self.budget = self.budget.saturating_sub(characters);
        self.budget > 0
    }

    /// Whether a loop or a function may run this part of the script once more, after a variable was set further on.
    pub(super) fn is_set_later(&self, name: &str) -> bool {
        self.repeated > 0 && self.later.is_set_behind(self.now, name)
    }

    pub(super) fn content(&self, name: &str) -> Content {
        if is_position(name) {
            return match self.position(name).as_deref() {
                Some("") => Content::Unset,
                Some(text) if text.starts_with(UNKNOWN) => Content::Unknown,
                Some(_) => Content::Text,
                None => Content::Unknown,
            };
        }
        if self.is_set_later(name) { Content::Unknown } else { self.environment.content(name) }
    }

    /// The word of this number that the script is given; `None` where it is not known.
    pub(super) fn position(&self, name: &str) -> Option<String> {
        let number: usize = name.parse().ok()?;
        let Some(index) = number.checked_sub(1) else { return Some(self.zero.clone()) };
        let items = &self.arrays.get(GIVEN).filter(|_| self.functions == 0)?.items;
        let is_counted = items.iter().take(number).all(|item| !item.starts_with(ONE_OF) && !item.starts_with(UNKNOWN));
        is_counted.then(|| items.get(index).cloned().unwrap_or_default())
    }

    /// What is seen of one of several texts, and these where they are few.
    pub(super) fn either(&mut self, mut texts: Vec<String>) -> (String, Vec<String>) {
        texts.sort();
        texts.dedup();
        let value = unseen(texts.iter().any(|text| text.contains(BLANKS)));
        let length = texts.iter().map(|text| text.len() + 1).sum();
        let are_few = texts.len() <= MOST_TEXTS && self.spend(length);
        (value, if are_few { texts } else { Vec::new() })
    }

    /// What is seen of an array that has these words or those from before.
    pub(super) fn either_items(&mut self, name: &str, items: &[String]) -> String {
        let before = self.items(name);
        let all = joined(&before).zip(joined(items)).map(|(mut all, now)| {
            all.extend(now);
            all
        });
        match all.map(|all| self.either(all)) {
            Some((_, texts)) if !texts.is_empty() => one_of(&texts),
            _ => UNKNOWN.to_string(),
        }
    }

    /// Takes words away from the front of those that the script is given.
    pub(in super::super) fn shift(&mut self, count: Option<usize>, certain: bool) {
        let items = self.items(GIVEN);
        let is_counted = items.iter().all(|item| !item.starts_with(ONE_OF) && !item.starts_with(UNKNOWN));
        match count.filter(|_| certain && is_counted).and_then(|count| items.get(count..)) {
            Some(rest) => self.set_array(GIVEN, rest.to_vec(), true),
            None => self.doubt(GIVEN),
        }
    }

    /// The possible values of a part of a word, if all are visible and there are several.
    pub(super) fn texts_of(&mut self, piece: &Piece, certain: bool) -> Option<Vec<String>> {
        let (name, sign, or_empty, word) = match piece {
            Piece::Variable { name, .. } => return self.texts(name),
            Piece::Default { name, sign, or_empty, word, .. } => (name, *sign, *or_empty, word),
            _ => return None,
        };
        let values = match self.texts(name) {
            Some(texts) => texts,
            None if self.content(name) == Content::Unknown => vec![self.text(name)],
            None => return None,
        };
        let instead = self.texts_from(vec![String::new()], word, certain)?;
        let mut all = BTreeSet::new();
        for value in values {
            let may_lack = if value.is_empty() { true } else { value.starts_with(UNKNOWN) };
            let may_have = if value.is_empty() { !or_empty } else { true };
            match sign {
                '+' => {
                    all.extend(instead.iter().filter(|_| may_have).cloned());
                    all.extend(may_lack.then(String::new));
                }
                '-' | '=' => {
                    all.extend(instead.iter().filter(|_| may_lack).cloned());
                    all.extend(may_have.then_some(value));
                }
                _ => {
                    all.insert(value);
                }
            }
        }
        if sign == '=' {
            let (value, texts) = self.either(all.iter().cloned().collect());
            self.set_one_of(name, value, texts, certain);
        }
        (all.len() <= MOST_TEXTS).then(|| all.into_iter().collect())
    }

    /// The texts that begin with one of `all` and go on with these pieces.
    fn texts_from(&mut self, mut all: Vec<String>, pieces: &[Piece], certain: bool) -> Option<Vec<String>> {
        for piece in pieces {
            match self.texts_of(piece, certain) {
                Some(texts) if all.len() * texts.len() > MOST_TEXTS => return None,
                Some(texts) => {
                    let behind = |text: &String| texts.iter().map(|next| format!("{text}{next}")).collect::<Vec<_>>();
                    all = all.iter().flat_map(behind).collect();
                }
                None => {
                    let text = self.value(std::slice::from_ref(piece), certain);
                    for one in &mut all {
                        one.push_str(&text);
                    }
                }
            }
        }
        let length = all.iter().map(|text| text.len() + 1).sum();
        self.spend(length).then_some(all)
    }

    /// The texts of which a word assigns one, where one of its parts is one of several.
    pub(super) fn texts_assigned(&mut self, word: &Word, certain: bool) -> Option<Vec<String>> {
        let assigned = word.assigned()?;
        let of_variable = |name: &str| self.environment.variable(name).is_some_and(|found| !found.one_of.is_empty());
        let is_open = |piece: &Piece| match piece {
            Piece::Variable { name, .. } => of_variable(name),
            Piece::Default { name, .. } => of_variable(name) || self.content(name) == Content::Unknown,
            _ => false,
        };
        if !(assigned.appends && of_variable(assigned.name) || word.pieces.iter().any(is_open)) {
            return None;
        }
        let mut start = if assigned.appends { self.texts_before(assigned.name) } else { vec![String::new()] };
        let (Piece::Literal(first), pieces) = word.pieces.split_first()? else { return None };
        for text in &mut start {
            text.push_str(first.get(assigned.length..)?);
        }
        self.texts_from(start, pieces, certain)
    }
}
