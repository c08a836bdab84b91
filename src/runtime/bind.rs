//! The addresses that the process listens on.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// How many connections wait in the kernel to be accepted, as Tokio has it.
const BACKLOG: i32 = 1024;

/// Listens on `address`. `[::]` accepts IPv4, too, whatever `net.ipv6.bindv6only` says; if the kernel has no IPv6, it means
/// `0.0.0.0`.
///
/// # Errors
/// What the kernel answers; for `[::]` what it answers to `0.0.0.0`, unless the port is taken.
pub fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::from_std(or_ipv4(address, open)?.into())
}

fn open(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Opens `address`, or where it is `[::]` and cannot be opened, the same port of `0.0.0.0`. A port that is taken stays taken:
/// somebody who has it for IPv6 alone would be served beside us.
fn or_ipv4<T>(address: SocketAddr, open: impl Fn(SocketAddr) -> io::Result<T>) -> io::Result<T> {
    match open(address) {
        Err(error) if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && error.kind() != io::ErrorKind::AddrInUse => {
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn the_unspecified_address_of_ipv6_takes_both_families() {
        let listener = listen_on(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_canonical(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        // Where this machine has IPv6.
        if address.is_ipv6() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, address.port())).unwrap();
            assert_eq!(listener.accept().await.unwrap().1.ip(), IpAddr::V6(Ipv6Addr::LOCALHOST));
        }
        let taken = listen_on(address).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    /// A kernel without IPv6 (`ipv6.disable=1`) has no such sockets.
    #[test]
    fn without_ipv6_it_is_that_of_ipv4() {
        let kernel = |errors: &'static [(&str, io::ErrorKind)]| {
            move |address: SocketAddr| match errors.iter().find(|(of, _)| *of == address.to_string()) {
                Some((_, kind)) => Err(io::Error::from(*kind)),
                None => Ok(address.to_string()),
            }
        };
        let any = "[::]:10250".parse().unwrap();
        let without = kernel(&[("[::]:10250", io::ErrorKind::Unsupported)]);
        assert_eq!(or_ipv4(any, without).unwrap(), "0.0.0.0:10250");
        assert_eq!(or_ipv4(any, kernel(&[])).unwrap(), "[::]:10250");
        let taken = kernel(&[("[::]:10250", io::ErrorKind::AddrInUse)]);
        assert_eq!(or_ipv4(any, taken).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        // An address that somebody chose is not exchanged for all of them.
        let loopback = kernel(&[("[::1]:10250", io::ErrorKind::Unsupported)]);
        assert_eq!(or_ipv4("[::1]:10250".parse().unwrap(), loopback).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }
}
