//! Errors of the API server, for people.

/// An error in one line. kube's own text repeats the whole answer of the API server, and leaves out why it has none.
pub(crate) fn describe(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => {
            format!("the API server answers {} {}: {}", status.code, status.reason, status.message)
        }
        other => {
            let cause = std::iter::successors(std::error::Error::source(other), |error| error.source()).last();
            let cause = cause.map_or_else(|| other.to_string(), ToString::to_string);
            format!("the API server cannot be reached: {}", of_connection(&cause))
        }
    }
}

/// Why a connection failed. What rustls says of one that ended in the middle is advice for programmers.
pub(crate) fn of_connection(error: &str) -> &str {
    if error.contains("close_notify") { "the connection was closed before the answer" } else { error }
}

#[cfg(test)]
mod tests {
    use std::{error::Error, io::Read as _, net::TcpListener, sync::Arc, thread};

    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned, crypto::ring,
    };

    use super::*;
    use crate::runtime::selfsigned;

    /// What rustls says may change; that it is translated must not.
    #[test]
    fn a_connection_that_ends_in_the_middle_is_said_to_people() -> Result<(), Box<dyn Error>> {
        use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
        let pair = selfsigned::issue(&["localhost".to_owned()])?;
        let provider = Arc::new(ring::default_provider());
        let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(pair.cert_pem.as_bytes())?],
                PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes())?,
            )?;
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pair.ca_pem.as_bytes())?)?;
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let ends = thread::spawn(move || -> Result<(), Box<dyn Error + Send + Sync>> {
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(server))?, listener.accept()?.0);
            stream.conn.complete_io(&mut stream.sock)?;
            Ok(())
        });
        let connection = ClientConnection::new(Arc::new(client), "localhost".try_into()?)?;
        let mut stream = StreamOwned::new(connection, std::net::TcpStream::connect(address)?);
        let error = stream.read(&mut [0]).map_or_else(|error| error.to_string(), |read| format!("{read} bytes"));
        assert_eq!(of_connection(&error), "the connection was closed before the answer");
        assert_eq!(of_connection("Connection refused"), "Connection refused");
        ends.join().map_err(|_| "the server panicked")?.map_err(|error| error.to_string())?;
        Ok(())
    }
}
