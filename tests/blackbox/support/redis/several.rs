//! Several real Redis servers: a cluster, or a master and its replica behind Sentinels.

use super::{ADMIN, Of, Server, TLS, rights};
use crate::support::proxy::Port;

/// Three masters, without replicas. A server that is away takes its slots with it and leaves the others as they are.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// The servers, each with a third of the slots.
    pub(crate) servers: Vec<Server>,
    /// On which they speak among themselves.
    _buses: Vec<Port>,
}

impl Cluster {
    /// Starts one and waits until all of it is up.
    pub(crate) async fn start() -> Self {
        Self::start_with(false).await
    }

    /// The same, guarded as one server is, with TLS among the servers, too.
    pub(crate) async fn start_guarded() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(is_guarded: bool) -> Self {
        let buses: Vec<Port> = (0..3).map(|_| Port::take()).collect();
        let mut servers = Vec::new();
        for bus in &buses {
            let more = format!(
                "--cluster-enabled yes --cluster-port {} --cluster-node-timeout 2000 --cluster-require-full-coverage no{}",
                bus.address().port(),
                if is_guarded { " --tls-cluster yes" } else { "" }
            );
            servers.push(Server::start_with(is_guarded, &more).await);
        }
        let (first, others) = servers.split_first().expect("three");
        for (server, slots) in servers.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            server.ask(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]).await;
        }
        for (server, bus) in others.iter().zip(&buses[1..]) {
            let (port, bus) = (server.address().port().to_string(), bus.address().port().to_string());
            first.ask(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
        }
        for server in &servers {
            server.says(&["CLUSTER", "INFO"], "cluster_size:3").await;
            server.says(&["CLUSTER", "INFO"], "cluster_state:ok").await;
        }
        Self { servers, _buses: buses }
    }

    /// Its URL, which names all of them, with `before` (`USER:PASSWORD@`) before the hosts.
    pub(crate) fn url(&self, before: &str) -> String {
        let tls = if self.servers[0].is_guarded { "s" } else { "" };
        format!("redis{tls}-cluster://{before}{}", hosts(&self.servers))
    }

    /// Which of the servers holds this key.
    pub(crate) async fn holder(&self, key: &str) -> usize {
        let slot = self.servers[0].ask(&["CLUSTER", "KEYSLOT", key]).await;
        let slot: usize = slot.trim_start_matches("int(").trim_end_matches(')').parse().expect("a slot");
        [5461, 10923].iter().filter(|first| slot >= **first).count()
    }
}

/// A master and its replica, and Sentinels that watch them: three of which two must agree, or one if all of it is guarded.
#[derive(Debug)]
pub(crate) struct Sentinel {
    /// The master and its replica, at first in this order.
    pub(crate) servers: Vec<Server>,
    /// The Sentinels.
    pub(crate) sentinels: Vec<Server>,
}

impl Sentinel {
    /// Starts them and waits until all know each other.
    pub(crate) async fn start() -> Self {
        Self::start_with(false, 3).await
    }

    /// The same, guarded as one server is. The Sentinel knows `gate`, too, with the password `watch`.
    pub(crate) async fn start_guarded() -> Self {
        Self::start_with(true, 1).await
    }

    async fn start_with(is_guarded: bool, count: usize) -> Self {
        let guard = if is_guarded { " --tls-replication yes --masteruser admin --masterauth admin" } else { "" };
        let common = format!("--repl-diskless-sync-delay 0{guard}");
        let master = Server::start_with(is_guarded, &common).await;
        let port = master.address().port();
        let replica = Server::start_with(is_guarded, &format!("{common} --replicaof 127.0.0.1 {port}")).await;
        replica.says(&["INFO", "replication"], "master_link_status:up").await;
        let mut sentinels = Vec::new();
        for _ in 0..count {
            sentinels.push(Server::start_sentinel(is_guarded, port, count.div_ceil(2)).await);
        }
        for sentinel in &sentinels {
            for (name, number) in [("num-slaves", 1), ("num-other-sentinels", count - 1)] {
                let wanted = format!("\"{name}\"'), bulk-string('\"{number}\"')");
                sentinel.says(&["SENTINEL", "MASTER", "shop"], &wanted).await;
            }
        }
        Self { servers: vec![master, replica], sentinels }
    }

    /// Their URL, with `before` (`USER:PASSWORD@`) before the hosts and `behind` (`&NAME=VALUE`) at the end.
    pub(crate) fn url(&self, before: &str, behind: &str) -> String {
        let tls = if self.servers[0].is_guarded { "s" } else { "" };
        format!("redis{tls}-sentinel://{before}{}?master=shop{behind}", hosts(&self.sentinels))
    }
}

impl Server {
    /// Starts a Sentinel that watches the master at this port.
    async fn start_sentinel(is_guarded: bool, master: u16, quorum: usize) -> Self {
        let watched = format!(
            "sentinel monitor shop 127.0.0.1 {master} {quorum}\n\
             sentinel down-after-milliseconds shop 500\n\
             sentinel failover-timeout shop 2000\n"
        );
        if is_guarded {
            let known = "sentinel auth-user shop admin\nsentinel auth-pass shop admin\n";
            let users = format!("--user default off {ADMIN} --user gate on >watch{}", rights(Of::Sentinel));
            let arguments = format!("--sentinel {TLS} --tls-replication yes {users}");
            Self::run(is_guarded, &format!("{watched}{known}"), &arguments).await
        } else {
            Self::run(is_guarded, &watched, "--sentinel").await
        }
    }
}

fn hosts(servers: &[Server]) -> String {
    servers.iter().map(|server| server.address().to_string()).collect::<Vec<_>>().join(",")
}
