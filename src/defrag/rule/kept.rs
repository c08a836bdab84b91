//! Results of analyses, kept. A fleet has few rules and few quotas, while its etcds are assessed with each write and each look, and an
//! analysis is most of what an assessment computes. What is kept changes no result, only how soon it is there.

use std::{
    collections::HashMap,
    mem,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use super::{Analysis, Rule, State, analysis, space::Space, threshold};
use crate::defrag::policy::Limits;

/// So many are kept, and up to twice as many; a rule has 1 KiB at most, whoever wrote it.
const MOST: usize = 128;

static ANALYSES: LazyLock<Kept<Analysis>> = LazyLock::new(Kept::default);
static FIRST_FIRINGS: LazyLock<Kept<Option<State>>> = LazyLock::new(Kept::default);

/// As [`analyse`](analysis::analyse) says.
pub(super) fn analyse(rule: &Rule, quota: u64, limits: &Limits) -> Analysis {
    ANALYSES.get_or(key(rule, quota, limits), || analysis::analyse(rule, quota, limits))
}

/// The state with the least size at which `rule` fires, for an etcd with this quota in bytes; `None` where it never does or where
/// the budget does not settle it.
#[must_use]
pub fn first_firing(rule: &Rule, quota: u64, limits: &Limits) -> Option<State> {
    FIRST_FIRINGS.get_or(key(rule, quota, limits), || threshold::first_firing(rule, quota, limits))
}

/// Keeps nothing of what was analysed so far: for whoever measures what an analysis takes.
pub fn forget_analyses() {
    ANALYSES.forget();
    FIRST_FIRINGS.forget();
}

/// A rule's text, and what else decides.
type Key = (Box<str>, [i64; 6]);

fn key(rule: &Rule, quota: u64, limits: &Limits) -> Key {
    (rule.as_str().into(), Space::new(quota, limits).decides())
}

/// What was used last: two generations, of which the older one goes when the younger one is full.
type Generations<T> = [HashMap<Key, T>; 2];

struct Kept<T>(Mutex<Generations<T>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Copy> Kept<T> {
    fn get_or(&self, key: Key, compute: impl FnOnce() -> T) -> T {
        if let Some(known) = self.get(&key) {
            return known;
        }
        // Others go on meanwhile; of two that compute the same, both results are the same.
        let computed = compute();
        put(&mut self.generations(), key, computed);
        computed
    }

    fn get(&self, key: &Key) -> Option<T> {
        let mut generations = self.generations();
        let [young, old] = &mut *generations;
        if let Some(known) = young.get(key) {
            return Some(*known);
        }
        let (key, known) = old.remove_entry(key)?;
        put(&mut generations, key, known);
        Some(known)
    }

    fn forget(&self) {
        *self.generations() = Default::default();
    }

    fn generations(&self) -> MutexGuard<'_, Generations<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn put<T>([young, old]: &mut Generations<T>, key: Key, value: T) {
    if young.len() >= MOST {
        *old = mem::take(young);
    }
    young.insert(key, value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::policy::Policy;

    fn numbered(number: usize) -> Key {
        (format!("dbSize > {number}").into(), [0; 6])
    }

    #[test]
    fn what_is_asked_for_again_is_not_computed_again_and_what_is_not_goes() {
        let kept = Kept::default();
        assert_eq!(kept.get_or(numbered(0), || 7), 7);
        for number in 1..10 * MOST {
            assert_eq!(kept.get_or(numbered(number), || number), number);
            assert_eq!(kept.get_or(numbered(0), || unreachable!("it was used a moment ago")), 7);
            let count: usize = kept.0.lock().unwrap().iter().map(HashMap::len).sum();
            assert!(count <= 2 * MOST, "{count} are kept");
        }
        assert_eq!(kept.get_or(numbered(1), || 8), 8, "it was not used for long");
        kept.forget();
        assert_eq!(kept.get_or(numbered(0), || 9), 9);
    }

    #[test]
    fn a_result_is_that_of_its_rule_its_quota_and_its_limits() {
        let rules = ["dbSizeFree > 64*1024*1024", "dbQuotaUsage > 0.5", "dbSize > dbSizeInUse"].map(Rule::parse);
        let limits = [0.7, 0.9].map(|quota_ceiling| Limits { quota_ceiling, ..Policy::built_in().limits });
        for _ in 0..2 {
            for rule in rules.iter().map(|rule| rule.as_ref().unwrap()) {
                for limits in &limits {
                    for quota in [1 << 30, 8 << 30] {
                        assert_eq!(analyse(rule, quota, limits), analysis::analyse(rule, quota, limits));
                        let first = threshold::first_firing(rule, quota, limits);
                        assert_eq!(first_firing(rule, quota, limits), first);
                    }
                }
            }
        }
    }
}
