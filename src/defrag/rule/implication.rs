//! Whether one rule is true wherever another one is.
//!
//! Bounds of two rules over a box say nothing where both have an edge in it, and two rules that share an edge have one in
//! every box along it. So the states are cut by the edges themselves first: on which side of a line they are is known to
//! both rules. Boxes are cut only where that leaves both open.

use std::{cmp::Ordering, collections::VecDeque};

use super::{
    Rule, State,
    bounds::{Bounds, Outcomes, specialise},
    fact::{self, Fact},
    linear::Line,
    program::{Instruction, axes},
    region::Region,
    space::Space,
    verdict::{BUDGET, Verdict},
};
use crate::defrag::policy::Limits;

/// The alert of the etcd mixin on fragmentation, which kube-prometheus-stack has too.
pub const FRAGMENTATION_ALERT: &str = "etcdDatabaseHighFragmentationRatio";

/// Its condition, as a rule.
pub const FRAGMENTATION_ALERT_CONDITION: &str = "dbSizeInUse / dbSize < 0.5 && dbSizeInUse > 100*1024*1024";

/// Whether `rule` fires wherever [`FRAGMENTATION_ALERT`] does, for an etcd with this quota in bytes.
#[must_use]
pub fn quiets_alert(rule: &Rule, quota: u64, limits: &Limits) -> Verdict {
    Rule::parse(FRAGMENTATION_ALERT_CONDITION).map_or(Verdict::Undecided, |alert| implies(&alert, rule, quota, limits))
}

/// Whether `rule` is true at every state at which `premise` is; the counterexample is a state at which it is false or fails.
#[must_use]
pub fn implies(premise: &Rule, rule: &Rule, quota: u64, limits: &Limits) -> Verdict {
    within(premise, rule, &Space::new(quota, limits), BUDGET)
}

/// The same for instructions that are bounded at most `budget` times.
pub(super) fn within(premise: &Rule, rule: &Rule, space: &Space, budget: usize) -> Verdict {
    let programs = [premise, rule].map(|rule| specialise(rule.instructions(), space.quota_as_float));
    Search::new(premise, rule, &programs, space).run(budget)
}

struct Search<'a> {
    rules: [&'a Rule; 2],
    space: &'a Space,
    bounds: [Bounds<'a>; 2],
    limit: f64,
    axes: (bool, bool),
    cost: usize,
    spent: usize,
    open: VecDeque<(Region, Vec<Fact>)>,
}

impl<'a> Search<'a> {
    fn new(premise: &'a Rule, rule: &'a Rule, programs: &'a [Vec<Instruction>; 2], space: &'a Space) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a bound, rounded up by the doubling")]
        let limit = space.size_limit as f64 * 2.0;
        let bounds = programs.each_ref().map(|program| Bounds::new(program, space.quota_as_float, limit));
        let [one, other] = programs.each_ref().map(|program| axes(program));
        let whole = (0, space.size_limit);
        let open = Region::new((space.size_least, space.size_limit), whole);
        Self {
            rules: [premise, rule],
            space,
            bounds,
            limit,
            axes: (one.0 || other.0, one.1 || other.1),
            cost: programs.iter().map(|program| program.len() + 8).sum(),
            spent: 0,
            open: open.map(|region| (region, Vec::new())).into_iter().collect(),
        }
    }

    fn breaks(&self, state: &State) -> bool {
        let [premise, rule] = self.rules.map(|rule| Outcomes::at(rule, state));
        premise.fires && !rule.fires
    }

    fn run(mut self, budget: usize) -> Verdict {
        if let Some(state) = self.telling_states().find(|state| self.breaks(state)) {
            return Verdict::Refuted(state);
        }
        while let Some((region, facts)) = self.open.pop_front() {
            if self.spent >= budget {
                return Verdict::Undecided;
            }
            self.spent += self.cost;
            if let Some(state) = self.look_into(region, &facts) {
                return Verdict::Refuted(state);
            }
        }
        Verdict::Proven
    }

    /// States that are easy to picture: most of a database is free, or half of it and a little more.
    fn telling_states(&self) -> impl Iterator<Item = State> + '_ {
        self.space.telling_states().flat_map(|state| {
            let size = state.db_size;
            [state.free(), size / 4 * 3, size / 8 * 5, size / 16 * 9].map(|free| self.space.state(size, free))
        })
    }

    /// A state of the region that breaks the implication; else what is left of the region is open.
    fn look_into(&mut self, region: Region, facts: &[Fact]) -> Option<State> {
        let corners = fact::corners(&region, facts, self.limit);
        let region = region.around(&corners, self.limit)?;
        if let Some(state) = region.single(self.space.quota) {
            return Some(state).filter(|state| self.breaks(state));
        }
        for bounds in &mut self.bounds {
            bounds.facts = facts.to_vec();
        }
        let [premise, rule] = self.bounds.each_mut().map(|bounds| (bounds.outcomes(&region), bounds.cut));
        if !premise.0.fires || rule.0.fires && rule.0.is_single() {
            return None;
        }
        let mut states = region.round_states(self.space.quota).take(3).chain(self.middle(&region, &corners));
        if let Some(state) = states.find(|state| self.breaks(state)) {
            return Some(state);
        }
        let cuts = [premise.1, rule.1];
        if let Some(line) = cuts.into_iter().flatten().find(|line| self.is_edge(*line, facts)) {
            self.open.extend(
                [Ordering::Less, Ordering::Equal, Ordering::Greater]
                    .map(|sign| (region, facts.iter().copied().chain([Fact { line, sign }]).collect())),
            );
        } else {
            let halves = region.split(premise.1.or(rule.1), self.axes);
            self.open.extend(halves.into_iter().flatten().map(|half| (half, facts.to_vec())));
        }
        None
    }

    /// The state in the middle of the corners, and those with a byte or two more or less to reclaim: what is left between two edges
    /// may be that thin.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "within the region")]
    fn middle(&self, region: &Region, corners: &[(f64, f64)]) -> impl Iterator<Item = State> + use<> {
        let mean = |of: fn(&(f64, f64)) -> f64| (corners.iter().map(of).sum::<f64>() / corners.len() as f64) as i64;
        let (size, free) = (mean(|corner| corner.0), mean(|corner| corner.1));
        let (region, quota) = (*region, self.space.quota);
        let states = (free - 2..=free + 2).filter(move |free| region.holds(size, *free));
        states.map(move |free| Region::state(size, free, quota))
    }

    /// Whether the sign of this line distinguishes states, and was not used yet.
    fn is_edge(&self, line: Line, facts: &[Fact]) -> bool {
        line.is_exact(self.limit)
            && !(line.size == 0.0 && line.free == 0.0)
            && facts.iter().all(|fact| fact.sign_of(line).is_none())
    }
}
