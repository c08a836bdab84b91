//! One endpoint: one connection, one login, eight requests.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper::http::uri::PathAndQuery;
use rustls::ClientConfig;
use tokio::time::timeout;
use tonic::{
    Code, Request,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};
use tonic_prost::ProstCodec;

use super::{
    connect,
    error::{Error, Kind},
    messages::{
        AlarmRequest, AuthenticateRequest, CORRUPT, Call, CompactionRequest, DEACTIVATE, DefragmentRequest, GET,
        MemberListRequest, MoveLeaderRequest, NOSPACE, RangeRequest, StatusRequest,
    },
    options::{Login, Options},
};
use crate::defrag::runner::{Alarm, AlarmKind, Listed, Status};

/// The most that a question may take that a healthy member answers at once.
const QUESTION: Duration = Duration::from_secs(5);

/// The largest answer that is read, in bytes: member lists and alarms, since keys are only counted.
const LARGEST: usize = 1 << 20;

/// One endpoint.
pub(super) struct Client {
    pub(super) endpoint: String,
    channel: Channel,
    login: Option<Login>,
    token: Mutex<Token>,
    dial_timeout: Duration,
    command_timeout: Duration,
}

#[derive(Clone)]
enum Token {
    /// Nobody has logged in so far, or what was given is not accepted any more.
    None,
    /// The cluster has no access control.
    NotNeeded,
    Some(MetadataValue<Ascii>),
}

impl Client {
    pub(super) fn new(endpoint: &str, options: &Options, tls: Option<&Arc<ClientConfig>>) -> Result<Self, Error> {
        Ok(Self {
            endpoint: endpoint.to_owned(),
            channel: connect::channel(endpoint, options, tls)?,
            login: options.login.clone(),
            token: Mutex::new(Token::None),
            dial_timeout: options.dial_timeout,
            command_timeout: options.command_timeout,
        })
    }

    /// What the member says of itself.
    pub(super) async fn status(&self) -> Result<Status, Error> {
        let answer = self.ask(StatusRequest {}).await?;
        let header = answer.header.unwrap_or_default();
        let bytes = |value: i64| u64::try_from(value).unwrap_or(0);
        // Members before 3.4 do not say how far they have applied.
        let applied = if answer.raft_applied_index == 0 { answer.raft_index } else { answer.raft_applied_index };
        Ok(Status {
            cluster: header.cluster_id,
            member: header.member_id,
            leader: answer.leader,
            applied,
            revision: header.revision,
            db_size: bytes(answer.db_size),
            db_size_in_use: bytes(answer.db_size_in_use),
            quota: bytes(answer.db_size_quota),
            learner: answer.is_learner,
        })
    }

    /// The members of the cluster, as its majority knows them.
    pub(super) async fn members(&self) -> Result<Vec<Listed>, Error> {
        let answer = self.ask(MemberListRequest { linearizable: true }).await?;
        let listed = |member: super::messages::Member| Listed {
            id: member.id,
            name: member.name,
            urls: member.client_urls,
            learner: member.is_learner,
        };
        Ok(answer.members.into_iter().map(listed).collect())
    }

    /// Reads through the member, and through the majority. That the user may not read a key is an answer of a healthy member.
    pub(super) async fn read(&self) -> Result<(), Error> {
        match self.ask(RangeRequest { key: b"health".to_vec(), count_only: true }).await {
            Err(error) if error.code == Some(Code::PermissionDenied) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The alarms that are raised.
    pub(super) async fn alarms(&self) -> Result<Vec<Alarm>, Error> {
        let answer = self.ask(AlarmRequest { action: GET, member_id: 0, alarm: 0 }).await?;
        let kind = |number| match number {
            NOSPACE => AlarmKind::NoSpace,
            CORRUPT => AlarmKind::Corrupt,
            other => AlarmKind::Other(other),
        };
        Ok(answer.alarms.into_iter().map(|alarm| Alarm { member: alarm.member_id, kind: kind(alarm.alarm) }).collect())
    }

    /// Clears NOSPACE of a member.
    pub(super) async fn disarm(&self, member: u64) -> Result<(), Error> {
        let request = AlarmRequest { action: DEACTIVATE, member_id: member, alarm: NOSPACE };
        self.command(request).await.map(|_| ())
    }

    /// Compacts the history of all members up to a revision.
    pub(super) async fn compact(&self, revision: i64) -> Result<(), Error> {
        self.command(CompactionRequest { revision, physical: true }).await.map(|_| ())
    }

    /// Makes another member the leader; asked of the one that leads.
    pub(super) async fn move_leader(&self, to: u64) -> Result<(), Error> {
        self.command(MoveLeaderRequest { target_id: to }).await.map(|_| ())
    }

    /// Defragments the member. It goes on there where no answer comes in time.
    pub(super) async fn defragment(&self) -> Result<(), Error> {
        self.command(DefragmentRequest {}).await.map(|_| ())
    }

    /// A question that a healthy member answers at once.
    async fn ask<C: Call>(&self, call: C) -> Result<C::Answer, Error> {
        let limit = self.command_timeout.min(QUESTION.max(self.dial_timeout));
        self.send(call, limit).await
    }

    /// What may take as long as it takes.
    async fn command<C: Call>(&self, call: C) -> Result<C::Answer, Error> {
        self.send(call, self.command_timeout).await
    }

    /// Sends a request, logged in. A login that is not accepted any more is made anew, once; etcd looks at it before anything
    /// else, so that no request is carried out twice.
    async fn send<C: Call>(&self, call: C, limit: Duration) -> Result<C::Answer, Error> {
        let token = self.token().await?;
        let stale = match self.once(call.clone(), limit, token).await {
            Err(error) if self.login.is_some() && is_stale(&error) => error,
            other => return other,
        };
        self.set(Token::None);
        match self.token().await {
            Ok(token) => self.once(call, limit, token).await,
            Err(_) => Err(stale),
        }
    }

    async fn once<C: Call>(&self, call: C, limit: Duration, token: Token) -> Result<C::Answer, Error> {
        let mut request = Request::new(call);
        if let Token::Some(token) = token {
            request.metadata_mut().insert("token", token);
        }
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(LARGEST);
        let answer = async {
            grpc.ready().await.map_err(|error| tonic::Status::from_error(Box::new(error)))?;
            grpc.unary(request, PathAndQuery::from_static(C::PATH), ProstCodec::default()).await
        };
        match timeout(limit, answer).await {
            Ok(answer) => answer.map(tonic::Response::into_inner).map_err(|status| Error::of(&status)),
            Err(_) => Err(Error::timed_out(limit)),
        }
    }

    async fn token(&self) -> Result<Token, Error> {
        let Some(login) = &self.login else { return Ok(Token::NotNeeded) };
        let held = self.token.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !matches!(held, Token::None) {
            return Ok(held);
        }
        let call = AuthenticateRequest { name: login.user.clone(), password: login.password.clone() };
        let limit = self.dial_timeout.max(QUESTION);
        let token = match self.once(call, limit, Token::None).await {
            Ok(answer) => {
                let token = answer.token.parse();
                Token::Some(token.map_err(|_| Error::new(Kind::Refused, "its login token cannot be sent"))?)
            }
            // No access control, as long as nobody turns it on.
            Err(error) if error.code == Some(Code::FailedPrecondition) => Token::NotNeeded,
            Err(error) => return Err(error),
        };
        self.set(token.clone());
        Ok(token)
    }

    fn set(&self, token: Token) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

/// Whether etcd asks for another login: the token expired, or users and roles were changed since.
fn is_stale(error: &Error) -> bool {
    error.code == Some(Code::Unauthenticated) || error.text.contains("auth store is old")
}
