//! The zone of the tz database that a mistyped name is nearest to.

use std::sync::LazyLock;

use jiff::tz;

/// No name that takes more edits is offered.
const FARTHEST: usize = 3;

/// A name of the tz database, with what its distance from others is found by.
struct ZoneName {
    name: String,
    lower: Vec<char>,
    /// Where the part after the last slash begins.
    city: usize,
    letters: u64,
}

static ZONE_NAMES: LazyLock<Vec<ZoneName>> = LazyLock::new(|| {
    let of = |name: &str| {
        let lower: Vec<char> = name.to_lowercase().chars().collect();
        let city = lower.iter().rposition(|letter| *letter == '/').map_or(0, |slash| slash + 1);
        ZoneName { name: name.to_owned(), city, letters: letters(&lower), lower }
    };
    tz::db().available().map(|name| of(name.as_str())).collect()
});

/// The name that takes the fewest edits to become `wanted` (in lower case), the first in order of those; a city alone
/// stands for its zone. None where more than a third of the name would have to be edited.
pub(super) fn nearest(wanted: &str) -> Option<&'static str> {
    let bytes = wanted.len();
    let wanted: Vec<char> = wanted.chars().collect();
    let letters = letters(&wanted);
    let mut best: Option<(usize, &str)> = None;
    for name in ZONE_NAMES.iter() {
        let distance = if name.lower.get(name.city..) == Some(wanted.as_slice()) {
            Some(0)
        } else {
            let most = FARTHEST.min(name.lower.len() / 3);
            let comparable = name.lower.len().abs_diff(bytes) <= most;
            let most = best.map_or(most, |(least, _)| least.min(most));
            if comparable && name.may_be_within(most, letters) { edits(&name.lower, &wanted, most) } else { None }
        };
        if let Some(distance) = distance {
            let found = (distance, name.name.as_str());
            best = Some(best.map_or(found, |best| best.min(found)));
        }
    }
    best.map(|(_, name)| name)
}

impl ZoneName {
    /// Whether a text with these letters can be `most` edits away: each brings in one letter and takes one away at most.
    fn may_be_within(&self, most: usize, letters: u64) -> bool {
        [self.letters & !letters, letters & !self.letters].iter().all(|missing| missing.count_ones() as usize <= most)
    }
}

/// A set of letters. Some share a bit, which only makes texts look nearer than they are.
fn letters(text: &[char]) -> u64 {
    text.iter().fold(0, |set, letter| set | 1 << (u32::from(*letter) % u64::BITS))
}

/// The Damerau-Levenshtein distance, if it is at most `most`: letters put in, taken away, replaced, and two letters
/// swapped, between which others may have been put in or taken away.
fn edits(a: &[char], b: &[char], most: usize) -> Option<usize> {
    let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let (a, b) = (a.get(same..)?, b.get(same..)?);
    if a.len().abs_diff(b.len()) > most {
        return None;
    }
    let (Some((first, a_rest)), Some((second, b_rest))) = (a.split_first(), b.split_first()) else {
        return Some(a.len().max(b.len()));
    };
    let after = |cost: usize, a: &[char], b: &[char]| Some(edits(a, b, most.checked_sub(cost)?)? + cost);
    let swapped = (1..=most).flat_map(|cost| (0..cost).map(move |taken| (cost, taken, cost - 1 - taken)));
    let swapped = swapped.filter_map(|(cost, taken, put)| {
        let swaps = a_rest.get(taken) == Some(second) && b_rest.get(put) == Some(first);
        if swaps { after(cost, a_rest.get(taken + 1..)?, b_rest.get(put + 1..)?) } else { None }
    });
    [after(1, a_rest, b_rest), after(1, a_rest, b), after(1, a, b_rest)].into_iter().flatten().chain(swapped).min()
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
        for name in ZONE_NAMES.iter() {
            let city: String = name.lower.iter().skip(name.city).collect();
            assert_eq!(nearest(&city), searched(&city).as_deref(), "{city}");
        }
    }

    proptest! {
        #[test]
        fn edits_are_counted_as_by_the_whole_matrix(a in "[abc]{0,7}", b in "[abc]{0,7}", most in 0_usize..5) {
            let distance = strsim::damerau_levenshtein(&a, &b);
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            let counted = edits(&letters(&a), &letters(&b), most);
            prop_assert_eq!(counted, (distance <= most).then_some(distance), "{} {}", a, b);
        }

        #[test]
        fn a_mistyped_name_is_corrected_as_by_a_full_search(
            index in any::<prop::sample::Index>(),
            edits in prop::collection::vec((any::<prop::sample::Index>(), "[a-z/_+0-9é]?", 0_usize..3), 0..5),
        ) {
            let mut text = index.get(&ZONE_NAMES).lower.clone();
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
