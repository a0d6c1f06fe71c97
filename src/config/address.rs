//! Addresses and networks as an operator writes them.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

/// An address to listen on: `127.0.0.1:7400`, `[::1]:7400`.
pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wrong =
        |_| D::Error::custom(format!("`{text}` is no address; write IP:PORT, such as 127.0.0.1:7400 or [::1]:7400"));
    text.parse().map_err(wrong)
}

/// What [`listen`] reads: what an IP address, and what a port, can be made of.
pub(super) fn listen_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": r"^([0-9.]+|\[[0-9A-Fa-f:.%]+\]):[0-9]+$"})
}

/// A network: `10.0.3.0/24`; a bare address is a network of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Network(pub IpNet);

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let one = |_| text.parse::<IpAddr>().map(IpNet::from);
        let wrong = |_| D::Error::custom(format!("`{text}` is no network; write ADDRESS/BITS, such as 10.0.3.0/24"));
        text.parse::<IpNet>().or_else(one).map(Self).map_err(wrong)
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Network".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A network, such as 10.0.3.0/24; a bare address is a network of one.",
            "type": "string",
            "pattern": "^[0-9A-Fa-f.:]+(/[0-9]+)?$",
        })
    }
}
