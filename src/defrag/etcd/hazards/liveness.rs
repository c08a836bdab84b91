//! A liveness probe that takes a member at work for a dead one.

use std::time::Duration;

use crate::defrag::{
    etcd::{Etcd, Quota},
    finding::{Code, Finding},
    quantity::human,
};

/// `needed` is how long a member with a full database of this quota is silent.
pub(super) fn judge(etcd: &Etcd, quota: &Quota, needed: Duration) -> Option<Finding> {
    let probe = etcd.liveness.as_ref()?;
    let needed = needed.as_millis().div_ceil(1000);
    (u128::from(probe.seconds) < needed).then(|| {
        let (seconds, interval, threshold) = (probe.seconds, probe.interval, probe.threshold);
        let enough = needed.saturating_sub(probe.timeout.into()).div_ceil(interval.max(1).into()) + 1;
        let pace = match probe.timeout {
            0 => format!("every {interval} s, {threshold} failures, each at once"),
            _ if interval > probe.period => {
                format!("an attempt waits {interval} s and delays the next, {threshold} failures")
            }
            timeout => format!("every {interval} s, {threshold} failures, each after {timeout} s"),
        };
        let pace = probe.gives_up.as_ref().map_or(pace.clone(), |why| format!("{pace}, when {why}"));
        Finding::new(
            Code::LivenessTooEager,
            probe.field.clone(),
            format!("restarts a member silent for {seconds} s; defragmenting may take {needed} s"),
            format!(
                "The liveness probe restarts a member that is silent for {seconds} s ({pace}), but a member does not answer it \
                 while it defragments, which with a quota of {} may take {needed} s. It would be killed during the defragmentation. Set \
                 failureThreshold to {enough} or more.",
                human(quota.bytes)
            ),
        )
    })
}
