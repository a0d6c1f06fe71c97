//! Addresses and networks as an operator writes them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// An address to listen on: `127.0.0.1:7400`, `[::1]:7400`.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong =
        |_| D::Error::custom(format!("`{text}` is no address; write IP:PORT, such as 127.0.0.1:7400 or [::1]:7400"));
    text.parse().map_err(wrong)
}

/// A network: `10.0.3.0/24`; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(pub IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let one = |_| text.parse::<IpAddr>().map(IpNet::from);
        let wrong = |_| D::Error::custom(format!("`{text}` is no network; write ADDRESS/BITS, such as 10.0.3.0/24"));
        text.parse::<IpNet>().or_else(one).map(Self).map_err(wrong)
    }
}
