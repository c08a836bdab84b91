//! The options of a run.

use std::{fmt, path::PathBuf, time::Duration};

use crate::defrag::rule::{ENGINE_SAMPLE, EvalError, Rule, RuleError};

/// The options of a run, with the meaning of etcd-defrag's flags of the same names.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are etcd-defrag's")]
pub struct Options {
    /// One URL for each member.
    pub endpoints: Vec<String>,
    /// Takes the members' own client URLs instead; then `endpoints` are where the member list is asked for.
    pub cluster: bool,
    /// Leaves loopback addresses out of the members' own client URLs.
    pub exclude_localhost: bool,
    /// How long a connection, and logging in, may take.
    pub dial_timeout: Duration,
    /// How long a command may take, a defragmentation above all.
    pub command_timeout: Duration,
    /// The time without data after which a connection is probed.
    pub keepalive_time: Duration,
    /// How long the answer to such a probe may take.
    pub keepalive_timeout: Duration,
    /// How members are known and how this program shows who it is.
    pub tls: Tls,
    /// User name and password of etcd's own access control.
    pub login: Option<Login>,
    /// Compacts to the newest revision before the rule is evaluated.
    pub compaction: bool,
    /// Goes on with the next member after one that failed.
    pub continue_on_error: bool,
    /// When a member is defragmented.
    pub rule: Rule,
    /// Checks everything and changes nothing.
    pub dry_run: bool,
    /// The quota that the rule is evaluated with, in bytes.
    pub quota: u64,
    /// Moves leadership away before the leader's turn.
    pub move_leader: bool,
    /// The pause between two members, counted from when the first has caught up.
    pub wait: Duration,
    /// Clears NOSPACE at the end where every database is at most this share of the quota.
    pub disalarm: Option<f64>,
    /// When the run is ended from outside, counted from its start. etcd-defrag has no such flag.
    pub deadline: Option<Duration>,
}

/// The files of TLS, in PEM.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// The authorities that members are verified with; those of the system where there is none.
    pub authority: Option<PathBuf>,
    /// Our certificate.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// Accepts any certificate.
    pub skip_verify: bool,
}

impl Tls {
    /// Whether anything of it is given, so that an endpoint without a scheme means https.
    #[must_use]
    pub const fn is_given(&self) -> bool {
        self.authority.is_some() || self.certificate.is_some() || self.key.is_some() || self.skip_verify
    }
}

/// A user of etcd's own access control.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why options are refused before anything is reached.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// The rule cannot be read.
    #[error("--defrag-rule cannot be read: {0}")]
    Rule(RuleError),
    /// The rule fails at the state at which etcd-defrag tries each rule.
    #[error("--defrag-rule fails for a database of 100 MiB with 60 MiB in use: {0}")]
    Fails(EvalError),
    /// Two options do not go together, or a value is out of its bounds.
    #[error("{0}")]
    Other(String),
}

/// Reads a rule, and tries it as etcd-defrag does.
pub fn rule(text: &str) -> Result<Rule, OptionsError> {
    let rule = Rule::parse(text).map_err(OptionsError::Rule)?;
    rule.evaluate(&ENGINE_SAMPLE).map_err(OptionsError::Fails)?;
    Ok(rule)
}

impl Options {
    /// Whether they go together.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let wrong = |text: String| Err(OptionsError::Other(text));
        if self.endpoints.iter().all(|endpoint| endpoint.trim().is_empty()) {
            return wrong("no endpoint is given: write --endpoints with one URL for each member".to_owned());
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return wrong("--cert and --key go together: write both or neither".to_owned());
        }
        if self.quota == 0 {
            return wrong("--etcd-storage-quota-bytes is 0: write the quota of the etcd in bytes".to_owned());
        }
        if self.disalarm.is_some_and(|threshold| !(threshold > 0.0 && threshold < 1.0)) {
            return wrong(
                "--disalarm-threshold must be greater than 0 and less than 1 with --auto-disalarm".to_owned(),
            );
        }
        if let Some(deadline) = self.deadline.filter(|deadline| *deadline < self.command_timeout) {
            return wrong(format!(
                "--deadline={deadline:?} is shorter than --command-timeout={:?}: no member would ever be started",
                self.command_timeout
            ));
        }
        Ok(())
    }
}
