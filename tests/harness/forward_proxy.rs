//! A proxy between a command and a control plane: HTTP CONNECT, or SOCKS5 without a login.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// A running proxy on loopback, until the test process ends. Wherever a client wants to go, it gets to one place.
pub struct ForwardProxy {
    /// Its port on 127.0.0.1.
    pub port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

impl ForwardProxy {
    /// One that connects every client to `target`.
    pub fn to(target: &str) -> Self {
        Self::start(Some(target.to_owned()), "")
    }

    /// One that answers every client with this status, such as `403 Forbidden`.
    pub fn refusing(status: &str) -> Self {
        Self::start(None, status)
    }

    fn start(target: Option<String>, status: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap_or_else(|error| panic!("listen: {error}"));
        let port = listener.local_addr().unwrap_or_else(|error| panic!("listen: {error}")).port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, status) = (Arc::clone(&requests), status.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let (seen, target, status) = (Arc::clone(&seen), target.clone(), status.clone());
                // A client that goes away ends its thread.
                thread::spawn(move || serve(client, target.as_deref(), &status, &seen));
            }
        });
        Self { port, requests }
    }

    /// What was asked of it so far: the first line and the `Proxy-Authorization` of each CONNECT, and host and port of each SOCKS
    /// connection.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut client: TcpStream, target: Option<&str>, status: &str, seen: &Mutex<Vec<String>>) -> io::Result<()> {
    let mut first = [0];
    client.read_exact(&mut first)?;
    let socks = first == [5];
    let request = if socks { socks_request(&mut client)? } else { http_request(&mut client, first)? };
    seen.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    let Some(target) = target else {
        return write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
    };
    let mut server = TcpStream::connect(target)?;
    if socks {
        client.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
    } else {
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    }
    let (mut from_client, mut to_server) = (client.try_clone()?, server.try_clone()?);
    thread::spawn(move || io::copy(&mut from_client, &mut to_server));
    io::copy(&mut server, &mut client).map(|_| ())
}

fn http_request(client: &mut TcpStream, first: [u8; 1]) -> io::Result<String> {
    let mut head = first.to_vec();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let wanted = |line: &&str| line.starts_with("CONNECT ") || line.to_lowercase().starts_with("proxy-authorization:");
    Ok(head.lines().filter(wanted).collect::<Vec<_>>().join("; "))
}

/// The handshake of RFC 1928 without a login; a name is left to the proxy.
fn socks_request(client: &mut TcpStream) -> io::Result<String> {
    let mut methods = [0];
    client.read_exact(&mut methods)?;
    client.read_exact(&mut vec![0; usize::from(methods[0])])?;
    client.write_all(&[5, 0])?;
    let mut head = [0; 4];
    client.read_exact(&mut head)?;
    let mut length = [0];
    let host = match head[3] {
        3 => {
            client.read_exact(&mut length)?;
            let mut name = vec![0; usize::from(length[0])];
            client.read_exact(&mut name)?;
            String::from_utf8_lossy(&name).into_owned()
        }
        1 => {
            let mut address = [0; 4];
            client.read_exact(&mut address)?;
            Ipv4Addr::from(address).to_string()
        }
        other => return Err(io::Error::other(format!("address of kind {other}"))),
    };
    let mut port = [0; 2];
    client.read_exact(&mut port)?;
    Ok(format!("SOCKS {host}:{}", u16::from_be_bytes(port)))
}
