//! What is unsafe about an etcd itself, whatever its settings are.

mod liveness;
mod room;

use std::time::Duration;

use super::{Etcd, MAX_MEMBERS, Quota};
use crate::defrag::{
    field::Field,
    finding::{Code, Finding, quoted},
    keys::Key,
    policy::{Limits, Reaction},
    quantity::{GIB, human},
};

/// No time-out is shorter than this: under it two members could be down at once.
const SHORTEST_TIMEOUT: Duration = Duration::from_mins(1);

/// How long a member with a full database of this quota (in bytes) is silent while it defragments:
/// [`Limits::seconds_per_gib`] for each GiB. 5 to 15 were measured on ordinary disks; 10 is the default.
#[must_use]
pub fn time_budget(quota: u64, limits: &Limits) -> Duration {
    let milliseconds = u128::from(quota) * u128::from(limits.seconds_per_gib) * 1000 / u128::from(GIB);
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

/// The time-out of a run whose settings name none: three times the [`time_budget`] of the quota (in bytes), at least 60
/// s and what the policy allows. Generous on purpose: a time-out stops the client, not the member, which continues to
/// defragment unwatched.
#[must_use]
pub fn default_command_timeout(quota: u64, limits: &Limits) -> Duration {
    let seconds = time_budget(quota, limits).as_secs().saturating_mul(3);
    Duration::from_secs(seconds).max(SHORTEST_TIMEOUT).max(limits.min_command_timeout)
}

/// The hazards that follow from the facts alone.
#[must_use]
pub fn hazards(etcd: &Etcd, limits: &Limits) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(version(etcd));
    findings.extend(members(etcd, limits));
    if let Some(quota) = &etcd.quota {
        findings.extend(quota_size(quota, limits));
        findings.extend(room::volume(etcd, quota, limits));
        findings.extend(liveness::judge(etcd, quota, time_budget(quota.bytes, limits)));
    }
    findings.extend(etcd.others.iter().map(|(name, field)| other(name, field)));
    findings.extend(etcd.rivals.iter().map(|rival| {
        Finding::new(
            Code::RivalDefragmenter,
            rival.field.clone(),
            &rival.what,
            format!(
                "Something else defragments this etcd: {}. Two members could be down at once when both run, which \
                 costs the quorum. {}",
                rival.what, rival.remedy
            ),
        )
    }));
    limits.weigh(findings)
}

/// That the pod has one etcd more, of which nothing is defragmented.
fn other(name: &str, field: &str) -> Finding {
    let name = quoted(name);
    Finding::new(
        Code::SecondEtcd,
        field.to_owned(),
        format!("the container {name} runs another etcd, which is not defragmented"),
        format!(
            "The container {name} of the same pod runs another etcd. A StatefulSet has one CronJob, for the etcd that is read \
             first, so the one in {name} is never defragmented. Give it a StatefulSet of its own, or defragment it yourself."
        ),
    )
}

fn version(etcd: &Etcd) -> Option<Finding> {
    let field = format!("{}.image", etcd.container_field);
    let Some(version) = etcd.version else {
        return Some(Finding::new(
            Code::EtcdVersionUnknown,
            field,
            "no etcd version in the image's tag; needs 3.5.6 (3.4.4 on 3.4) or newer",
            format!(
                "The image {} shows no etcd version. etcd 3.5.0 to 3.5.5 can corrupt data when a member crashes while \
                 it defragments: make sure that it runs 3.5.6 (3.4.4 on the 3.4 line) or newer.",
                quoted(&etcd.image)
            ),
        ));
    };
    let repaired = version.repaired_by()?;
    if !version.is_supported() {
        return Some(Finding::new(
            Code::EtcdVersionUnsafe,
            field,
            format!("the engine does not support etcd {version}; run {repaired} or newer"),
            format!(
                "The image {} is etcd {version}, a line that gets no fixes any more and that etcd-defrag, the engine of the runs, does \
                 not support: it supports 3.4 and newer. Upgrade to {repaired} or newer first.",
                quoted(&etcd.image)
            ),
        ));
    }
    Some(Finding::new(
        Code::EtcdVersionUnsafe,
        field,
        format!("etcd {version} may lose data when it defragments; run {repaired} or newer"),
        format!(
            "The image {} is etcd {version}, which has known defragmentation bugs: members can end up with different \
             data when one crashes during a defragmentation. Upgrade to {repaired} or newer first.",
            quoted(&etcd.image)
        ),
    ))
}

fn members(etcd: &Etcd, limits: &Limits) -> Option<Finding> {
    let count = etcd.members;
    // How many there are elsewhere, the endpoints say.
    let (field, place): (Field, _) = if etcd.is_spread {
        (Key::Endpoints.field(), format!("This etcd has {count} members"))
    } else if count != etcd.replicas {
        (Key::Endpoints.field(), format!("{} has {count} URLs", Key::Endpoints.annotation()))
    } else {
        ("spec.replicas".into(), format!("spec.replicas is {count}"))
    };
    if let Some(list) = &etcd.each_alone {
        let message = format!(
            "By this list each of the {count} pods is an etcd of its own, with one member: --initial-cluster names the pod itself and no \
             other. While a run defragments one, that etcd is unavailable. If the pods are to be one etcd, name all of them in \
             --initial-cluster, which a member reads at its first start."
        );
        let brief = format!("{count} etcds of one member: every run is an outage of each in turn");
        return Some(Finding::new(Code::SingleMember, list.clone(), brief, message));
    }
    if count == 1 {
        let instead = match limits.single_member {
            Reaction::Deny => {
                "Run 3 members, or ask the owners of the policy, which allows no single member. To exclude this etcd from \
                 defragmentation, remove the label."
            }
            Reaction::Warn | Reaction::Allow => {
                "Run 3 members, or schedule runs for a time when an outage of a minute or more does no harm."
            }
        };
        let message = format!(
            "spec.replicas is 1: while its only member defragments, this etcd is unavailable, and so is everything that depends \
             on it. {instead}"
        );
        let brief = "one member: every run is an outage of the whole etcd";
        return Some(Finding::new(Code::SingleMember, field, brief, message));
    }
    // More than there may be are refused, and told how many to have.
    if count == 0 || count % 2 == 1 || count > MAX_MEMBERS {
        return None;
    }
    let (spare, better) = (count / 2 - 1, count + 1);
    let (brief, why) = if count == 2 {
        let why = "with two members, both are needed for a quorum, so each run stops all writes twice";
        ("two members: every run loses the quorum".to_owned(), why.to_owned())
    } else {
        let brief = format!("{count} members tolerate no more failures than {}", count - 1);
        let why = format!(
            "a quorum needs {} of them, so only {spare} may be unavailable, no more than with {}, and a run makes one unavailable",
            count / 2 + 1,
            count - 1
        );
        (brief, why)
    };
    let message = format!("{place}: {why}. Run {better} members, or {}.", (count - 1).max(3));
    let message = if count == 2 { format!("{place}: {why}. Run 3 members.") } else { message };
    Some(Finding::new(Code::EvenMembers, field, brief, message))
}

fn quota_size(quota: &Quota, limits: &Limits) -> Option<Finding> {
    let (size, most) = (human(quota.bytes), human(limits.suggested_quota_max));
    (quota.bytes > limits.suggested_quota_max).then(|| {
        Finding::new(
            Code::QuotaAboveSuggested,
            quota.field.clone(),
            format!("the quota of {size} is above the suggested maximum of {most}"),
            format!(
                "The quota is {size} ({}), and the suggested maximum is {most}: with a larger database a member takes \
                 minutes to defragment, to start and to catch up. Lower the quota to {most}, or split the data over \
                 several etcds.",
                quota.source
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        crate::defrag::policy::Policy::built_in().limits
    }

    #[test]
    fn budgets_grow_with_the_quota() {
        for (quota, budget, timeout) in
            [(0, 0, 60), (GIB / 2, 5, 60), (2 * GIB, 20, 60), (8 * GIB, 80, 240), (100 * GIB, 1000, 3000)]
        {
            assert_eq!(time_budget(quota, &limits()), Duration::from_secs(budget), "{quota}");
            assert_eq!(default_command_timeout(quota, &limits()), Duration::from_secs(timeout), "{quota}");
        }
        assert!(default_command_timeout(u64::MAX, &limits()) > Duration::from_secs(1_000_000));
    }
}
