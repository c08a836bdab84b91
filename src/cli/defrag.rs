//! `defrag`: the runner of our own, with the flags and the environment of etcd-defrag.

use std::{path::PathBuf, time::Duration};

use clap::ArgAction::Set;

use super::{Exit, cluster};
use crate::{
    defrag::{
        duration,
        run_result::{EXIT_FAILED, Outcome, RunResult},
        text::printable,
    },
    engine::{self, Login, Options, OptionsError, Tls},
    runtime::shutdown::Shutdown,
};

/// Defragment the members of an etcd, one after the other, each while all others are healthy; with the flags of etcd-defrag
///
/// Each flag is also a variable of the environment: `ETCD_DEFRAG_` and its name in capitals, with `_` for `-`. Exit codes: 0 done or
/// nothing to do, 1 failed, 75 deferred (the cluster was not healthy in time), 2 usage.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "the flags are etcd-defrag's")]
pub(super) struct Args {
    /// Client URLs of the members, separated by commas
    #[arg(long, env = "ETCD_DEFRAG_ENDPOINTS", value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// Use the client URLs of the member list, which is read from --endpoints
    #[arg(long, env = "ETCD_DEFRAG_CLUSTER", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, action = Set)]
    cluster: bool,
    /// Leave loopback addresses out of the member list's client URLs
    #[arg(long, env = "ETCD_DEFRAG_EXCLUDE_LOCALHOST", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, action = Set)]
    exclude_localhost: bool,
    /// How long a connection, and logging in, may take
    #[arg(long, env = "ETCD_DEFRAG_DIAL_TIMEOUT", default_value = "2s", value_parser = go_duration)]
    dial_timeout: Duration,
    /// How long the defragmentation of a member may take
    #[arg(long, env = "ETCD_DEFRAG_COMMAND_TIMEOUT", default_value = "30s", value_parser = go_duration)]
    command_timeout: Duration,
    /// The time without data after which a connection is probed
    #[arg(long, env = "ETCD_DEFRAG_KEEPALIVE_TIME", default_value = "2s", value_parser = go_duration)]
    keepalive_time: Duration,
    /// How long the answer to such a probe may take
    #[arg(long, env = "ETCD_DEFRAG_KEEPALIVE_TIMEOUT", default_value = "6s", value_parser = go_duration)]
    keepalive_timeout: Duration,
    /// The authorities of the members' certificates, in PEM; without it those of the system
    #[arg(long, env = "ETCD_DEFRAG_CACERT")]
    cacert: Option<PathBuf>,
    /// The client certificate, in PEM
    #[arg(long, env = "ETCD_DEFRAG_CERT")]
    cert: Option<PathBuf>,
    /// The private key of the client certificate, in PEM
    #[arg(long, env = "ETCD_DEFRAG_KEY")]
    key: Option<PathBuf>,
    /// No effect: the scheme of an endpoint decides whether it is encrypted
    #[arg(long, env = "ETCD_DEFRAG_INSECURE_TRANSPORT", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = go_bool, action = Set, hide = true)]
    insecure_transport: bool,
    /// Accept any certificate of a member; for tests only
    #[arg(long, env = "ETCD_DEFRAG_INSECURE_SKIP_TLS_VERIFY", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, action = Set)]
    insecure_skip_tls_verify: bool,
    /// Not supported: name the members with --endpoints
    #[arg(long, short = 'd', env = "ETCD_DEFRAG_DISCOVERY_SRV", default_value = "", hide = true)]
    discovery_srv: String,
    /// Not supported: name the members with --endpoints
    #[arg(long, env = "ETCD_DEFRAG_DISCOVERY_SRV_NAME", default_value = "", hide = true)]
    discovery_srv_name: String,
    /// Not supported: name the members with --endpoints
    #[arg(long, env = "ETCD_DEFRAG_INSECURE_DISCOVERY", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = go_bool, action = Set, hide = true)]
    insecure_discovery: bool,
    /// The user of etcd's access control
    #[arg(long, env = "ETCD_DEFRAG_USER", default_value = "", hide_env_values = true)]
    user: String,
    /// The password of the user; better in the environment, where other processes do not see it
    #[arg(long, env = "ETCD_DEFRAG_PASSWORD", default_value = "", hide_env_values = true)]
    password: String,
    /// Compact to the newest revision before the rule is evaluated
    #[arg(long, env = "ETCD_DEFRAG_COMPACTION", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = go_bool, action = Set)]
    compaction: bool,
    /// Continue with the next member after one that failed, when the cluster is healthy again
    #[arg(long, env = "ETCD_DEFRAG_CONTINUE_ON_ERROR", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true", value_parser = go_bool, action = Set)]
    continue_on_error: bool,
    /// The condition for defragmenting a member; without it always
    #[arg(long, env = "ETCD_DEFRAG_DEFRAG_RULE", default_value = "", allow_hyphen_values = true)]
    defrag_rule: String,
    /// Check everything and evaluate the rule, but change nothing
    #[arg(long, env = "ETCD_DEFRAG_DRY_RUN", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, action = Set)]
    dry_run: bool,
    /// The quota of the etcd, in bytes: dbQuota of the rule
    #[arg(long, env = "ETCD_DEFRAG_ETCD_STORAGE_QUOTA_BYTES", default_value_t = 2 << 30)]
    etcd_storage_quota_bytes: u64,
    /// Move the leadership to a member that is done, before the leader is defragmented
    #[arg(long, env = "ETCD_DEFRAG_MOVE_LEADER", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, action = Set)]
    move_leader: bool,
    /// The pause after a member has caught up, and after moving leadership
    #[arg(long, env = "ETCD_DEFRAG_WAIT_BETWEEN_DEFRAGS", default_value = "0s", value_parser = go_duration)]
    wait_between_defrags: Duration,
    /// No effect: the health of the members is always checked through --endpoints
    #[arg(long, env = "ETCD_DEFRAG_SKIP_HEALTHCHECK_CLUSTER_ENDPOINTS", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, action = Set, hide = true)]
    skip_healthcheck_cluster_endpoints: bool,
    /// Clear NOSPACE at the end
    #[arg(long, env = "ETCD_DEFRAG_AUTO_DISALARM", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_parser = go_bool, action = Set)]
    auto_disalarm: bool,
    /// Clear NOSPACE only if every database is at most this share of the quota
    #[arg(long, env = "ETCD_DEFRAG_DISALARM_THRESHOLD", default_value_t = 0.9)]
    disalarm_threshold: f64,
    /// When the run is ended from outside, counted from its start: no member is started that may not end before
    #[arg(long, env = "ETCD_DEFRAG_DEADLINE", value_parser = go_duration)]
    deadline: Option<Duration>,
    /// Where the result is written as JSON [default: /dev/termination-log, if it exists]
    #[arg(long, env = "ETCD_DEFRAG_TERMINATION_LOG")]
    termination_log: Option<PathBuf>,
}

/// A boolean as Go's strconv reads it.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("write true or false".to_owned()),
    }
}

fn go_duration(text: &str) -> Result<Duration, String> {
    duration::parse_unsigned(text).map_err(|error| error.to_string())
}

impl Args {
    fn options(&self) -> Result<Options, OptionsError> {
        let wrong = |text: &str| Err(OptionsError::Other(text.to_owned()));
        if !self.discovery_srv.is_empty() {
            return wrong("--discovery-srv is not supported: name the members with --endpoints");
        }
        if self.skip_healthcheck_cluster_endpoints && self.cluster {
            return wrong("--skip-healthcheck-cluster-endpoints and --cluster exclude each other");
        }
        let login = (!self.user.is_empty() || !self.password.is_empty())
            .then(|| Login { user: self.user.clone(), password: self.password.clone() });
        Ok(Options {
            endpoints: self.endpoints.clone(),
            cluster: self.cluster,
            exclude_localhost: self.exclude_localhost,
            dial_timeout: self.dial_timeout,
            command_timeout: self.command_timeout,
            keepalive_time: self.keepalive_time,
            keepalive_timeout: self.keepalive_timeout,
            tls: Tls {
                authority: self.cacert.clone(),
                certificate: self.cert.clone(),
                key: self.key.clone(),
                skip_verify: self.insecure_skip_tls_verify,
            },
            login,
            compaction: self.compaction,
            continue_on_error: self.continue_on_error,
            rule: engine::rule(&self.defrag_rule)?,
            dry_run: self.dry_run,
            quota: self.etcd_storage_quota_bytes,
            move_leader: self.move_leader,
            wait: self.wait_between_defrags,
            disalarm: self.auto_disalarm.then_some(self.disalarm_threshold),
            deadline: self.deadline,
        })
    }
}

/// Runs the command.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let result = match args.options() {
        Ok(options) => cluster::run(async {
            let shutdown = Shutdown::on_signals()?;
            Ok(engine::run(&options, &shutdown).await)
        })?,
        Err(error) => {
            let result = RunResult::new(Outcome::Failed, error.to_string());
            super::output::note(&printable(&error.to_string()));
            result
        }
    };
    let code = result.outcome.exit_code();
    if let Err(error) = engine::write_result(&result, args.termination_log.as_deref()) {
        // What was done is done: it is said in the log.
        super::output::note(&format!("the result cannot be written: {error}"));
        return Ok(Exit::Status(code.max(EXIT_FAILED)));
    }
    Ok(Exit::Status(code))
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;
    use crate::defrag::engine::FLAGS;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(Command::new("defrag"));
        Args::from_arg_matches(&command.try_get_matches_from([&["defrag"], args].concat())?)
    }

    #[test]
    fn each_flag_of_the_engine_is_known_also_as_a_variable() {
        let command = Args::augment_args(Command::new("defrag"));
        for (flag, _) in FLAGS {
            assert!(command.get_arguments().any(|arg| arg.get_long() == Some(flag)), "--{flag}");
        }
        for arg in command.get_arguments() {
            let flag = arg.get_long().unwrap();
            let variable = format!("ETCD_DEFRAG_{}", flag.to_uppercase().replace('-', "_"));
            assert_eq!(arg.get_env().and_then(|name| name.to_str()), Some(&*variable), "--{flag}");
        }
    }

    #[test]
    fn flags_are_read_as_etcd_defrag_reads_them() {
        let args = parse(&[
            "--endpoints=https://a:1,https://b:2",
            "--compaction=false",
            "--move-leader",
            "--auto-disalarm=T",
            "--command-timeout=1m30s",
            "--defrag-rule=-1 > dbSize",
            "--disalarm-threshold=0.8",
        ]);
        let options = args.unwrap().options().unwrap();
        assert_eq!(options.endpoints, ["https://a:1", "https://b:2"]);
        assert!(!options.compaction && options.move_leader && options.continue_on_error && !options.dry_run);
        assert_eq!(options.command_timeout, Duration::from_secs(90));
        assert_eq!((options.disalarm, options.quota, options.rule.as_str()), (Some(0.8), 2 << 30, "-1 > dbSize"));
        assert!(options.login.is_none() && options.deadline.is_none());

        for wrong in [
            "--cacert=",
            "--compaction=maybe",
            "--command-timeout=60",
            "--unknown",
            "--etcd-storage-quota-bytes=-1",
            "x",
        ] {
            assert!(parse(&[wrong]).is_err(), "{wrong}");
        }
        let refused = |args: &[&str]| {
            let args = parse(args).unwrap();
            let options = args.options().map_err(|error| error.to_string());
            options.and_then(|options| options.validate().map_err(|error| error.to_string())).unwrap_err()
        };
        let texts = [
            refused(&["--discovery-srv=example.org"]),
            refused(&["--skip-healthcheck-cluster-endpoints", "--cluster"]),
            refused(&["--cert=a"]),
            refused(&["--endpoints="]),
            refused(&["--etcd-storage-quota-bytes=0"]),
            refused(&["--auto-disalarm", "--disalarm-threshold=1"]),
            refused(&["--deadline=10s"]),
            refused(&["--defrag-rule=dbSize >"]),
            refused(&["--defrag-rule=1/(dbSize-104857600) > 0"]),
        ];
        insta::assert_snapshot!(texts.join("\n"));
    }
}
