//! The quota as the server says it against the one that the rule is evaluated with.

use crate::defrag::quantity;

/// The note if the two differ. A server that reports 0 does not know it: etcd before 3.6, and early 3.6 without a
/// quota.
#[must_use]
pub fn mismatch(given: u64, server: u64) -> Option<String> {
    (server != 0 && server != given).then(|| {
        format!(
            "its quota is {}, and the rule was evaluated with {}: set etcd-defrag.io/quota to {}",
            quantity::human(server),
            quantity::human(given),
            quantity::short(server),
        )
    })
}
