//! The zone of the tz database that a mistyped name is nearest to.

use std::sync::LazyLock;

use jiff::tz;

/// No name that takes more edits is offered.
const FARTHEST: usize = 3;

/// A name of the tz database, with what its distance from others is estimated by.
struct Known {
    name: String,
    lower: String,
    /// Where the part after the last slash begins.
    city: usize,
    letters: u64,
}

static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let known = |name: &str| {
        let lower = name.to_lowercase();
        let city = lower.rfind('/').map_or(0, |slash| slash + 1);
        Known { name: name.to_owned(), city, letters: letters(&lower), lower }
    };
    tz::db().available().map(|name| known(name.as_str())).collect()
});

/// The name that takes the fewest edits to become `wanted` (in lower case), the first in order of those; a city alone
/// stands for its zone. None where more than a third of the name would have to be edited.
pub(super) fn nearest(wanted: &str) -> Option<&'static str> {
    let letters = letters(wanted);
    let mut best: Option<(usize, &str)> = None;
    for known in KNOWN.iter() {
        let farthest = best.map_or(FARTHEST, |(distance, _)| distance);
        if let Some(distance) = known.distance(wanted, letters, farthest) {
            let found = (distance, known.name.as_str());
            best = Some(best.map_or(found, |best| best.min(found)));
        }
    }
    best.map(|(_, name)| name)
}

impl Known {
    /// The edits between this name and `wanted`, if there are at most `farthest`.
    fn distance(&self, wanted: &str, letters: u64, farthest: usize) -> Option<usize> {
        if self.lower.get(self.city..) == Some(wanted) {
            return Some(0);
        }
        let allowed = FARTHEST.min(self.lower.len() / 3);
        if self.lower.len().abs_diff(wanted.len()) > allowed {
            return None;
        }
        let allowed = allowed.min(farthest);
        // An edit brings in one letter at most and takes one away at most.
        let missing = [self.letters & !letters, letters & !self.letters].map(u64::count_ones);
        if missing.iter().any(|missing| usize::try_from(*missing).is_ok_and(|missing| missing > allowed)) {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&self.lower, wanted);
        (distance <= allowed).then_some(distance)
    }
}

/// The letters of a text as a set of bits; some share one, which only makes texts look nearer than they are.
fn letters(text: &str) -> u64 {
    text.chars().fold(0, |set, letter| set | 1 << (u32::from(letter) % u64::BITS))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every distance computed in full.
    fn searched(wanted: &str) -> Option<String> {
        let near = |candidate: &str| {
            let city = candidate.rsplit('/').next().unwrap_or_default();
            if city.eq_ignore_ascii_case(wanted) {
                return Some(0);
            }
            let farthest = 3.min(candidate.len() / 3);
            if candidate.len().abs_diff(wanted.len()) > farthest {
                return None;
            }
            let distance = strsim::damerau_levenshtein(&candidate.to_lowercase(), wanted);
            (distance <= farthest).then_some(distance)
        };
        tz::db()
            .available()
            .filter_map(|candidate| Some((near(candidate.as_str())?, candidate.as_str().to_owned())))
            .min()
            .map(|(_, candidate)| candidate)
    }

    #[test]
    fn every_city_is_found_as_by_a_full_search() {
        for known in KNOWN.iter() {
            let city = known.lower.get(known.city..).unwrap();
            assert_eq!(nearest(city), searched(city).as_deref(), "{city}");
        }
    }

    proptest! {
        #[test]
        fn a_mistyped_name_is_corrected_as_by_a_full_search(
            index in any::<prop::sample::Index>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), "[a-z/_+0-9é]?", 0_usize..3), 0..5),
        ) {
            let mut text: Vec<char> = index.get(&KNOWN).lower.chars().collect();
            for (at, with, taken) in edits {
                let at = at.index(text.len() + 1);
                text.splice(at..(at + taken).min(text.len()), with.chars());
            }
            let text: String = text.into_iter().collect();
            prop_assert_eq!(nearest(&text).map(str::to_owned), searched(&text), "{}", text);
        }

        #[test]
        fn any_text_is_treated_as_by_a_full_search(text in "[a-z/_+0-9é]{0,20}") {
            prop_assert_eq!(nearest(&text).map(str::to_owned), searched(&text), "{}", text);
        }
    }
}
