//! The command line: one file for each command. Data goes to standard output, everything else to standard error.

mod around;
mod certs;
mod check;
mod cluster;
mod completion;
mod crd;
mod cronjob;
mod definition;
mod defrag;
mod exit;
mod explain;
mod explain_rule;
mod explain_schedule;
mod in_order;
mod input;
mod output;
mod pause;
mod policies;
mod program;
mod progress;
mod proxy;
mod render;
mod selftest;
mod serve;
mod status;
mod vap;
mod version;

use std::process::ExitCode;

use clap::{
    CommandFactory as _, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};

use self::{exit::Exit, output::Format};
use crate::defrag::text::printable;

/// The text below the help.
const EXIT_CODES: &str = "Exit codes: 0 clean, 1 findings that refuse, 2 usage, input or output";

/// Creates a defragmentation CronJob for each labelled etcd StatefulSet, keeps it correct, and refuses harmful settings
#[derive(Debug, Parser)]
#[command(version, long_version = version::LONG.as_str(), args_override_self = true, max_term_width = 110, arg_required_else_help = true, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the webhook, the reconciler, probes and metrics
    Serve(Box<serve::Args>),
    /// Show StatefulSets as the webhook would store them, and the CronJobs that would exist; needs no cluster
    Render(render::Args),
    /// Check StatefulSets in manifests, for CI; needs no cluster
    Check(check::Args),
    /// Do what kamaji-etcd's defrag.sh does, with the same flags
    Cronjob(cronjob::Args),
    /// Defragment the members of an etcd with the flags of etcd-defrag; what Jobs run with `job.engine: BuiltIn`
    Defrag(Box<defrag::Args>),
    /// Show the enrolled etcds of a cluster and their runs
    Status(status::Args),
    /// Pause all runs of the fleet
    Pause(pause::PauseArgs),
    /// Resume the runs of a paused fleet
    Resume(pause::ResumeArgs),
    /// Explain a schedule, a rule or the code of a finding
    Explain(explain::Args),
    /// Print the CustomResourceDefinition of DefragPolicy
    Crd(crd::Args),
    /// Print a validating admission policy with what CEL can check, for when the webhook is unavailable
    Vap(vap::Args),
    /// Test the webhook of a cluster through its API server; `helm test` runs this
    Selftest(selftest::Args),
    /// Create a development CA and serving certificate
    Certs(certs::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
    /// Print the version, the commit and the engine
    Version(version::Args),
}

/// The command line, called as people call it.
fn command() -> clap::Command {
    Cli::command().bin_name(program::called())
}

/// The exit code for wrong usage and for input or output that fails.
const TROUBLE: u8 = 2;

/// Runs a command line. Exit codes: 0 clean, 1 findings that refuse, 2 usage or I/O.
#[must_use]
pub fn run() -> ExitCode {
    let mut command = command();
    let parsed = command.try_get_matches_from_mut(std::env::args_os());
    let cli = match parsed
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command)))
    {
        Ok(cli) => cli,
        Err(mut error) => {
            printable_arguments(&mut error);
            // Help and version are what was asked for; clap knows which stream and which code.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(TROUBLE));
        }
    };
    let exit = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Render(args) => render::run(args),
        Command::Check(args) => check::run(args),
        Command::Cronjob(args) => cronjob::run(args),
        Command::Defrag(args) => defrag::run(args),
        Command::Status(args) => status::run(args),
        Command::Pause(args) => pause::pause(args),
        Command::Resume(args) => pause::resume(args),
        Command::Explain(args) => explain::run(args),
        Command::Crd(args) => crd::run(args),
        Command::Vap(args) => vap::run(args),
        Command::Selftest(args) => selftest::run(args),
        Command::Certs(args) => certs::run(args),
        Command::Completion(args) => completion::run(args, Cli::command()),
        Command::Version(args) => version::run(args),
    };
    match exit {
        Ok(Exit::Clean) => ExitCode::SUCCESS,
        Ok(Exit::Refused) => ExitCode::from(1),
        Ok(Exit::Status(code)) => ExitCode::from(code),
        Err(error) => {
            output::error(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

/// Makes what an error says of the arguments printable: file names from outside may be among them.
fn printable_arguments(error: &mut clap::Error) {
    let said: Vec<(ContextKind, ContextValue)> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in said {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(printable(&text)),
            ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(|text| printable(text)).collect()),
            _ => continue,
        };
        error.insert(kind, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    /// So that somebody's own arguments, after those of the chart, take precedence. What may be repeated adds up.
    #[test]
    fn of_an_argument_that_is_given_twice_the_last_one_counts() {
        let words = "etcd-defrag-webhook serve --concurrency=4 --no-leader-election --exempt-namespaces=a,b --namespace=x \
                     --tls-client-ca=ca --tls-client-name=one --concurrency=8 --no-leader-election --exempt-namespaces=c \
                     --namespace=y --tls-client-name=two";
        let cli = Cli::try_parse_from(words.split_whitespace()).unwrap();
        let Command::Serve(args) = cli.command else { panic!("serve") };
        let said = format!("{args:?}");
        for part in [
            "concurrency: 8",
            "no_leader_election: true",
            "exempt_namespaces: [\"c\"]",
            "namespace: \"y\"",
            "tls_client_names: [\"one\", \"two\"]",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
}
