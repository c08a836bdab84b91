//! Handshakes that fail because one side does not trust the other: worth a line in the log, though not one for each.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rustls::{AlertDescription, CertificateError, Error, OtherError};
use tokio::time::Instant;

/// At most one line in this time: anybody who can connect can cause them.
const PAUSE: Duration = Duration::from_secs(10);

/// When the last line was written, and how many were held back since.
#[derive(Debug, Default)]
pub(super) struct HandshakeLog(Mutex<(Option<Instant>, u64)>);

impl HandshakeLog {
    /// Takes note of a handshake that failed.
    pub(super) fn handshake(&self, error: &io::Error) {
        let Some(reason) = untrusted(error) else {
            return tracing::debug!(%error, "a TLS handshake failed");
        };
        if let Some(held_back) = self.due(Instant::now()) {
            tracing::warn!(reason, held_back, "a TLS handshake was rejected, by the webhook or by the client");
        }
    }

    /// How many were held back, where it is time for a line.
    fn due(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0.is_some_and(|last| now < last + PAUSE) {
            state.1 = state.1.saturating_add(1);
            return None;
        }
        let held_back = state.1;
        *state = (Some(now), 0);
        Some(held_back)
    }
}

/// Why one side does not trust the other, where that is it; port scans and probes end for other reasons.
fn untrusted(error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    Some(match error {
        Error::NoCertificatesPresented => {
            "the client has no certificate, and --tls-client-ca requires one; if this is the API \
             server, give it one with --admission-control-config-file (docs/certificates.md)"
                .to_owned()
        }
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the certificate of the client is refused: no CA of --tls-client-ca signed it".to_owned()
        }
        Error::InvalidCertificate(CertificateError::Other(OtherError(reason))) => {
            format!("the certificate of the client is refused: {reason}")
        }
        Error::InvalidCertificate(reason) => format!("the certificate of the client is refused: {reason}"),
        Error::AlertReceived(
            alert @ (AlertDescription::BadCertificate
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown),
        ) => format!(
            "the client does not trust the certificate that is served ({alert:?}); if this is the API server, check \
             that the caBundle of the webhook configurations has its CA"
        ),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_and_what_is_not() {
        let words = |error: Error| untrusted(&io::Error::new(io::ErrorKind::InvalidData, error));
        let told: Vec<String> = [
            Error::NoCertificatesPresented,
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            Error::InvalidCertificate(CertificateError::Expired),
            Error::AlertReceived(AlertDescription::BadCertificate),
        ]
        .into_iter()
        .filter_map(words)
        .collect();
        insta::assert_snapshot!(told.join("\n"));
        assert_eq!(untrusted(&io::Error::from(io::ErrorKind::UnexpectedEof)), None);
        assert_eq!(words(Error::AlertReceived(AlertDescription::CloseNotify)), None);
    }

    #[test]
    fn a_flood_costs_one_line_in_ten_seconds() {
        let handshake_log = HandshakeLog::default();
        let start = Instant::now();
        assert_eq!(handshake_log.due(start), Some(0));
        for _ in 0..1000 {
            assert_eq!(handshake_log.due(start + Duration::from_secs(9)), None);
        }
        assert_eq!(handshake_log.due(start + PAUSE), Some(1000));
    }
}
