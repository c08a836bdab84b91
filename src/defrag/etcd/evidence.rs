//! Whether a StatefulSet without the label runs an etcd.
//!
//! A policy may enrol every etcd. A StatefulSet that is enrolled by mistake gets a CronJob that fails every night, so
//! the pod template has to show an etcd: a container that starts the program or has its image, and the options of a
//! member. A name is not evidence: a client, a backup or a proxy may be called etcd, too.

use super::{
    container,
    context::Reading,
    home::Home,
    launch::{base, is_etcd},
    listens::{self, Listens},
    mounts::Files,
};
use crate::defrag::{
    budget::{Counted, Excess},
    finding::quoted,
    statefulset::StatefulSet,
};

/// Options that only a member has. Each is also an environment variable.
const MEMBER: [&str; 9] = [
    "initial-cluster",
    "listen-client-urls",
    "advertise-client-urls",
    "initial-advertise-peer-urls",
    "listen-peer-urls",
    "discovery-srv",
    "data-dir",
    "quota-backend-bytes",
    "quota-backend-gb",
];

/// What the pod template says of whether it runs an etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    names_etcd: bool,
    runs_etcd: bool,
    sentence: String,
}

impl Evidence {
    /// Whether it does.
    #[must_use]
    pub const fn runs_etcd(&self) -> bool {
        self.runs_etcd
    }

    /// Whether it has a container that is called etcd, or has etcd as its command or image.
    #[must_use]
    pub const fn names_etcd(&self) -> bool {
        self.names_etcd
    }

    /// Why it does or does not, in one sentence.
    #[must_use]
    pub fn sentence(&self) -> &str {
        &self.sentence
    }
}

/// Whether the pod template says etcd anywhere where [`evidence`] looks. It is false of most StatefulSets, and it costs
/// nothing to ask.
#[must_use]
pub fn mentions_etcd(sts: &StatefulSet) -> bool {
    sts.spec.template.spec.containers.iter().any(|container| {
        let values = container.env.iter().filter_map(|variable| variable.value.as_ref());
        let mut texts = container.command.iter().chain(&container.args).chain(values).chain([&container.image]);
        texts.any(|text| text.contains("etcd"))
    })
}

/// Looks at the container that [`discover`](super::discover) would read, at its command, arguments, image and environment.
#[must_use]
pub fn evidence(sts: &StatefulSet) -> Evidence {
    let pod = &sts.spec.template.spec;
    let unread = |excess: Excess| Evidence {
        names_etcd: container::is_named(pod),
        runs_etcd: false,
        sentence: format!("Whether it runs an etcd is not known: it {}.", excess.sentence()),
    };
    if let Some(excess) = Excess::of(sts) {
        return unread(excess);
    }
    let files = Files::of(pod);
    let readings = Reading::all(pod, &Home::of(sts), &files);
    let invocations = readings.iter().map(|reading| reading.options.invocations).max().unwrap_or_default();
    if let Some(excess) = Excess::over(Counted::Invocations, invocations) {
        return unread(excess);
    }
    let Some(etcd) = container::find(&readings).and_then(|index| readings.get(index)) else {
        let instead = container::in_its_place(&readings);
        let sentence = match instead {
            Some((reading, what)) => {
                let name = quoted(&reading.container.name);
                format!("The container {name} runs no etcd member: it runs {}.", quoted(what))
            }
            None => "No container of the pod template has etcd as its command or image.".to_owned(),
        };
        return Evidence { names_etcd: instead.is_some(), runs_etcd: false, sentence };
    };
    let (runs_etcd, sentence) = match runs(etcd) {
        Ok(sentence) => (true, sentence),
        Err(sentence) => (false, sentence),
    };
    Evidence { names_etcd: true, runs_etcd, sentence }
}

/// Whether a container runs a member that others can reach, and why it does or does not, in one sentence.
fn runs(reading: &Reading<'_>) -> Result<String, String> {
    let (container, options) = (reading.container, &reading.options);
    let name = quoted(&container.name);
    let started = start(reading).map_err(|reason| format!("The container {name} runs no etcd member: {reason}."))?;
    if let Listens::Locally { urls, .. } = listens::at(options) {
        return Err(format!("The container {name} {started}, but serves its own pod only: it listens on {urls}."));
    }
    match member(reading) {
        Some(option) => Ok(format!("The container {name} {started} with {option}, so it is an etcd.")),
        None => Err(format!(
            "The container {name} {started}, but with no option of a member, such as --initial-cluster or \
             ETCD_INITIAL_CLUSTER."
        )),
    }
}

/// Whether a container runs a member, be it for its own pod only.
pub(super) fn is_member(reading: &Reading<'_>) -> bool {
    reading.options.keeps_no_data.is_none() && start(reading).is_ok() && member(reading).is_some()
}

/// How the container starts etcd, in words; else what it does instead.
fn start(reading: &Reading<'_>) -> Result<String, String> {
    let (container, options) = (reading.container, &reading.options);
    if let Some(what) = &options.keeps_no_data {
        return Err(format!("it runs {}", quoted(what)));
    }
    let image = quoted(&container.image);
    match &options.program {
        _ if options.starts_etcd() => Ok("starts etcd".to_owned()),
        // Kubermatic's launcher writes the flags of etcd itself.
        Some(program) if options.is_launched() && container::has_etcd_image(container) => {
            Ok(format!("starts etcd by {}", quoted(base(program))))
        }
        Some(program) if !options.of_image => Err(format!("its command is {}", quoted(program))),
        _ if !container::has_etcd_image(container) => Err(format!("its image is {image}")),
        _ => match container.args.first().filter(|word| !word.starts_with('-') && !is_etcd(word)) {
            Some(word) => Err(format!("its image {image} is run with {}", quoted(word))),
            None => Ok(format!("has the image {image}")),
        },
    }
}

/// The first option of a member, in words.
fn member(reading: &Reading<'_>) -> Option<String> {
    let Reading { container, options, .. } = reading;
    if let Some(setting) = MEMBER.iter().find_map(|flag| options.get(flag)) {
        return Some(setting.origin.clone());
    }
    if !options.has_config_file() {
        return options.elsewhere().map(|place| format!("options in {place}"));
    }
    // etcd ignores its environment beside a configuration file, but what a chart sets there still tells what runs.
    let variable = |flag: &str| format!("ETCD_{}", flag.to_ascii_uppercase().replace('-', "_"));
    let variables = MEMBER.iter().map(|flag| variable(flag));
    let set = variables.into_iter().find(|name| container.env.iter().any(|env| env.name == *name));
    Some(set.unwrap_or_else(|| "a configuration file".to_owned()))
}

#[cfg(test)]
mod tests;
