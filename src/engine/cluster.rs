//! All endpoints at once: who is there, and whether the cluster is healthy.

use futures::future::{join, join_all};

use super::{
    client::Client,
    connect,
    error::{Error, Kind},
    options::Options,
};
use crate::defrag::runner::{Alarm, Listed, Mismatch, Reached, Seat, Status, Unhealthy, healthy, roster};

/// The endpoints of a run.
pub(super) struct Cluster {
    pub(super) clients: Vec<Client>,
}

/// A cluster that is healthy. The members have the order of the endpoints.
pub(super) struct Look {
    pub(super) seats: Vec<Seat>,
    pub(super) statuses: Vec<Status>,
    pub(super) alarms: Vec<Alarm>,
    /// How many members the cluster has, learners included.
    pub(super) total: usize,
}

impl Look {
    /// The indices of those that vote.
    pub(super) fn voters(&self) -> Vec<usize> {
        self.seats.iter().filter(|seat| !seat.learner).map(|seat| seat.endpoint).collect()
    }
}

/// Why no member can be begun now.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) text: String,
    /// Whether it may be over in a moment without anybody doing something.
    pub(super) passes: bool,
    /// What is wrong with each endpoint that is not reached.
    pub(super) endpoints: Vec<(String, String)>,
}

impl From<Mismatch> for Wrong {
    fn from(mismatch: Mismatch) -> Self {
        Self { text: mismatch.to_string(), passes: mismatch.passes(), endpoints: Vec::new() }
    }
}

impl From<Unhealthy> for Wrong {
    fn from(unhealthy: Unhealthy) -> Self {
        Self { text: unhealthy.to_string(), passes: unhealthy.passes(), endpoints: Vec::new() }
    }
}

impl From<Error> for Wrong {
    fn from(error: Error) -> Self {
        Self { passes: error.kind != Kind::Access, text: error.text, endpoints: Vec::new() }
    }
}

/// What an endpoint answers: its status, and where it votes the member list and whether it reads.
type Answers = (Status, Option<(Vec<Listed>, Result<(), Error>)>);

impl Cluster {
    /// The endpoints that are given, or with `--cluster` those of the member list. Nothing is connected where they are given.
    pub(super) async fn open(options: &Options) -> Result<Self, Wrong> {
        let tls = connect::tls(options)?;
        let client = |endpoint: &String| Client::new(endpoint, options, tls.as_ref());
        let given: Vec<Client> = options.endpoints.iter().map(client).collect::<Result<_, _>>()?;
        if !options.cluster {
            return Ok(Self { clients: given });
        }
        let mut unreached = Vec::new();
        for client in &given {
            match client.members().await {
                Err(error) => unreached.push((client.endpoint.clone(), error)),
                Ok(list) => {
                    // An address that only shows here may need TLS where those that are given do not.
                    let endpoints = advertised(&list, options.exclude_localhost)?;
                    let with = Options { endpoints, ..options.clone() };
                    let tls = connect::tls(&with)?;
                    let client = |endpoint: &String| Client::new(endpoint, &with, tls.as_ref());
                    let clients = with.endpoints.iter().map(client).collect::<Result<_, _>>()?;
                    return Ok(Self { clients });
                }
            }
        }
        Err(not_reached(unreached))
    }

    /// Looks at every member: whether the endpoints are the members of the cluster, and whether it is healthy.
    pub(super) async fn look(&self) -> Result<Look, Wrong> {
        let answers = join_all(self.clients.iter().map(answers)).await;
        let mut there = Vec::with_capacity(answers.len());
        let mut unreached = Vec::new();
        for (client, answer) in self.clients.iter().zip(answers) {
            match answer {
                Ok(answer) => there.push((client, answer)),
                Err(error) => unreached.push((client.endpoint.clone(), error)),
            }
        }
        if !unreached.is_empty() {
            return Err(not_reached(unreached));
        }
        let list = there.iter().find_map(|(_, (_, voter))| voter.as_ref().map(|(list, _)| list.clone()));
        let list = list.unwrap_or_default();
        let reached: Vec<Reached> = there
            .iter()
            .map(|(client, (status, voter))| Reached {
                endpoint: client.endpoint.clone(),
                status: *status,
                // A learner is asked for none.
                list: voter.as_ref().map_or_else(|| list.clone(), |(list, _)| list.clone()),
            })
            .collect();
        let seats = roster(&reached)?;
        let mut voters = Vec::new();
        for (seat, (_, (status, voter))) in seats.iter().zip(&there) {
            let Some((_, read)) = voter else { continue };
            let read = match read {
                Err(error) if error.kind == Kind::Access => {
                    return Err(Wrong::from(Error { text: format!("{}: {}", seat.name, error.text), ..error.clone() }));
                }
                Err(error) => Err(error.text.clone()),
                Ok(()) => Ok(()),
            };
            voters.push((seat.name.as_str(), *status, read));
        }
        let alarms = self.alarms(&seats).await?;
        healthy(&voters, &alarms)?;
        let statuses = there.iter().map(|(_, (status, _))| *status).collect();
        Ok(Look { statuses, alarms, total: list.len(), seats })
    }

    /// The alarms, as any voter knows them.
    pub(super) async fn alarms(&self, seats: &[Seat]) -> Result<Vec<Alarm>, Wrong> {
        let mut last = Wrong { text: "no member votes".to_owned(), passes: true, endpoints: Vec::new() };
        for (seat, client) in seats.iter().zip(&self.clients).filter(|(seat, _)| !seat.learner) {
            match client.alarms().await {
                Ok(alarms) => return Ok(alarms),
                Err(error) => {
                    let text = format!("{} does not report its alarms: {}", seat.name, error.text);
                    last = Wrong::from(Error { text, ..error });
                }
            }
        }
        Err(last)
    }
}

async fn answers(client: &Client) -> Result<Answers, Error> {
    let status = client.status().await?;
    if status.learner {
        return Ok((status, None));
    }
    let (list, read) = join(client.members(), client.read()).await;
    Ok((status, Some((list?, read))))
}

/// For each voter the first of its client URLs, so that none is named twice, whatever it advertises.
fn advertised(list: &[Listed], exclude_localhost: bool) -> Result<Vec<String>, Wrong> {
    let mut endpoints = Vec::new();
    for member in list.iter().filter(|member| !member.learner) {
        let url = member.urls.iter().find(|url| !exclude_localhost || !is_local(url));
        let Some(url) = url else {
            let text = format!("the member {} advertises no client URL: name it in --endpoints", member.title());
            return Err(Wrong { text, passes: true, endpoints: Vec::new() });
        };
        endpoints.push(url.clone());
    }
    // The order of etcd-defrag, which the turns of equals follow.
    endpoints.sort();
    Ok(endpoints)
}

fn is_local(url: &str) -> bool {
    let Ok(uri) = url.parse::<tonic::transport::Uri>() else { return url.starts_with("unix") };
    let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    loopback || host.eq_ignore_ascii_case("localhost")
}

/// One sentence of the first endpoint that is not reached; what does not pass by itself comes first.
fn not_reached(mut unreached: Vec<(String, Error)>) -> Wrong {
    unreached.sort_by_key(|(_, error)| error.kind != Kind::Access);
    let more = match unreached.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    let text = |endpoint: &str, error: &Error| match error.kind {
        Kind::Access => format!("{endpoint}: {}", error.text),
        Kind::Unreachable => format!("{endpoint} cannot be reached: {}", error.text),
        Kind::Refused => format!("{endpoint} refuses to answer: {}", error.text),
    };
    let first = unreached.first().map(|(endpoint, error)| text(endpoint, error)).unwrap_or_default();
    Wrong {
        text: format!("{first}{more}"),
        passes: unreached.iter().all(|(_, error)| error.kind != Kind::Access),
        endpoints: unreached.into_iter().map(|(endpoint, error)| (endpoint, error.text)).collect(),
    }
}
