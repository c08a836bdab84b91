//! What was found of all objects, in numbers.

use std::fmt;

use super::assessed::{Assessed, Subject};
use crate::defrag::{Enrollment, text::counted};

/// How many objects and findings there are.
#[derive(Default)]
pub(super) struct Tally {
    policies: usize,
    statefulsets: usize,
    enrolled: usize,
    refused: usize,
    found: Found,
    /// StatefulSets without the label that have findings, and those.
    looked_at: usize,
    would_get: Found,
}

#[derive(Default)]
struct Found {
    denials: usize,
    warnings: usize,
}

impl Tally {
    pub(super) fn add(&mut self, assessed: &Assessed) {
        match assessed.subject {
            Subject::Policy(_) => self.policies += 1,
            Subject::StatefulSet { enrolment, .. } => {
                self.statefulsets += 1;
                self.enrolled += usize::from(enrolment == Enrollment::Enrolled);
                self.refused += usize::from(assessed.refused());
            }
            Subject::Other { .. } => {}
        }
        let found = if assessed.subject.is_only_looked_at() {
            self.looked_at += usize::from(!assessed.findings.is_empty());
            &mut self.would_get
        } else {
            &mut self.found
        };
        let denials = assessed.findings.iter().filter(|finding| finding.denies()).count();
        found.denials += denials;
        found.warnings += assessed.findings.len() - denials;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.policies > 0 {
            write!(f, "{}, ", counted(self.policies, "DefragPolicy"))?;
        }
        let statefulsets = counted(self.statefulsets, "StatefulSet");
        write!(f, "{statefulsets}, {} enrolled, {} refused: {}", self.enrolled, self.refused, self.found)?;
        match self.looked_at {
            0 => Ok(()),
            1 => write!(f, "; 1 without the label, with what it would get: {}", self.would_get),
            more => write!(f, "; {more} without the label, with what they would get: {}", self.would_get),
        }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", counted(self.denials, "denial"), counted(self.warnings, "warning"))
    }
}
