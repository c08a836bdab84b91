//! The keys that a policy may lock.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! lockable {
    ($($variant:ident = $name:literal = $field:literal;)+) => {
        /// An annotation that a policy may lock.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
        #[allow(missing_docs, reason = "the names are the annotations'")]
        pub enum LockableKey { $(#[serde(rename = $name)] $variant,)+ }

        impl LockableKey {
            /// Every lockable key: itself, the annotation's name and the field of [`Defaults`](super::Defaults).
            pub(crate) const ALL: &'static [(Self, &'static str, &'static str)] =
                &[$((Self::$variant, $name, $field),)+];
        }
    };
}

lockable! {
    Schedule = "schedule" = "schedule";
    TimeZone = "time-zone" = "timeZone";
    Rule = "rule" = "rule";
    QuotaUsageAbove = "quota-usage-above" = "quotaUsageAbove";
    FreeAbove = "free-above" = "freeAbove";
    Suspend = "suspend" = "suspend";
    MoveLeader = "move-leader" = "moveLeader";
    AutoDisalarm = "auto-disalarm" = "autoDisalarm";
    DisalarmBelow = "disalarm-below" = "disalarmBelow";
    Compaction = "compaction" = "compaction";
    WaitBetweenMembers = "wait-between-members" = "waitBetweenMembers";
    CommandTimeout = "command-timeout" = "commandTimeout";
    ClientPort = "client-port" = "clientPort";
    ClusterDomain = "cluster-domain" = "clusterDomain";
    CaSecret = "ca-secret" = "caSecret";
    ClientSecret = "client-secret" = "clientSecret";
    UsernameSecret = "username-secret" = "usernameSecret";
}
