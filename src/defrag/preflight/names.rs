//! Names and times of preflights.

use jiff::SignedDuration;

/// The label of a preflight's Job and pod.
pub const LABEL: &str = "etcd-defrag.io/preflight";
/// The annotation of our CronJob with what the last preflight found.
pub const ANNOTATION: &str = "etcd-defrag.io/preflight";
/// How long a preflight may take, its pod and image included. An outcome that is not known by then is never written.
pub const DEADLINE: SignedDuration = SignedDuration::from_secs(180);
/// A record that says for longer than this that a preflight runs was left by a leader that is gone, and its Job too.
pub const STALE: SignedDuration = SignedDuration::from_secs(240);
