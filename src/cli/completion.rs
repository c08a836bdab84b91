//! `completion`: a script that teaches a shell our commands.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, Outcome, output};

/// Print a shell completion script
///
/// For bash: source <(etcd-defrag-webhook completion bash)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> anyhow::Result<Outcome> {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // Into memory first: the generator panics where standard output goes away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Outcome::Clean)
}
