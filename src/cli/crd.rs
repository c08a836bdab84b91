//! `crd`: the CustomResourceDefinition of policies.

use super::{Exit, Format, output};
use crate::defrag::policy;

/// Print the CustomResourceDefinition of DefragPolicy
///
/// To install or upgrade it: etcd-defrag-webhook crd | kubectl apply --server-side -f -
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// How to print it; text is YAML
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    output::data(args.output, &policy::crd())?;
    Ok(Exit::Clean)
}
