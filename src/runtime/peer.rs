//! Who is at the other end of a connection, as far as caps go.

use std::net::{IpAddr, Ipv6Addr};

use tokio_util::sync::CancellationToken;

/// An address whose connections and requests count together: of IPv6 the first 64 bits, since a client with one address
/// of such a network has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(IpAddr);

impl From<IpAddr> for Peer {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)).into()),
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

/// The client of a connection; each of its requests has it as an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Where it is.
    pub peer: Peer,
    /// Whether it has shown a certificate that was asked for.
    pub verified: bool,
}

impl Client {
    /// The address whose caps hold for it: none for a client that has shown a certificate, which may have that address in
    /// common with others.
    #[must_use]
    pub fn capped(self) -> Option<Peer> {
        (!self.verified).then_some(self.peer)
    }
}

/// Ends a connection at once; each of its requests has it as an extension.
#[derive(Clone, Debug, Default)]
pub struct HangUp(CancellationToken);

impl HangUp {
    /// Ends it, with all its requests.
    pub fn now(&self) {
        self.0.cancel();
    }

    /// Waits until it has to end.
    pub(super) async fn asked(&self) {
        self.0.cancelled().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv4_address_is_a_peer_and_so_is_an_ipv6_network_of_64_bits() {
        let peer = |address: &str| Peer::from(address.parse::<IpAddr>().unwrap());
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
        assert_eq!(peer("10.0.0.1"), peer("::ffff:10.0.0.1"));
        assert_eq!(peer("2001:db8:0:1::1"), peer("2001:db8:0:1:ffff::2"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8:0:2::1"));
    }
}
