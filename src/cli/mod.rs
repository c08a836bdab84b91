//! The command line: one file for each command. Data goes to standard output, everything else to standard error.

pub mod certs;
pub mod check;
pub mod cronjob;
pub mod explain;
pub mod explain_rule;
pub mod explain_schedule;
pub mod input;
pub mod output;
pub mod render;
pub mod serve;

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};

use crate::defrag::finding::Finding;

/// Keeps etcd StatefulSets defragmented: safely, currently, and only when it is worth it
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the webhook, the reconciler, probes and metrics
    Serve(Box<serve::Args>),
    /// Show StatefulSets as the webhook would fill them in, and the CronJobs that would exist; needs no cluster
    Render(render::Args),
    /// Judge StatefulSets in manifests, for CI; needs no cluster
    Check(check::Args),
    /// Do what kamaji-etcd's defrag.sh does, with the same flags
    Cronjob(cronjob::Args),
    /// Explain a schedule, a rule or the code of a finding
    Explain(explain::Args),
    /// Make a development CA and serving certificate
    Certs(certs::Args),
    /// Print a completion script for a shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The form of what is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// How a command ended, where nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing to object to.
    Clean,
    /// Findings that refuse.
    Refused,
}

impl Outcome {
    /// Refused if any finding denies.
    #[must_use]
    pub fn of(findings: &[Finding]) -> Self {
        if findings.iter().any(Finding::denies) { Self::Refused } else { Self::Clean }
    }
}

/// The exit code for wrong usage and for input or output that fails.
const TROUBLE: u8 = 2;

/// Runs a command line. Exit codes: 0 clean, 1 findings that refuse, 2 usage or I/O.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are what was asked for; clap knows which stream and which code.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(TROUBLE));
        }
    };
    let outcome = match &cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Render(args) => render::run(args),
        Command::Check(args) => check::run(args),
        Command::Cronjob(args) => cronjob::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Certs(args) => certs::run(args),
        Command::Completion { shell } => completion(*shell),
    };
    match outcome {
        Ok(Outcome::Clean) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        // The reader of a pipe has seen enough.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            output::diagnostic(&format!("error: {error:#}"));
            ExitCode::from(TROUBLE)
        }
    }
}

fn completion(shell: clap_complete::Shell) -> anyhow::Result<Outcome> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), &mut script);
    io::Write::write_all(&mut io::stdout().lock(), &script)?;
    Ok(Outcome::Clean)
}
