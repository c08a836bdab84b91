//! Whether the endpoints are exactly the members of one cluster, each voter once.

use super::observed::{Listed, Reached, hex};

/// A member, and the endpoint that reaches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The endpoint, by its index among those that were given.
    pub endpoint: usize,
    /// The member's id.
    pub id: u64,
    /// The member's name.
    pub name: String,
    /// Whether it does not vote, so that it is ignored.
    pub learner: bool,
}

/// Why the endpoints are not the members of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    /// Nothing was given.
    #[error("no endpoint is given: write --endpoints with one URL for each member")]
    Nothing,
    /// Two clusters.
    #[error(
        "{first} and {second} are members of different clusters: write the endpoints of one cluster in --endpoints"
    )]
    Clusters {
        /// An endpoint.
        first: String,
        /// One of another cluster.
        second: String,
    },
    /// The members do not agree on who is a member. A change of the membership may be under way.
    #[error("{first} and {second} have different member lists: the membership is changing, or the cluster is split")]
    Lists {
        /// An endpoint.
        first: String,
        /// One with another list.
        second: String,
    },
    /// A member that is in no list.
    #[error("{endpoint} reaches the member {member}, which is not in the member list of its cluster: it was removed")]
    Outside {
        /// The endpoint.
        endpoint: String,
        /// The id of the member.
        member: String,
    },
    /// Two endpoints of one member: it would be defragmented twice, and the order would be wrong.
    #[error(
        "{first} and {second} both reach the member {member}: write one URL for each member in --endpoints, such as the \
         name of its pod and not that of a Service in front of all"
    )]
    Twice {
        /// An endpoint.
        first: String,
        /// Another one.
        second: String,
        /// The name of the member.
        member: String,
    },
    /// A name that leads to another member than the one that advertises it.
    #[error(
        "{endpoint} is advertised by the member {advertiser} and reaches {member}: correct the DNS record, or the member's \
         --advertise-client-urls"
    )]
    Another {
        /// The endpoint.
        endpoint: String,
        /// The name of the member that advertises it.
        advertiser: String,
        /// The name of the member that it reaches.
        member: String,
    },
    /// A voter that no endpoint reaches: it would not be checked, and not be defragmented.
    #[error("the cluster has the voting member {member}{at}, which no endpoint reaches: add it to --endpoints")]
    Unnamed {
        /// Its name.
        member: String,
        /// Where it can be reached by its own account, with a word before it.
        at: String,
    },
}

impl Mismatch {
    /// Whether it may be over in a moment without anybody doing something.
    #[must_use]
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Lists { .. })
    }
}

/// The members that the endpoints reach, in the order of the endpoints.
pub fn roster(reached: &[Reached]) -> Result<Vec<Seat>, Mismatch> {
    let Some(first) = reached.first() else { return Err(Mismatch::Nothing) };
    let known = ids(&first.list);
    for other in reached {
        let both = || (first.endpoint.clone(), other.endpoint.clone());
        if other.status.cluster != first.status.cluster {
            let (first, second) = both();
            return Err(Mismatch::Clusters { first, second });
        }
        if ids(&other.list) != known {
            let (first, second) = both();
            return Err(Mismatch::Lists { first, second });
        }
    }
    let mut seats: Vec<Seat> = Vec::new();
    for (at, one) in reached.iter().enumerate() {
        let id = one.status.member;
        let Some(listed) = first.list.iter().find(|listed| listed.id == id) else {
            return Err(Mismatch::Outside { endpoint: one.endpoint.clone(), member: hex(id) });
        };
        if let Some(other) = seats.iter().find(|seat| seat.id == id) {
            let first = reached.get(other.endpoint).map(|reached| reached.endpoint.clone()).unwrap_or_default();
            return Err(Mismatch::Twice { first, second: one.endpoint.clone(), member: listed.title() });
        }
        let advertiser = first.list.iter().find(|listed| listed.urls.iter().any(|url| same(url, &one.endpoint)));
        if let Some(advertiser) = advertiser.filter(|advertiser| advertiser.id != id && !advertises(listed, one)) {
            return Err(Mismatch::Another {
                endpoint: one.endpoint.clone(),
                advertiser: advertiser.title(),
                member: listed.title(),
            });
        }
        seats.push(Seat { endpoint: at, id, name: listed.title(), learner: listed.learner });
    }
    match first.list.iter().find(|listed| !listed.learner && !seats.iter().any(|seat| seat.id == listed.id)) {
        None => Ok(seats),
        Some(unnamed) => {
            let at = unnamed.urls.first().map(|url| format!(" at {url}")).unwrap_or_default();
            Err(Mismatch::Unnamed { member: unnamed.title(), at })
        }
    }
}

/// Members may advertise a URL that they share, such as that of a Service.
fn advertises(listed: &Listed, reached: &Reached) -> bool {
    listed.urls.iter().any(|url| same(url, &reached.endpoint))
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn ids(list: &[Listed]) -> Vec<(u64, bool)> {
    let mut ids: Vec<(u64, bool)> = list.iter().map(|listed| (listed.id, listed.learner)).collect();
    ids.sort_unstable();
    ids
}
