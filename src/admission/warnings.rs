//! Warnings as the API server passes them on whole.

use std::collections::BTreeSet;

use crate::defrag::finding::{WARNING_LIMIT, shorten};

/// All warnings of one answer together, in bytes. The API server cuts each warning of a request to 256 characters once
/// they exceed 4096 together, those of other webhooks included.
const TOGETHER: usize = 4000;

/// A line that is not about a finding: whose words it is, then the words.
pub(super) fn note(text: &str) -> String {
    shorten(&format!("etcd-defrag: {text}"), WARNING_LIMIT)
}

/// One line each, none twice, not too many.
pub(super) fn fit(warnings: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let warnings: Vec<String> = warnings
        .into_iter()
        .map(|warning| shorten(&warning, WARNING_LIMIT))
        .filter(|warning| seen.insert(warning.clone()))
        .collect();
    let last_line = |more: usize| format!("{more} more warnings: see them all with `etcd-defrag-webhook check`");
    let mut left = TOGETHER.saturating_sub(last_line(warnings.len()).len());
    let total = warnings.len();
    let mut fitting: Vec<String> = warnings
        .into_iter()
        .map_while(|warning| {
            left = left.checked_sub(warning.len())?;
            Some(warning)
        })
        .collect();
    if fitting.len() < total {
        fitting.push(last_line(total - fitting.len()));
    }
    fitting
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_stay_whole_single_and_few() {
        let many = (0..200).map(|number| format!("{number}: {}", "é".repeat(200)));
        let fitted = fit(many.clone().chain(many));
        assert!(fitted.iter().all(|warning| warning.chars().count() <= WARNING_LIMIT));
        assert!(fitted.iter().map(String::len).sum::<usize>() <= TOGETHER);
        let shown = fitted.len() - 1;
        assert!(shown > 10, "{shown}");
        assert_eq!(
            fitted.last().unwrap(),
            &format!("{} more warnings: see them all with `etcd-defrag-webhook check`", 200 - shown)
        );
        assert_eq!(fit(["a".to_owned(), "b".to_owned(), "a".to_owned()]), ["a", "b"]);
    }
}
