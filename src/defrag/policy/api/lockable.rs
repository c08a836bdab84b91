//! The keys that a policy may lock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! lockable {
    ($($variant:ident = $name:literal = $field:expr;)+) => {
        /// An annotation that a policy may lock.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
        #[allow(missing_docs, reason = "the names are the annotations'")]
        pub enum LockableKey { $(#[serde(rename = $name)] $variant,)+ }

        impl LockableKey {
            /// Every lockable key: itself, the annotation's name and the field of [`Defaults`](super::Defaults) with the value
            /// that it is locked to. Without a field it is locked to what is discovered.
            pub(crate) const ALL: &'static [(Self, &'static str, Option<&'static str>)] =
                &[$((Self::$variant, $name, $field),)+];
        }
    };
}

lockable! {
    Schedule = "schedule" = Some("schedule");
    TimeZone = "time-zone" = Some("timeZone");
    Rule = "rule" = Some("rule");
    QuotaUsageAbove = "quota-usage-above" = Some("quotaUsageAbove");
    FreeAbove = "free-above" = Some("freeAbove");
    FreeShareAbove = "free-share-above" = Some("freeShareAbove");
    Suspend = "suspend" = Some("suspend");
    MoveLeader = "move-leader" = Some("moveLeader");
    AutoDisalarm = "auto-disalarm" = Some("autoDisalarm");
    DisalarmBelow = "disalarm-below" = Some("disalarmBelow");
    Compaction = "compaction" = Some("compaction");
    WaitBetweenMembers = "wait-between-members" = Some("waitBetweenMembers");
    CommandTimeout = "command-timeout" = Some("commandTimeout");
    ClientPort = "client-port" = Some("clientPort");
    ClusterDomain = "cluster-domain" = Some("clusterDomain");
    CaSecret = "ca-secret" = Some("caSecret");
    ClientSecret = "client-secret" = Some("clientSecret");
    UsernameSecret = "username-secret" = Some("usernameSecret");
    Endpoints = "endpoints" = None;
    Service = "service" = None;
}
