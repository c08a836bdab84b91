//! What the assessment has to say: one [`Finding`] for each thing that is wrong or risky.

use std::fmt;

use serde::Serialize;

pub use super::text::{quoted, shorten};
use super::{field::Field, text::printable};

/// The longest admission warning that the API server and its clients show whole, in characters.
pub const WARNING_LIMIT: usize = 120;

/// Whether a finding refuses the object or only warns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The settings would hurt the etcd, or cannot be understood.
    Deny,
    /// The settings work, but a person should know about a risk.
    Warn,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
        })
    }
}

/// Declares [`Code`] with its stable kebab-case names, so that a code, its name and the list of all codes cannot
/// drift apart.
macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $severity:ident;)+) => {
        /// The stable name of a kind of finding; `explain CODE` prints its page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($(#[$doc])* $variant,)+ }

        impl Code {
            /// Every code there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable kebab-case name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The page for people: what was found, why it matters, how to fix it, an example. Markdown.
            #[must_use]
            pub const fn page(self) -> &'static str {
                match self { $(Self::$variant => include_str!(concat!("../../docs/findings/", $name, ".md")),)+ }
            }

            /// The severity under the built-in policy.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// The `enabled` label is neither `true` nor `false`.
    EnabledInvalid = "enabled-invalid", Deny;
    /// An annotation under our prefix that does not exist.
    AnnotationUnknown = "annotation-unknown", Deny;
    /// A boolean annotation that is neither `true` nor `false`.
    BooleanInvalid = "boolean-invalid", Deny;
    /// A duration that Go would not parse, or that is out of range.
    DurationInvalid = "duration-invalid", Deny;
    /// A text setting that is not a valid Kubernetes name, port or domain.
    ValueInvalid = "value-invalid", Deny;
    /// A Secret reference that is not of the documented form.
    SecretReferenceInvalid = "secret-reference-invalid", Deny;
    /// Two settings that exclude each other.
    SettingsConflict = "settings-conflict", Deny;
    /// A schedule that Kubernetes would refuse.
    ScheduleInvalid = "schedule-invalid", Deny;
    /// A schedule that Kubernetes accepts and that never fires.
    ScheduleNeverFires = "schedule-never-fires", Deny;
    /// A schedule that fires more often than the policy allows.
    ScheduleTooOften = "schedule-too-often", Deny;
    /// A schedule that fires more rarely than the policy allows.
    ScheduleTooRare = "schedule-too-rare", Deny;
    /// A schedule that fires outside the windows that the policy allows.
    ScheduleOutsideWindow = "schedule-outside-window", Deny;
    /// A step that is at least as large as its range.
    ScheduleStepBeyondRange = "schedule-step-beyond-range", Warn;
    /// A fire time that is skipped on a daylight-saving changeover.
    ScheduleSkippedByDst = "schedule-skipped-by-dst", Warn;
    /// A fire time that happens twice on a daylight-saving changeover.
    ScheduleRepeatedByDst = "schedule-repeated-by-dst", Warn;
    /// A schedule that leaves more than a month between two runs.
    ScheduleRarelyFires = "schedule-rarely-fires", Warn;
    /// A schedule without a time zone, although the hours that the policy allows have one.
    TimeZoneUnset = "time-zone-unset", Warn;
    /// A time zone that Kubernetes would refuse.
    TimeZoneInvalid = "time-zone-invalid", Deny;
    /// A rule that the engine's expression language does not accept.
    RuleInvalid = "rule-invalid", Deny;
    /// A rule that fails to evaluate at a reachable state.
    RuleCanFail = "rule-can-fail", Deny;
    /// A rule that is true at every state.
    RuleAlwaysTrue = "rule-always-true", Deny;
    /// A rule that is false at every state.
    RuleNeverTrue = "rule-never-true", Deny;
    /// A rule that lets a member reach its quota while space could be freed.
    RuleMissesQuota = "rule-misses-quota", Deny;
    /// A rule that fires with nothing to reclaim.
    RuleFutile = "rule-futile", Warn;
    /// A property of a rule that could not be decided within the budget.
    RuleUndecided = "rule-undecided", Warn;
    /// A constant in a rule that is at odds with this etcd's quota.
    RuleConstantSuspect = "rule-constant-suspect", Warn;
    /// A threshold that is not a ratio, percentage or quantity in range.
    ThresholdInvalid = "threshold-invalid", Deny;
    /// A disalarm threshold that is not strictly between 0 and 1.
    DisalarmInvalid = "disalarm-invalid", Deny;
    /// A time-out under which two members could be down at once.
    CommandTimeoutTooShort = "command-timeout-too-short", Deny;
    /// A time-out that is longer than the policy allows.
    CommandTimeoutTooLong = "command-timeout-too-long", Deny;
    /// A time-out that is shorter than a member with a full database may take.
    CommandTimeoutTight = "command-timeout-tight", Warn;
    /// No container of the pod template runs an etcd that can be read.
    EtcdNotFound = "etcd-not-found", Deny;
    /// The etcd listens where only its own pod reaches it.
    EtcdUnreachable = "etcd-unreachable", Deny;
    /// The etcd has members outside of the StatefulSet.
    MembersElsewhere = "members-elsewhere", Deny;
    /// The members advertise a client URL that no run reaches.
    AdvertisedUnreachable = "advertised-unreachable", Warn;
    /// A pod runs two etcds, of which one is defragmented.
    SecondEtcd = "second-etcd", Warn;
    /// The client endpoints cannot be discovered.
    EndpointsUnknown = "endpoints-unknown", Deny;
    /// The `endpoints` annotation contradicts what is visible.
    EndpointsMismatch = "endpoints-mismatch", Deny;
    /// The `endpoints` annotation names fewer members than there are.
    MembersLeftOut = "members-left-out", Deny;
    /// The quota is not visible in the pod template.
    QuotaUnknown = "quota-unknown", Deny;
    /// A quota that is not a positive number of bytes.
    QuotaInvalid = "quota-invalid", Deny;
    /// The `quota` annotation differs from the quota in the pod template.
    QuotaMismatch = "quota-mismatch", Deny;
    /// A quota above etcd's suggested maximum.
    QuotaAboveSuggested = "quota-above-suggested", Warn;
    /// The etcd requires TLS and the Secrets for it cannot be discovered.
    TlsSecretUnknown = "tls-secret-unknown", Deny;
    /// The etcd requires clients to log in and no Secret with a user name and password is named.
    CredentialsUnknown = "credentials-unknown", Deny;
    /// A Secret chosen by a convention, a name or a client in the pod, and not by the options of etcd itself.
    TlsSecretAssumed = "tls-secret-assumed", Warn;
    /// The data volume is smaller than the quota.
    VolumeTooSmall = "volume-too-small", Deny;
    /// The data volume is smaller than twice the quota.
    VolumeTight = "volume-tight", Warn;
    /// The liveness probe would kill a member while it defragments.
    LivenessTooEager = "liveness-too-eager", Warn;
    /// A headless Service that hides the members while they are out of space.
    MembersHidden = "members-hidden", Warn;
    /// Names of members that a convention gives, under TLS.
    EndpointsAssumed = "endpoints-assumed", Warn;
    /// No headless Service gives the members the names that runs use.
    MembersUnresolved = "members-unresolved", Warn;
    /// Compaction on every run although something compacts already.
    CompactionRedundant = "compaction-redundant", Warn;
    /// Whether anybody compacts etcd is not known for sure, or its auto-compaction never drops anything.
    AutoCompactionDoubtful = "auto-compaction-doubtful", Warn;
    /// An etcd version with a known bug of defragmentation or compaction, or too old for the engine.
    EtcdVersionUnsafe = "etcd-version-unsafe", Deny;
    /// An image tag from which no etcd version can be read.
    EtcdVersionUnknown = "etcd-version-unknown", Warn;
    /// One member: each run is an outage.
    SingleMember = "single-member", Warn;
    /// An even number of members; with two, each run loses the quorum.
    EvenMembers = "even-members", Warn;
    /// More members than an etcd cluster can have.
    TooManyMembers = "too-many-members", Deny;
    /// Something else defragments this etcd too.
    RivalDefragmenter = "rival-defragmenter", Warn;
    /// A CronJob of the expected name has another owner.
    CronJobForeign = "cronjob-foreign", Warn;
    /// Neither the settings, nor the defaults of the policy, nor the built-in ones are acceptable.
    NothingInForce = "nothing-in-force", Deny;
    /// An annotation that the policy locks.
    KeyLocked = "key-locked", Deny;
    /// A wait between two members that is shorter than the policy allows.
    WaitTooShort = "wait-too-short", Deny;
    /// A wait between two members that is longer than the policy allows.
    WaitTooLong = "wait-too-long", Deny;
    /// A run that may take longer than the policy allows.
    DeadlineTooLong = "deadline-too-long", Deny;
    /// A usage threshold outside the range that the policy allows.
    QuotaUsageOutOfRange = "quota-usage-out-of-range", Deny;
    /// A rule or threshold that fires with less to reclaim than the policy allows.
    FreeBelowMinimum = "free-below-minimum", Deny;
    /// An etcd that opts out although the policy enrols all.
    OptOutRefused = "opt-out-refused", Deny;
    /// A Secret or an address of the runs, chosen by a write of the status alone.
    AccessThroughStatus = "access-through-status", Deny;
    /// A StatefulSet with more than is read.
    TooMuchToRead = "too-much-to-read", Deny;
    /// An enrolled etcd in an excluded namespace.
    NamespaceLeftOut = "namespace-left-out", Warn;
    /// The labels of a namespace are not in the input, and a policy selects by them.
    NamespaceLabelsUnknown = "namespace-labels-unknown", Warn;
    /// One of our labels or annotations in a place where it is not read.
    SettingUnread = "setting-unread", Warn;
    /// A StatefulSet that is among the manifests twice.
    StatefulSetTwice = "statefulset-twice", Warn;
    /// An etcd without the label, assessed as if it had it.
    NotEnrolled = "not-enrolled", Warn;
    /// The image of a policy's runs is too old for one of their flags.
    EngineTooOld = "engine-too-old", Deny;
    /// An image tag from which no version of etcd-defrag can be read.
    EngineVersionUnknown = "engine-version-unknown", Warn;
    /// A value of a policy that the definition of `DefragPolicy` refuses.
    DefinitionRefused = "definition-refused", Deny;
}

impl Code {
    /// Whether a finding of this code says that a bound of the policy is broken, by something that could run all the same.
    #[must_use]
    pub const fn is_limit(self) -> bool {
        matches!(
            self,
            Self::ScheduleTooOften
                | Self::ScheduleTooRare
                | Self::ScheduleOutsideWindow
                | Self::RuleMissesQuota
                | Self::RuleFutile
                | Self::RuleUndecided
                | Self::CommandTimeoutTooShort
                | Self::CommandTimeoutTooLong
                | Self::QuotaAboveSuggested
                | Self::VolumeTooSmall
                | Self::VolumeTight
                | Self::LivenessTooEager
                | Self::CompactionRedundant
                | Self::EtcdVersionUnknown
                | Self::SingleMember
                | Self::EvenMembers
                | Self::RivalDefragmenter
                | Self::KeyLocked
                | Self::WaitTooShort
                | Self::WaitTooLong
                | Self::DeadlineTooLong
                | Self::QuotaUsageOutOfRange
                | Self::FreeBelowMinimum
                | Self::OptOutRefused
        )
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Code {
    type Err = ();

    fn from_str(s: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.as_str() == s).ok_or(())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One error or risk, with a message that a person can act on without reading documentation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind of finding.
    pub code: Code,
    /// Whether it refuses.
    pub severity: Severity,
    /// Its place in the object.
    pub field: Field,
    /// What was found, why it matters and what to write instead, in full sentences.
    pub message: String,
    /// The same in at most [`WARNING_LIMIT`] characters with the code in front, for an admission warning.
    #[serde(skip)]
    pub brief: String,
}

impl Finding {
    /// A finding of `code` with the severity of the built-in policy.
    ///
    /// `brief` is the message in a few words; it is shortened to fit after the code (see [`WARNING_LIMIT`]). Control
    /// characters are escaped, so that nothing in an object breaks a line of a log or controls a terminal.
    pub fn new(code: Code, field: impl Into<Field>, brief: impl AsRef<str>, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            field: field.into(),
            message: printable(&message.into()),
            brief: shorten(&format!("{code}: {}", brief.as_ref()), WARNING_LIMIT),
        }
    }

    /// The same finding with the severity that the policy asks for.
    #[must_use]
    pub const fn with_severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// Whether this finding refuses the object.
    #[must_use]
    pub const fn denies(&self) -> bool {
        matches!(self.severity, Severity::Deny)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_parses_back_from_its_name() {
        for code in Code::ALL {
            assert_eq!(code.as_str().parse(), Ok(*code));
        }
        assert_eq!("no-such-code".parse::<Code>(), Err(()));
    }

    #[test]
    fn a_brief_never_exceeds_what_clients_show() {
        let finding = Finding::new(Code::RuleInvalid, "x", "é".repeat(500), "m");
        assert_eq!(finding.brief.chars().count(), WARNING_LIMIT);
        assert!(finding.brief.ends_with('…'));
    }

    #[test]
    fn no_part_of_a_finding_speaks_to_a_terminal() {
        let finding = Finding::new(Code::RuleInvalid, "a[\n]", "b\u{1b}[2J", "c\r\u{1b}[2J");
        assert_eq!((finding.field.to_string().as_str(), finding.message.as_str()), ("a[\\n]", "c\\r\\u{1b}[2J"));
        assert!(!finding.brief.contains(char::is_control));
    }

    #[test]
    fn quoting_escapes_line_breaks_and_cuts() {
        assert_eq!(quoted("a\nb"), "\"a\\nb\"");
        assert_eq!(quoted(&"x".repeat(1000)).chars().count(), 82);
    }
}
