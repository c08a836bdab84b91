//! `vap`: the part of the assessment that CEL can express, for the API server itself.

#![allow(clippy::doc_markdown, reason = "the help shows plain text")]

use jiff::Timestamp;
use serde_json::Value;

use super::{Exit, Format, output, policies::Policies};
use crate::{
    admission::vap::policy_and_binding,
    defrag::policy::{DefragPolicy, Policy},
};

/// Print a ValidatingAdmissionPolicy with what CEL can check, for when the webhook is unavailable
///
/// Optional, in addition to the webhook: the API server itself then refuses settings of a wrong form. Only writes of
/// etcd-defrag.io/ keys are checked, as by the webhook. With --policy, one for each DefragPolicy with its bounds, locked keys,
/// selectors and actions; one policy cannot see another there, so all policies that overlap apply.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    policies: Policies,
    /// How to print; text is YAML
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let loaded = args.policies.load(&[], false, Timestamp::now())?;
    let mut objects: Vec<Value> = Vec::new();
    let mut add = |policy: &Policy, object: Option<&DefragPolicy>| -> anyhow::Result<()> {
        let (admission, binding) = policy_and_binding(policy, object);
        objects.extend([serde_json::to_value(admission)?, serde_json::to_value(binding)?]);
        Ok(())
    };
    for (document, compiled) in &loaded.policies {
        add(&compiled.policy, Some(&document.typed()?))?;
    }
    if loaded.policies.is_empty() {
        add(&Policy::built_in(), None)?;
    }
    if loaded.policies.len() > 1 {
        output::note("each policy applies wherever it selects: CEL sees neither priorities nor the other policies");
    }
    let exit = loaded.say_findings();
    let mut printed = output::Objects::of(args.output);
    for object in &objects {
        printed.add(&output::object(args.output, object)?)?;
    }
    printed.finish()?;
    Ok(exit)
}
