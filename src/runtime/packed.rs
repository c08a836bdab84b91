//! Texts of which many are the same but for a few words, kept once.
//!
//! The objects of a fleet that one operator or chart made differ in their names, and in little besides. [`Texts::pack`] takes the
//! words in which they differ out of the JSON of an object; what is left is one text for all of them.

use std::{collections::HashSet, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};

/// The first character that stands for a word. JSON has no control character but in an escaped form.
const FIRST: u8 = 0x0b;
/// So many characters can stand for words.
const MOST_WORDS: usize = (0x20 - FIRST) as usize;
/// Between the words of one text.
const BETWEEN: char = '\0';

/// A text without its words, and the words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Packed {
    text: Arc<str>,
    words: Box<str>,
}

/// The texts without their words, each kept once for all that have it.
#[derive(Debug, Default)]
pub(crate) struct Texts {
    known: HashSet<Arc<str>>,
    /// With so many, those that nobody has any more are removed.
    sweep_at: usize,
}

/// The fewest texts among which those that nobody has are looked for.
const FEW: usize = 64;

impl Texts {
    /// Packs a text of JSON, or several of them in a line each. `words` are as JSON has them, without quotes (see [`word`]); the first
    /// one is found by [`Packed::word`] as 0. An empty one is nowhere.
    pub(crate) fn pack(&mut self, text: &str, words: &[&str]) -> Packed {
        debug_assert!(words.len() <= MOST_WORDS && !words.iter().any(|word| word.contains(|c| c < ' ')));
        let mut longest_first: Vec<(u8, &[u8])> = (FIRST..).zip(words.iter().map(|word| word.as_bytes())).collect();
        longest_first.retain(|(_, word)| !word.is_empty());
        longest_first.sort_by_key(|(_, word)| std::cmp::Reverse(word.len()));
        let may_begin = |byte: u8| longest_first.iter().any(|(_, word)| word.first() == Some(&byte));
        let (mut without, mut rest) = (String::with_capacity(text.len()), text);
        // Most of a text begins no word, and is taken over as it is.
        while let Some(start) = rest.bytes().position(may_begin) {
            let (before, from) = rest.split_at(start);
            without.push_str(before);
            let here = longest_first.iter().find(|(_, word)| from.as_bytes().starts_with(word));
            let next = from.chars().next().map_or(0, char::len_utf8);
            let length = here.map_or(next, |(_, word)| word.len());
            let (replaced, behind) = from.split_at(length);
            match here {
                Some((mark, _)) => without.push(char::from(*mark)),
                None => without.push_str(replaced),
            }
            rest = behind;
        }
        without.push_str(rest);
        Packed { text: self.shared(&without), words: words.join("\0").into() }
    }

    fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.known.get(text) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at.max(FEW) {
            self.known.retain(|text| Arc::strong_count(text) > 1);
            // What is gone never takes more than an eighth of what is there.
            self.sweep_at = self.known.len() + self.known.len() / 8 + FEW;
            self.known.shrink_to(self.sweep_at);
        }
        let text: Arc<str> = text.into();
        self.known.insert(Arc::clone(&text));
        text
    }
}

impl Packed {
    /// Whether both have the same text in the same place.
    #[cfg(test)]
    pub(crate) fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.text, &other.text)
    }

    /// One of the words.
    pub(crate) fn word(&self, index: usize) -> &str {
        self.words.split(BETWEEN).nth(index).unwrap_or_default()
    }

    /// The text as it was packed.
    pub(crate) fn text(&self) -> String {
        self.expanded(&self.text)
    }

    /// Its first line.
    pub(crate) fn first_line(&self) -> String {
        self.expanded(self.text.split('\n').next().unwrap_or_default())
    }

    fn expanded(&self, text: &str) -> String {
        let words: Vec<&str> = self.words.split(BETWEEN).collect();
        let mut whole = String::with_capacity(text.len() + 4 * self.words.len());
        for part in text.split_inclusive(|c: char| is_mark(c)) {
            let mark = part.chars().next_back().filter(|c| is_mark(*c));
            whole.push_str(part.strip_suffix(is_mark).unwrap_or(part));
            let index = mark.and_then(|mark| u8::try_from(mark).ok()).map(|mark| usize::from(mark - FIRST));
            whole.push_str(index.and_then(|index| words.get(index)).copied().unwrap_or_default());
        }
        whole
    }
}

fn is_mark(c: char) -> bool {
    (char::from(FIRST)..' ').contains(&c)
}

/// A string, or what is written as one, as a word of JSON: escaped, without quotes.
pub(crate) fn word(text: &(impl Serialize + ?Sized)) -> String {
    let quoted = json(text);
    quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or_default().to_owned()
}

/// The string of a word.
pub(crate) fn unescaped(word: &str) -> Option<String> {
    serde_json::from_str(&format!("\"{word}\"")).ok()
}

/// What can be written as JSON always; only maps with other keys than strings, or a failing writer, are refused.
pub(crate) fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// What was written by [`json`]. That it cannot be read would be a bug, and then counts as not known.
pub(crate) fn read<T: DeserializeOwned>(text: &str) -> Option<T> {
    let read = serde_json::from_str(text);
    read.inspect_err(|error| tracing::error!(%error, "an object of the cache cannot be read; this is a bug")).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_that_differ_in_their_words_are_kept_once() {
        let mut texts = Texts::default();
        let text = |name: &str| format!(r#"{{"name":"{name}","args":["--name={name}-0.{name}"],"uid":"u-{name}"}}"#);
        let packed: Vec<Packed> = ["a-1", "a-12", "b"].map(|name| texts.pack(&text(name), &[name, ""])).into();
        assert_eq!(texts.known.len(), 1);
        assert_eq!(packed.iter().map(Packed::text).collect::<Vec<_>>(), ["a-1", "a-12", "b"].map(text));
        assert_eq!((packed[1].word(0), packed[1].word(1), packed[1].word(2)), ("a-12", "", ""));
    }

    #[test]
    fn texts_that_nobody_has_go() {
        let mut texts = Texts::default();
        let kept = texts.pack("kept", &[]);
        for number in 0..10_000 {
            texts.pack(&format!("{number}"), &[]);
            assert!(texts.known.len() <= FEW + 1);
        }
        assert_eq!(kept.text(), "kept");
        let many: Vec<Packed> = (0..1000).map(|number| texts.pack(&format!("text {number}"), &[])).collect();
        assert!(texts.known.len() >= 1000);
        drop(many);
        for number in 0..3000 {
            texts.pack(&format!("{number}"), &[]);
        }
        assert!(texts.known.len() <= 2 * FEW);
    }

    #[test]
    fn a_word_is_what_json_has() {
        let text = "a \"b\" \\ \n\u{1}é";
        assert_eq!(json!(text).to_string(), format!("\"{}\"", word(text)));
        assert_eq!(unescaped(&word(text)).as_deref(), Some(text));
    }

    proptest! {
        /// Whatever the words are: some within others, or not in the text at all.
        #[test]
        fn what_is_packed_comes_back(strings in prop::collection::vec(".{0,12}|[ab]{0,6}", 0..8), own in prop::collection::vec(".{0,3}|[ab]{0,3}", 0..8)) {
            let text = format!("{}\n{}", json(&strings), json(&own));
            let words: Vec<String> = own.iter().map(word).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let packed = Texts::default().pack(&text, &words);
            prop_assert_eq!(packed.text(), text.clone());
            prop_assert_eq!(packed.first_line(), json(&strings));
            for (index, own) in words.iter().enumerate() {
                prop_assert_eq!(packed.word(index), *own);
            }
        }
    }
}
