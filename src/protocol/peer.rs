//! Whose word counts: forwarded facts are believed only from configured peers.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::Reason;

/// The networks of our own proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Widest networks that can be trusted: an /8 is the widest private network there is (10.0.0.0/8),
/// and fc00::/7 the widest for IPv6. Anything wider believes strangers.
const WIDEST: (u8, u8) = (8, 7);

impl TrustedProxies {
    /// Trusts these networks.
    ///
    /// # Errors
    /// The first network that reaches beyond private use: such a range lets anybody who reaches the
    /// listener state any host, path and address.
    pub fn new(networks: Vec<IpNet>) -> Result<Self, IpNet> {
        let too_wide = |net: &&IpNet| match net {
            IpNet::V4(net) => net.prefix_len() < WIDEST.0,
            IpNet::V6(net) => net.prefix_len() < WIDEST.1,
        };
        match networks.iter().find(too_wide) {
            Some(wide) => Err(*wide),
            None => Ok(Self(networks)),
        }
    }

    fn contain(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// The proof that `peer` may state forwarded facts.
    ///
    /// # Errors
    /// [`Reason::UntrustedPeer`] if it is none of ours.
    pub fn admit(&self, peer: Option<IpAddr>) -> Result<TrustedPeer<'_>, Reason> {
        match peer {
            Some(address) if self.contain(address) => Ok(TrustedPeer(self)),
            Some(_) | None => Err(Reason::UntrustedPeer),
        }
    }
}

/// The proof that a check request came from one of our own proxies. Only
/// [`TrustedProxies::admit`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct TrustedPeer<'p>(&'p TrustedProxies);

impl TrustedPeer<'_> {
    /// Whether `address` is one of our own proxies too.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.0.contain(address)
    }
}
