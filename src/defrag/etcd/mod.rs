//! What a StatefulSet contains about its etcd.
//!
//! [`discover`] reads a pod template as Kubernetes and etcd read it: variables are expanded, flags override the
//! environment, a configuration file overrides both (`config_file`), files are followed through mounts to the Secrets
//! that contain them. No value is guessed without a finding. A required value that cannot be read becomes a refusing
//! [`Finding`] that names the annotation to set; a value that comes from a chart's convention becomes a warning.
//! [`hazards`] checks the facts.

mod brought;
mod clients;
mod cluster;
mod commands;
mod compaction;
mod config_file;
mod container;
mod context;
mod endpoints;
mod evidence;
mod expand;
mod flags;
mod hazards;
mod home;
mod hosts;
mod launch;
mod listens;
mod login;
mod marks;
mod mounts;
mod names;
mod options;
mod patience;
mod port;
mod probes;
mod profile;
mod quota;
mod reached;
mod recognise;
mod rival;
mod secrets;
mod setting;
mod shell;
mod stated;
mod storage;
mod targets;
mod tls;
mod types;
mod url;
mod version;

#[cfg(test)]
mod chart_tests;
#[cfg(test)]
mod message_tests;
#[cfg(test)]
mod property_tests;

pub(super) use brought::{is_etcd_image, objects, scripts};
pub use compaction::NoCompaction;
pub(super) use endpoints::reaches_only_itself;
pub use evidence::{Evidence, evidence, mentions_etcd};
pub use hazards::{default_command_timeout, hazards, time_budget};
pub use profile::Profile;
pub use reached::Reached;
pub use types::{
    AutoCompaction, CaSecret, ClientSecret, CompactionDoubt, DEFAULT_CLIENT_PORT, DEFAULT_QUOTA, DataVolume, Discovery,
    Etcd, Kind, Liveness, Login, MAX_MEMBERS, ObjectKey, Overrides, Quota, Rival, Scheme, SecretPair, ServesApiServer,
    Tls, UserName, UsernameSecret,
};
pub use version::Version;

use super::{
    budget::{Counted, Excess},
    finding::{Code, Finding},
    statefulset::StatefulSet,
};
use context::{Context, Reading};
use home::Home;
use mounts::Files;
use targets::Targets;

/// Everything that `sts` says about its etcd, and every reason why that is not enough.
///
/// [`Discovery::etcd`] is `None` only where no container looks like etcd. A fact of it that is missing always comes
/// with a finding that refuses.
#[must_use]
pub fn discover(sts: &StatefulSet, overrides: &Overrides) -> Discovery {
    let mut findings = Vec::new();
    let pod = &sts.spec.template.spec;
    let files = Files::of(pod);
    let mut sidecars = Reading::all(pod, &Home::of(sts), &files);
    let most = sidecars.iter().map(|reading| reading.options.invocations).max().unwrap_or_default();
    if let Some(excess) = Excess::over(Counted::Invocations, most) {
        return Discovery { etcd: None, findings: vec![excess.finding()] };
    }
    let Some(index) = container::find(&sidecars) else {
        findings.push(container::not_found(&sidecars));
        return Discovery { etcd: None, findings };
    };
    let reading = sidecars.remove(index);
    let profile = recognise::profile(sts, reading.container, &reading.options);
    let context = Context { sts, etcd: &reading, sidecars: &sidecars, files: &files, profile, overrides };

    let replicas = u32::try_from(sts.replicas()).unwrap_or(0);
    if replicas > MAX_MEMBERS {
        findings.push(too_many_members(replicas));
    }
    let targets = Targets::of(&context);
    let address = endpoints::discover(&context, &targets, replicas, &mut findings);
    let quota = quota::discover(&context, &mut findings);
    let most_bytes = quota.as_ref().map_or(DEFAULT_QUOTA, |quota| quota.bytes);
    let (auto_compaction, compaction_doubt) = match quota::auto_compaction(&context, most_bytes) {
        Ok(compaction) => (compaction, None),
        Err(doubt) => (None, Some(doubt)),
    };
    let tls = match address.scheme {
        Scheme::Https => Some(tls::discover(&context, &targets, &mut findings)),
        Scheme::Http => None,
    };
    let container = reading.container;
    let others = sidecars.iter().filter(|sidecar| evidence::is_member(sidecar));
    let etcd = Etcd {
        container: container.name.clone(),
        container_field: reading.field.clone(),
        image: container.image.clone(),
        version: version::from_image(&container.image),
        profile,
        scheme: address.scheme,
        service: address.service,
        domain: address.domain,
        port: address.port,
        first_ordinal: sts.first_ordinal(),
        replicas,
        members: address.members,
        is_spread: address.is_spread,
        each_alone: address.each_alone,
        endpoints: address.endpoints,
        skips_health_check: address.skips_health_check,
        quota,
        auto_compaction,
        compaction_doubt,
        compacted_by: commands::compacts(&context),
        serves_apiserver: recognise::serves_apiserver(&context),
        tls,
        login: login::asked_for(&context, &targets),
        data_volume: storage::discover(&context),
        liveness: probes::liveness(&context),
        unready_without_space: probes::unready_without_space(&context),
        rivals: rival::find(&context, &targets),
        others: others.map(|other| (other.container.name.clone(), other.field.clone())).collect(),
    };
    Discovery { etcd: Some(etcd), findings }
}

fn too_many_members(replicas: u32) -> Finding {
    Finding::new(
        Code::TooManyMembers,
        "spec.replicas",
        format!("{replicas} members; an etcd cluster has at most {MAX_MEMBERS}, 3 or 5 serve best"),
        format!(
            "spec.replicas is {replicas}. Each write has to reach a majority of the members, so etcd advises at most \
             7, and no cluster of more than {MAX_MEMBERS} is defragmented here. Write 3 or 5, or remove the label if \
             this StatefulSet is not one etcd cluster."
        ),
    )
}
