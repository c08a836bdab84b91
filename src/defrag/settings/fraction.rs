//! Percentages that look like fractions. They mean what they say, so this only warns.

use super::{
    super::{
        finding::{Code, quoted},
        keys::Key,
        ratio,
    },
    Parser,
};

/// The least share that somebody may want.
const LEAST: f64 = 0.01;

impl Parser<'_> {
    /// `0.8%` is 0.008, where 0.8 is 80%.
    pub(super) fn warn_of_fraction(&mut self, key: Key, share: Option<f64>) {
        let (Some(value), Some(share)) = (self.take(key), share.filter(|share| *share < LEAST)) else { return };
        let Some((fraction, meant)) = value.strip_suffix('%').and_then(|text| Some((text, ratio::parse(text).ok()?)))
        else {
            return;
        };
        let meant = ratio::exact(meant);
        self.refuse(
            Code::RuleConstantSuspect,
            key,
            &format!("is {value}, less than a hundredth; write {meant} if {fraction} is meant"),
            format!(
                "{} is {share}, less than a hundredth of the whole. If {fraction} is meant, write {meant}.",
                quoted(value)
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::defrag::{
        finding::Code,
        keys::{ENABLED, PREFIX},
        policy::Policy,
        settings::parse,
        statefulset::StatefulSet,
    };

    #[test]
    fn a_percentage_that_looks_like_a_fraction_is_warned_about() {
        let warns = |key: &str, value: &str| {
            let mut object = StatefulSet::default();
            object.metadata.labels = Some(BTreeMap::from([(ENABLED.to_owned(), "true".to_owned())]));
            object.metadata.annotations = Some(BTreeMap::from([(format!("{PREFIX}{key}"), value.to_owned())]));
            let findings = parse(&object, &Policy::built_in()).findings;
            assert!(findings.iter().all(|finding| !finding.denies()));
            let mut of_fraction = findings.into_iter().filter(|finding| finding.code == Code::RuleConstantSuspect);
            of_fraction.next().map(|finding| format!("{}\n{}", finding.brief, finding.message))
        };
        for key in ["quota-usage-above", "free-share-above", "disalarm-below"] {
            assert!(warns(key, "0.8%").is_some_and(|text| text.contains("write 80%")), "{key}");
            for fine in ["80%", "0.8", "1%", "0.008"] {
                assert_eq!(warns(key, fine), None, "{key} {fine}");
            }
        }
        insta::assert_snapshot!(warns("quota-usage-above", "0.8%").unwrap());
    }
}
