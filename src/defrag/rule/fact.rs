//! What is known about the states that are examined: on which side of an edge of a rule they are.

use std::cmp::Ordering;

use super::{linear::Line, region::Region};

/// The sign that an exact line has on the states that are examined.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fact {
    pub(super) line: Line,
    pub(super) sign: Ordering,
}

/// A convex set of states, by its corners in their order. Nothing is in it where there are none.
pub(super) type Corners = Vec<(f64, f64)>;

impl Fact {
    /// The sign that this says `line` has, where it says one.
    pub(super) fn sign_of(&self, line: Line) -> Option<Ordering> {
        let same = self.line.direction(line)?;
        Some(if same { self.sign } else { self.sign.reverse() })
    }

    /// The part of a set that is on this side, and a little more than that: a cut is moved out by what rounding can do.
    fn cut(&self, corners: &[(f64, f64)], limit: f64) -> Corners {
        let slack = 1.0 + self.line.magnitude(limit) * f64::EPSILON * 16.0;
        let above = |corners: &[(f64, f64)]| clip(corners, |corner| self.line.at(corner) + slack);
        let below = |corners: &[(f64, f64)]| clip(corners, |corner| slack - self.line.at(corner));
        match self.sign {
            Ordering::Greater => above(corners),
            Ordering::Less => below(corners),
            Ordering::Equal => below(&above(corners)),
        }
    }
}

/// The part of a region that all facts allow, and a little more.
pub(super) fn corners(region: &Region, facts: &[Fact], limit: f64) -> Corners {
    facts.iter().fold(region.corners().to_vec(), |corners, fact| fact.cut(&corners, limit))
}

/// The part of a convex set where a linear function is not negative (Sutherland and Hodgman).
fn clip(corners: &[(f64, f64)], value: impl Fn((f64, f64)) -> f64) -> Corners {
    let next = corners.iter().skip(1).chain(corners.first());
    let mut kept = Corners::new();
    for (here, there) in corners.iter().zip(next) {
        let (at, then) = (value(*here), value(*there));
        if at >= 0.0 {
            kept.push(*here);
        }
        if (at < 0.0) != (then < 0.0) {
            let part = at / (at - then);
            kept.push((here.0 + (there.0 - here.0) * part, here.1 + (there.1 - here.1) * part));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = (1 << 20) as f64;

    fn cut(facts: &[(f64, f64, f64, Ordering)]) -> Corners {
        let fact = |(size, free, constant, sign)| Fact { line: Line::exact(size, free, constant), sign };
        let facts: Vec<Fact> = facts.iter().copied().map(fact).collect();
        let region = Region::new((20480, 10 << 30), (0, 10 << 30)).unwrap();
        corners(&region, &facts, 2e10)
    }

    #[test]
    fn a_region_loses_what_is_on_the_other_side() {
        use Ordering::{Equal, Greater, Less};
        let (half_free, in_use) = ((-0.5, 1.0, 0.0, Greater), (1.0, -1.0, -100.0 * MIB, Greater));
        let least = |corners: Corners| corners.iter().fold(f64::INFINITY, |least, corner| least.min(corner.0));
        assert!((least(cut(&[half_free, in_use])) - 200.0 * MIB).abs() < 10.0);
        // More than half is free and more than 100 MiB in use, so more than 100 MiB are free.
        assert!(cut(&[half_free, in_use, (0.0, 1.0, -99.0 * MIB, Less)]).is_empty());
        let corner = cut(&[half_free, in_use, (0.0, 1.0, -100.0 * MIB, Equal)]);
        assert!(!corner.is_empty() && corner.iter().all(|(size, _)| (size - 200.0 * MIB).abs() < 10.0), "{corner:?}");
        assert!(cut(&[(1.0, -1.0, 100.0, Less)]).is_empty());
    }
}
