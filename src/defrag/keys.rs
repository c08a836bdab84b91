//! The names of our labels and annotations.

/// The prefix of all our labels and annotations.
pub const PREFIX: &str = "etcd-defrag.io/";

/// The label that enrols a StatefulSet, prefix included.
pub const ENABLED: &str = "etcd-defrag.io/enabled";

/// The part after our prefix, in any letter case. Kubernetes accepts an annotation whose prefix has capital letters, as
/// another annotation.
#[must_use]
pub fn name_of(key: &str) -> Option<&str> {
    let (prefix, name) = key.split_at_checked(PREFIX.len())?;
    prefix.eq_ignore_ascii_case(PREFIX).then_some(name)
}

/// Whether a name behind our prefix is meant as that of the label, perhaps in other letters or with a letter wrong.
#[must_use]
pub fn is_near_enabled(name: &str) -> bool {
    const NAME: &str = "enabled";
    const FARTHEST: usize = 2;
    name.len() <= NAME.len() + FARTHEST && strsim::damerau_levenshtein(&name.to_lowercase(), NAME) <= FARTHEST
}

/// Our key, prefix included, that a key under another prefix or under none was most likely meant as: the empty text for
/// our prefix without a name. Its name has to be that of a key, since others may have prefixes like ours.
#[must_use]
pub fn meant(key: &str) -> Option<&'static str> {
    /// No key that is meant as one of ours is longer, in characters.
    const LONGEST: usize = 80;
    if key.len() > LONGEST || name_of(key).is_some() {
        return None;
    }
    if let Some((prefix, name)) = key.rsplit_once('/') {
        return full(name).filter(|_| is_near_prefix(prefix));
    }
    if !says_ours(key) {
        return Key::from_name(key)
            .filter(|key| *key == Key::Schedule || key.name().contains('-'))
            .map(Key::annotation);
    }
    if key.eq_ignore_ascii_case(PREFIX.trim_end_matches('/')) {
        return Some("");
    }
    let names = || Key::ALL.iter().map(|key| key.annotation()).chain([ENABLED]);
    let ends = |full: &str| {
        let before = name_of(full).and_then(|name| key.strip_suffix(name));
        before.is_some_and(|before| before.ends_with(['.', '-', '_', ':']))
    };
    names().filter(|full| ends(full)).max_by_key(|full| full.len())
}

/// The key of this name, prefix included.
fn full(name: &str) -> Option<&'static str> {
    if Some(name) == name_of(ENABLED) { Some(ENABLED) } else { Key::from_name(name).map(Key::annotation) }
}

/// Whether a text speaks of what our prefix speaks of.
fn says_ours(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.contains("etcd") && lower.contains("defrag")
}

/// Whether a prefix is like ours, or ours with letters wrong.
fn is_near_prefix(prefix: &str) -> bool {
    const FARTHEST: usize = 2;
    let ours = PREFIX.trim_end_matches('/');
    says_ours(prefix)
        || prefix.len().abs_diff(ours.len()) <= FARTHEST
            && strsim::damerau_levenshtein(&prefix.to_ascii_lowercase(), ours) <= FARTHEST
}

macro_rules! keys {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)+) => {
        /// An annotation that tunes the defragmentation of one etcd.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $($(#[$doc])* $variant,)+ }

        impl Key {
            /// Every key there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The annotation, prefix included.
            #[must_use]
            pub const fn annotation(self) -> &'static str {
                match self { $(Self::$variant => concat!("etcd-defrag.io/", $name),)+ }
            }
        }
    };
}

keys! {
    /// A Kubernetes CronJob schedule.
    Schedule = "schedule";
    /// An IANA time zone.
    TimeZone = "time-zone";
    /// An etcd-defrag rule.
    Rule = "rule";
    /// A share of the quota above which to defragment.
    QuotaUsageAbove = "quota-usage-above";
    /// An amount of reclaimable space above which to defragment.
    FreeAbove = "free-above";
    /// A share of the database file that is reclaimable, above which to defragment.
    FreeShareAbove = "free-share-above";
    /// Pauses the CronJob.
    Suspend = "suspend";
    /// Whether the leader is moved before its member is defragmented.
    MoveLeader = "move-leader";
    /// Whether a NOSPACE alarm is lifted after a run.
    AutoDisalarm = "auto-disalarm";
    /// The share of the quota below which the alarm is lifted.
    DisalarmBelow = "disalarm-below";
    /// Whether each run compacts first.
    Compaction = "compaction";
    /// The pause between two members.
    WaitBetweenMembers = "wait-between-members";
    /// How long one member's defragmentation may take.
    CommandTimeout = "command-timeout";
    /// The headless Service of the members.
    Service = "service";
    /// The client port.
    ClientPort = "client-port";
    /// The DNS domain of the cluster.
    ClusterDomain = "cluster-domain";
    /// Client URLs of an etcd that cannot be discovered.
    Endpoints = "endpoints";
    /// The quota of an etcd whose quota cannot be seen.
    Quota = "quota";
    /// The Secret with the CA certificate.
    CaSecret = "ca-secret";
    /// The Secret with the client certificate and key.
    ClientSecret = "client-secret";
    /// The Secret with the user name and password of etcd RBAC.
    UsernameSecret = "username-secret";
    /// A token whose change asks for one run now.
    DefragNow = "defrag-now";
    /// The keys that the policy filled in; written by the webhook.
    Defaulted = "defaulted";
}

impl Key {
    /// The keys that say when to defragment; a value for one of them replaces the defaults of all.
    pub const TRIGGERS: &'static [Self] = &[Self::Rule, Self::QuotaUsageAbove, Self::FreeAbove, Self::FreeShareAbove];

    /// The keys among them that a rule is made of.
    pub const THRESHOLDS: &'static [Self] = &[Self::QuotaUsageAbove, Self::FreeAbove, Self::FreeShareAbove];

    /// The keys that say how and when to defragment. The others state facts, or ask for something once.
    pub const SETTINGS: &'static [Self] = &[
        Self::Schedule,
        Self::TimeZone,
        Self::Rule,
        Self::QuotaUsageAbove,
        Self::FreeAbove,
        Self::FreeShareAbove,
        Self::MoveLeader,
        Self::AutoDisalarm,
        Self::DisalarmBelow,
        Self::Compaction,
        Self::WaitBetweenMembers,
        Self::CommandTimeout,
    ];

    /// The keys that choose which Secrets the pod of a run gets and which addresses it speaks to.
    pub const ACCESS: &'static [Self] = &[
        Self::CaSecret,
        Self::ClientSecret,
        Self::UsernameSecret,
        Self::Endpoints,
        Self::Service,
        Self::ClientPort,
        Self::ClusterDomain,
    ];

    /// The keys that the webhook fills in where a policy has a value for them.
    pub const DEFAULTABLE: &'static [Self] =
        &[Self::Schedule, Self::TimeZone, Self::Rule, Self::QuotaUsageAbove, Self::FreeAbove, Self::FreeShareAbove];

    /// Whether the webhook fills this key in.
    #[must_use]
    pub fn is_defaultable(self) -> bool {
        Self::DEFAULTABLE.contains(&self)
    }

    /// The name without the prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.annotation().strip_prefix(PREFIX).unwrap_or_default()
    }

    /// The name of the field for this key in the defaults of a policy: `time-zone` is `timeZone`.
    #[must_use]
    pub fn defaults_field(self) -> String {
        let mut upper = false;
        let mut name = String::new();
        for c in self.name().chars() {
            match c {
                '-' => upper = true,
                _ if std::mem::take(&mut upper) => name.push(c.to_ascii_uppercase()),
                _ => name.push(c),
            }
        }
        name
    }

    /// The key of this name without the prefix.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name() == name)
    }

    /// The known key that is nearest to what a person wrote (without the prefix), if any is near.
    #[must_use]
    pub fn nearest(name: &str) -> Option<Self> {
        // A distance is at least the difference of the lengths, so nothing this long is near to a name.
        if name.len() > 64 {
            return None;
        }
        let wanted = name.to_lowercase().replace('_', "-");
        Self::ALL
            .iter()
            .map(|key| (strsim::damerau_levenshtein(&wanted, key.name()), *key))
            .filter(|(distance, key)| *distance <= key.name().len().div_ceil(3).max(2))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, key)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_key() {
        assert_eq!(Key::nearest("shedule"), Some(Key::Schedule));
        assert_eq!(Key::nearest("timezone"), Some(Key::TimeZone));
        assert_eq!(Key::nearest("Time_Zone"), Some(Key::TimeZone));
        assert_eq!(Key::nearest("completely-else-where"), None);
    }

    #[test]
    fn what_is_meant_as_the_label() {
        for name in ["enabled", "Enabled", "ENABLED", "enable", "enabeld", "enbled"] {
            assert!(is_near_enabled(name), "{name}");
        }
        for name in ["schedule", "disabled-below", "", "enable-it-now", "éééééééé"] {
            assert!(!is_near_enabled(name), "{name}");
        }
    }

    #[test]
    fn the_prefix_is_found_in_any_letters() {
        assert_eq!(name_of("etcd-defrag.io/rule"), Some("rule"));
        assert_eq!(name_of("Etcd-Defrag.IO/Rule"), Some("Rule"));
        for other in ["etcd-defrag.io", "etcd-defrag.com/rule", "éééééééé", "x/etcd-defrag.io/rule", ""] {
            assert_eq!(name_of(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_meant_as_a_key_of_ours() {
        for (key, meant_as) in [
            ("etcd-defrag/schedule", "etcd-defrag.io/schedule"),
            ("etcd-defrag.io.schedule", "etcd-defrag.io/schedule"),
            ("etcd-defrag.com/time-zone", "etcd-defrag.io/time-zone"),
            ("etcd-defragio/enabled", "etcd-defrag.io/enabled"),
            ("defrag.etcd.io/schedule", "etcd-defrag.io/schedule"),
            ("etcddefrag.io/quota", "etcd-defrag.io/quota"),
            ("www.etcd-defrag.io/rule", "etcd-defrag.io/rule"),
            ("etcd-defrag-webhook.io/rule", "etcd-defrag.io/rule"),
            ("etcd-defrag-quota-usage-above", "etcd-defrag.io/quota-usage-above"),
            ("etcd_defrag_enabled", "etcd-defrag.io/enabled"),
            ("ectd-defrag.io/rule", "etcd-defrag.io/rule"),
            ("etcd-derfag.io/rule", "etcd-defrag.io/rule"),
            ("https://etcd-defrag.io/rule", "etcd-defrag.io/rule"),
            ("etcd-defrag.io", ""),
            ("schedule", "etcd-defrag.io/schedule"),
            ("time-zone", "etcd-defrag.io/time-zone"),
        ] {
            assert_eq!(meant(key), Some(meant_as), "{key}");
        }
        for other in [
            "etcd-defrag.io/schedule",
            "Etcd-Defrag.io/rule",
            "etcd-defrag.io/no-such-key",
            "etcd-defrag.acme.com/owner",
            "etcd-backup.io/schedule",
            "backup.acme.com/schedule",
            "velero.io/schedule",
            "app.kubernetes.io/name",
            "etcd-defrag-job",
            "kubectl.kubernetes.io/last-applied-configuration",
            "rule",
            "service",
            "quota",
            "enabled",
            "",
            "/",
            "é/schedule",
        ] {
            assert_eq!(meant(other), None, "{other}");
        }
        assert_eq!(meant(&format!("{}/schedule", "etcd-defrag.".repeat(20))), None);
    }

    #[test]
    fn names_and_annotations_agree() {
        for key in Key::ALL {
            assert_eq!(Key::from_name(key.name()), Some(*key));
        }
    }
}
