//! `completion`: a script that teaches a shell our commands.

use clap::Command;
use clap_complete::Shell;

use super::{Exit, output};

/// Print a shell completion script
///
/// For bash: source <(etcd-defrag-webhook completion bash)
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for `command`, the whole command line.
pub(super) fn run(args: &Args, mut command: Command) -> anyhow::Result<Exit> {
    let name = command.get_name().to_owned();
    // Into memory first: the generator panics where standard output goes away.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    output::write(&output::Data::script(String::from_utf8_lossy(&script).into_owned()))?;
    Ok(Exit::Clean)
}
