//! Why a request to a member failed, in messages that say what to check.

use std::{error::Error as StdError, io, time::Duration};

use tonic::{Code, Status};

use crate::{defrag::text::shorten, runtime::api_error};

/// What kind of failure it is: whether it may be over in a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Certificates, login or permissions: it does not pass by itself.
    Access,
    /// Nobody answers, or not in time.
    Unreachable,
    /// It answered, and refused.
    Refused,
}

/// A request that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Error {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) code: Option<Code>,
}

impl Error {
    pub(super) fn new(kind: Kind, text: impl AsRef<str>) -> Self {
        Self { kind, text: shorten(text.as_ref(), 300), code: None }
    }

    pub(super) fn timed_out(limit: Duration) -> Self {
        Self::new(Kind::Unreachable, format!("no answer within {}", crate::defrag::duration::format_go(limit)))
    }

    /// What etcd answered, or why there is no answer.
    pub(super) fn of(status: &Status) -> Self {
        let code = Some(status.code());
        if let Some(cause) = cause(status) {
            return Self { code, ..cause };
        }
        let kind = match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Kind::Access,
            // Of etcd's errors these are about who asks.
            Code::InvalidArgument if ABOUT_ACCESS.iter().any(|part| status.message().contains(part)) => Kind::Access,
            Code::Unavailable | Code::Unknown | Code::Cancelled | Code::DeadlineExceeded | Code::Internal => {
                Kind::Unreachable
            }
            _ => Kind::Refused,
        };
        let hint = match kind {
            Kind::Access if status.code() == Code::PermissionDenied => {
                ": the user does not have the role root, which defragmenting needs"
            }
            Kind::Access => ": check the user name and the password",
            _ => "",
        };
        Self { code, ..Self::new(kind, format!("{}{hint}", status.message())) }
    }
}

/// Parts of etcd's errors of the code `InvalidArgument` that say that the login is wrong.
const ABOUT_ACCESS: [&str; 3] = ["authentication failed", "user name is empty", "auth store is old"];

/// The cause of a failure below HTTP, where it is one.
fn cause(status: &Status) -> Option<Error> {
    let mut deepest: Option<&(dyn StdError + 'static)> = None;
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(tls) = of_tls(error) {
            return Some(Error::new(Kind::Access, tls));
        }
        deepest = Some(error);
        next = error.source();
    }
    let text = deepest?.to_string();
    // What a server says after the handshake comes as the text of an HTTP/2 error.
    if let Some((_, alert)) = text.split_once(ALERT) {
        return Some(Error::new(Kind::Access, refused_by_alert(alert)));
    }
    Some(Error::new(Kind::Unreachable, api_error::of_connection(&text)))
}

/// How rustls begins what it says of an alert.
const ALERT: &str = "received fatal alert: ";

fn refused_by_alert(alert: &str) -> String {
    let alert = alert.trim().trim_start_matches("the peer's ");
    format!("it refuses our client certificate ({alert}): check --cert and --key, and the authority that signed them")
}

/// What is wrong with TLS, where that is the error.
fn of_tls(error: &(dyn StdError + 'static)) -> Option<String> {
    use rustls::{CertificateError as Certificate, Error as Tls};
    let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
    let tls = error.downcast_ref::<Tls>().or_else(|| inner?.downcast_ref::<Tls>())?;
    Some(match tls {
        Tls::InvalidCertificate(Certificate::UnknownIssuer) => {
            "its certificate is signed by an authority that --cacert does not have".to_owned()
        }
        Tls::InvalidCertificate(
            reason @ (Certificate::NotValidForName | Certificate::NotValidForNameContext { .. }),
        ) => {
            format!("its certificate is for other names: {reason}")
        }
        Tls::InvalidCertificate(reason) => format!("its certificate is not accepted: {reason}"),
        Tls::AlertReceived(alert) => refused_by_alert(&format!("{alert:?}")),
        Tls::InvalidMessage(_) => "it does not speak TLS: write http:// in --endpoints, or set up TLS there".to_owned(),
        other => format!("TLS failed: {other}"),
    })
}
