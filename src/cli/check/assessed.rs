//! What was assessed, and the findings.

use crate::{
    cli::input::Document,
    defrag::{Enrollment, finding::Finding, policy::Governing},
};

/// An object of the input, assessed.
pub(super) struct Assessed {
    pub(super) file: Box<str>,
    /// The line of its name.
    pub(super) line: u64,
    pub(super) subject: Subject,
    pub(super) findings: Vec<Finding>,
    /// The lines of the findings.
    lines: Vec<u64>,
}

/// What was assessed.
pub(super) enum Subject {
    /// A policy of this name.
    Policy(String),
    StatefulSet {
        namespace: String,
        name: String,
        enrolment: Enrollment,
        /// `None` where no policies were named.
        governing: Option<Governing>,
        /// Whether another policy may govern, by labels of the namespace that are not in the input.
        undecided: bool,
    },
    /// Something of another kind, of which nothing is made.
    Other { kind: String, namespace: String, name: String },
}

impl Subject {
    /// As findings name it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Policy(name) => format!("DefragPolicy {name}"),
            Self::StatefulSet { namespace, name, .. } => format!("{namespace}/{name}"),
            Self::Other { kind, namespace, name } => format!("{kind} {namespace}/{name}"),
        }
    }

    /// What governs it and why, where that is a question.
    pub(super) fn governed(&self) -> Option<String> {
        match self {
            Self::StatefulSet { governing, enrolment: Enrollment::Enrolled, undecided, .. } => {
                let governing = governing.as_ref()?;
                Some(if *undecided { governing.perhaps() } else { governing.why() })
            }
            Self::StatefulSet { .. } | Self::Policy(_) | Self::Other { .. } => None,
        }
    }

    /// Whether it is assessed as if it were enrolled, so that nothing of it is refused.
    pub(super) const fn is_only_looked_at(&self) -> bool {
        matches!(self, Self::StatefulSet { enrolment: Enrollment::NotEnrolled, .. })
    }
}

impl Assessed {
    pub(super) fn of(document: &Document, subject: Subject, findings: Vec<Finding>) -> Self {
        let lines = findings.iter().map(|finding| document.line(&finding.field.to_string())).collect();
        Self { file: document.file().into(), line: document.line("metadata.name"), subject, findings, lines }
    }

    /// Each finding with its line.
    pub(super) fn placed(&self) -> impl Iterator<Item = (u64, &Finding)> {
        self.lines.iter().copied().zip(&self.findings)
    }

    pub(super) fn refused(&self) -> bool {
        !self.subject.is_only_looked_at() && self.findings.iter().any(Finding::denies)
    }

    /// Whether it has a finding about the settings that take effect.
    pub(super) const fn is_clean(&self) -> bool {
        self.subject.is_only_looked_at() || self.findings.is_empty()
    }
}
