//! Whose word counts: forwarded facts are believed only from configured peers.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::policy::Reason;

/// The networks of our own proxies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// Networks for private use, whole: RFC 1918, shared address space (RFC 6598), loopback, link-local, and their like in IPv6.
const PRIVATE: [&str; 9] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "::1/128",
    "fc00::/7",
    "fe80::/10",
];

/// Widest public networks that can be trusted, in bits: one organisation's (a /16, in IPv6 a /32). Anything wider holds strangers.
const WIDEST_PUBLIC: (u8, u8) = (16, 32);

impl TrustedProxies {
    /// Trusts these networks.
    ///
    /// # Errors
    /// The first network that holds strangers, alone or together with its neighbours in the list: they could state any host, path
    /// and address. Or one of IPv4 addresses written as IPv6, which would never match.
    pub fn new(networks: Vec<IpNet>) -> Result<Self, IpNet> {
        let private =
            |network: &IpNet| PRIVATE.iter().filter_map(|p| p.parse::<IpNet>().ok()).any(|p| p.contains(network));
        let too_wide = |network: &IpNet| match network {
            IpNet::V4(net) => net.prefix_len() < WIDEST_PUBLIC.0,
            IpNet::V6(net) => net.prefix_len() < WIDEST_PUBLIC.1 || net.addr().to_ipv4_mapped().is_some(),
        };
        let together = IpNet::aggregate(&networks);
        match networks.iter().chain(&together).find(|network| !private(network) && too_wide(network)) {
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
