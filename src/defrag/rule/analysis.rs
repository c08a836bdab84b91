//! What holds for a rule at every state of an etcd with a given quota: branch and bound over size and reclaimable space.
//!
//! A region whose bounds say one thing only is done; any other is cut, best where a comparison changes its sign. A
//! region is only cut as long as a property that it could decide is open, so most rules need a dozen regions. Every
//! counterexample is a state at which the rule has been evaluated.

use std::collections::VecDeque;

use super::{
    Rule, State,
    bounds::{Bounds, Outcomes, specialise},
    implication,
    program::{Instruction, axes},
    region::Region,
    space::Space,
    verdict::{BUDGET, Verdict},
};
use crate::defrag::{policy::Limits, quantity::MIB};

/// What holds for a rule over all states with `0 ≤ dbSizeInUse ≤ dbSize ≤ size_limit` and a `dbSize` of at least
/// [`SMALLEST_DATABASE`](super::SMALLEST_DATABASE), all in whole bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Analysis {
    /// The largest size that was examined: the quota and a quarter more, in bytes.
    pub size_limit: u64,
    /// It never fails to evaluate.
    pub never_fails: Verdict,
    /// It is not true for every database of 1 MiB or more (an empty one is no excuse). Where it is, the state is one with
    /// nothing to reclaim.
    pub not_always_true: Verdict,
    /// It is not false everywhere. Where it is, the state is a full and fully fragmented database.
    pub not_always_false: Verdict,
    /// It fires wherever `dbQuotaUsage` is above the ceiling and more than enough can be reclaimed (see
    /// [`Limits::enough_to_reclaim`]).
    pub fires_above_ceiling: Verdict,
    /// It does not fire with less than 1 MiB to reclaim.
    pub never_futile: Verdict,
    /// It never fires with less than this to reclaim, in bytes: the largest such multiple of 1 MiB that was proven.
    pub floor: Option<u64>,
    /// The state with the least to reclaim at which it has been seen to fire.
    pub least_free: Option<State>,
    /// How many regions were bounded.
    pub regions: usize,
}

/// Judges `rule` for an etcd with this quota in bytes, which is above zero.
#[must_use]
pub fn analyse(rule: &Rule, quota: u64, limits: &Limits) -> Analysis {
    let space = Space::new(quota, limits);
    let program = specialise(rule.instructions(), space.quota_as_float);
    let search = Search::new(rule, &program, &space);
    search.finish()
}

/// What has been found so far.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    failing: Option<State>,
    /// A database of a real size at which the rule does not fire.
    resting: Option<State>,
    firing: Option<State>,
    missing: Option<State>,
    futile: Option<State>,
    /// The least reclaimable space at which the rule is known to fire.
    least_free: Option<State>,
}

struct Search<'a> {
    rule: &'a Rule,
    space: &'a Space,
    bounds: Bounds<'a>,
    /// Whether the rule depends on the size and on the reclaimable space.
    axes: (bool, bool),
    cost: usize,
    spent: usize,
    found: Found,
    /// Regions to look at, each with what the region that it was cut from can be.
    open: VecDeque<(Region, Outcomes)>,
    regions: usize,
    /// Whether the rule never fires below what is known to be the least, in bytes. `None` until it is computed.
    floor: Option<Verdict>,
}

impl<'a> Search<'a> {
    fn new(rule: &'a Rule, program: &'a [Instruction], space: &'a Space) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a bound, rounded up by the doubling")]
        let limit = space.size_limit as f64 * 2.0;
        let bounds = Bounds::new(program, space.quota_as_float, limit);
        let cost = program.len() + 8;
        let found = Found::default();
        let mut search = Self {
            rule,
            space,
            bounds,
            axes: axes(program),
            cost,
            spent: 0,
            found,
            open: VecDeque::new(),
            regions: 0,
            floor: None,
        };
        for state in space.telling_states() {
            search.note(&state);
        }
        search.open_all();
        search
    }

    /// The whole space, cut where a property begins or ends.
    fn open_all(&mut self) {
        let (ceiling, limit) = (self.space.above_ceiling, self.space.size_limit);
        let mib = MIB.cast_signed();
        let (lesser, greater) = (mib.min(self.space.enough), mib.max(self.space.enough));
        for free in [(0, lesser - 1), (lesser, greater - 1), (greater, limit)] {
            let real = self.space.least_real.min(ceiling);
            for size in [(self.space.size_least, real - 1), (real, ceiling - 1), (ceiling, limit)] {
                let anything = Outcomes { fires: true, rests: true, fails: true };
                self.open.extend(Region::new(size, free).map(|region| (region, anything)));
            }
        }
    }

    /// Evaluates the rule at a state and notes what it shows; the first state noted for a property stays.
    fn note(&mut self, state: &State) -> Outcomes {
        let outcomes = Outcomes::at(self.rule, state);
        let found = &mut self.found;
        if outcomes.fails {
            found.failing.get_or_insert(*state);
        }
        if !outcomes.fires && state.db_size.cast_signed() >= self.space.least_real {
            found.resting.get_or_insert(*state);
        }
        if outcomes.fires {
            found.firing.get_or_insert(*state);
            if found.least_free.is_none_or(|least| state.free() < least.free()) {
                found.least_free = Some(*state);
            }
            if state.free() < MIB {
                found.futile.get_or_insert(*state);
            }
        } else if self.space.is_missed(state) {
            found.missing.get_or_insert(*state);
        }
        outcomes
    }

    /// Whether what a region can be still matters.
    fn matters(&self, region: &Region, outcomes: Outcomes) -> bool {
        let found = &self.found;
        let missed = region.size.0 >= self.space.above_ceiling && region.free.0 >= self.space.enough;
        outcomes.fails && found.failing.is_none()
            || (outcomes.rests || outcomes.fails) && self.space.is_real(region) && found.resting.is_none()
            || (outcomes.rests || outcomes.fails) && missed && found.missing.is_none()
            || outcomes.fires && found.firing.is_none()
            || outcomes.fires && region.free.0 < MIB.cast_signed() && found.futile.is_none()
            || outcomes.fires && self.lowers_floor(region)
    }

    /// Whether a state of the region could show a lower floor, counted in whole MiB.
    fn lowers_floor(&self, region: &Region) -> bool {
        let least = region.free.0.cast_unsigned() / MIB;
        self.floor != Some(Verdict::Proven) && self.found.least_free.is_none_or(|known| least < known.free() / MIB)
    }

    /// Where edges of a rule meet at its floor, boxes have to be very small to decide on which side they are. What is
    /// known of the edges themselves can show it at once.
    fn ask_for_floor(&mut self, budget: usize) {
        // A state that shows a lower floor is the next question.
        for _ in 0..4 {
            let floor = self.known_floor().and_then(|bytes| Rule::parse(&format!("dbSizeFree >= {bytes}")).ok());
            let verdict = floor.map(|floor| implication::within(self.rule, &floor, self.space, budget));
            self.floor = Some(verdict.unwrap_or(Verdict::Undecided));
            match verdict.and_then(|verdict| verdict.counterexample()) {
                Some(state) => self.note(&state),
                None => return,
            };
        }
    }

    /// The least reclaimable space at which the rule is known to fire, in whole MiB and in bytes.
    fn known_floor(&self) -> Option<u64> {
        self.found.least_free.map(|state| state.free() / MIB * MIB).filter(|floor| *floor > 0)
    }

    fn finish(mut self) -> Analysis {
        let mut undecided: Vec<(Region, Outcomes)> = Vec::new();
        while let Some((region, before)) = self.open.pop_front() {
            if !self.matters(&region, before) {
                continue;
            }
            if self.floor.is_none() && self.spent >= BUDGET / 8 {
                self.ask_for_floor(BUDGET / 8);
            }
            if self.spent >= BUDGET {
                undecided.push((region, before));
                continue;
            }
            if let Some(state) = region.single(self.space.quota) {
                self.spent += self.cost;
                self.note(&state);
                continue;
            }
            let outcomes = self.bound(&region);
            if !self.matters(&region, outcomes) {
                continue;
            }
            let cut = self.bounds.cut;
            self.look_into(&region, outcomes);
            if outcomes.is_single() || !self.matters(&region, outcomes) {
                if outcomes.is_single() && outcomes.fires {
                    // Every state of it fires, the one with the least to reclaim included.
                    self.note(&Region::state(region.size.1, region.free.0, self.space.quota));
                }
                continue;
            }
            self.open.extend(region.split(cut, self.axes).into_iter().flatten().map(|half| (half, outcomes)));
        }
        let leaves_less = |(region, outcomes): &(Region, Outcomes)| outcomes.fires && self.lowers_floor(region);
        if undecided.iter().any(leaves_less) {
            self.ask_for_floor(BUDGET);
        }
        self.conclude(&undecided)
    }

    fn bound(&mut self, region: &Region) -> Outcomes {
        self.spent += self.cost;
        self.regions += 1;
        self.bounds.outcomes(region)
    }

    /// Tries the roundest states of a region: all of them where every state counts, a few where only some do.
    fn look_into(&mut self, region: &Region, outcomes: Outcomes) {
        let tries = if outcomes.is_single() { 1 } else { 2 };
        for state in region.round_states(self.space.quota).take(tries) {
            self.spent += self.cost / 2;
            self.note(&state);
        }
    }

    fn conclude(self, undecided: &[(Region, Outcomes)]) -> Analysis {
        let could = |test: &dyn Fn(&Region, Outcomes) -> bool| {
            undecided.iter().any(|(region, outcomes)| test(region, *outcomes))
        };
        let verdict = |state: Option<State>, open: bool| match state {
            Some(state) => Verdict::Refuted(state),
            None if open => Verdict::Undecided,
            None => Verdict::Proven,
        };
        let (ceiling, enough) = (self.space.above_ceiling, self.space.enough);
        let mib = MIB.cast_signed();
        let fails = could(&|_, outcomes| outcomes.fails);
        let rests = could(&|region, outcomes| (outcomes.rests || outcomes.fails) && self.space.is_real(region));
        let fires = could(&|_, outcomes| outcomes.fires);
        let misses = could(&|region, outcomes| {
            (outcomes.rests || outcomes.fails) && region.size.1 >= ceiling && region.free.1 >= enough
        });
        let futile = could(&|region, outcomes| outcomes.fires && region.free.0 < mib);
        let found = self.found;
        let full = self.space.state(self.space.full(), self.space.full());
        let compact = self.space.state(self.space.full(), 0);
        let floor = undecided
            .iter()
            .filter(|(_, outcomes)| outcomes.fires)
            .map(|(region, _)| region.free.0.cast_unsigned())
            .chain(found.least_free.map(|state| state.free()))
            .min()
            .map(|least| least / MIB * MIB)
            .filter(|floor| *floor > 0);
        let floor = if self.floor == Some(Verdict::Proven) { self.known_floor() } else { floor };
        let always = |witness: Option<State>, open: bool, state: State| match witness {
            Some(_) => Verdict::Proven,
            None if open => Verdict::Undecided,
            None => Verdict::Refuted(state),
        };
        Analysis {
            size_limit: self.space.size_limit.cast_unsigned(),
            never_fails: verdict(found.failing, fails),
            not_always_true: always(found.resting, rests, compact),
            not_always_false: always(found.firing, fires, full),
            fires_above_ceiling: verdict(found.missing, misses),
            never_futile: verdict(found.futile, futile),
            floor,
            least_free: found.least_free,
            regions: self.regions,
        }
    }
}
