//! What makes the pool's connections. The managers that come with the pool take neither time-outs nor authorities for Sentinels and
//! clusters; this one does.

use std::time::Duration;

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use deadpool_redis::redis::cluster::{ClusterClient, ClusterClientBuilder};
use deadpool_redis::redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use deadpool_redis::redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, RedisError, TlsCertificates, TlsMode,
};
use futures_util::future::select_ok;
use secrecy::ExposeSecret as _;

use super::Link;
use super::address::{Place, Shape, Watched};

/// How often a command goes to another server of a cluster before its failure is told: a slot that moves is asked for twice, and a
/// little later it is there. A cluster that is down should say so within the time-out.
const RETRIES: u32 = 3;
const LEAST_PAUSE_MS: u64 = 10;
const LONGEST_PAUSE_MS: u64 = 100;

/// Which part of the time-out one server of a cluster gets to take a connection: first the servers that are named are connected to, then
/// all that there are, and one that hangs must not use up the time of the others.
const SHARE_OF_A_NODE: u32 = 3;

/// Makes connections to a Redis of any shape.
pub(super) enum Maker {
    One { manager: Box<deadpool_redis::Manager> },
    Sentinel { watched: Box<Watched>, certificates: Option<TlsCertificates>, config: Box<AsyncConnectionConfig> },
    Cluster { client: Box<ClusterClient> },
}

impl Maker {
    /// Makes connections to `place`; each takes at most `timeout` to be made and to answer.
    ///
    /// # Errors
    /// What is wrong with the authorities.
    pub(super) fn new(place: Place, ca: Option<Vec<u8>>, timeout: Duration) -> Result<Self, String> {
        if ca.is_some() && !place.is_tls {
            return Err("ca_file is of no use without TLS".to_owned());
        }
        let certificates = place.is_tls.then_some(TlsCertificates { client_tls: None, root_cert: ca });
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(Some(timeout)).set_response_timeout(Some(timeout));
        let made = match place.shape {
            Shape::One(info) => Self::one(*info, certificates, config),
            Shape::Sentinel(watched) => Self::sentinel(watched, certificates, config),
            Shape::Cluster(nodes) => Self::cluster(nodes, certificates, timeout),
        };
        made.map_err(|error| error.to_string())
    }

    fn one(
        info: ConnectionInfo,
        certificates: Option<TlsCertificates>,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        let info = match certificates {
            Some(certificates) => Client::build_with_tls(info, certificates)?.get_connection_info().clone(),
            None => info,
        };
        Ok(Self::One { manager: Box::new(deadpool_redis::Manager::new_with_config(info, config)?) })
    }

    fn sentinel(
        watched: Box<Watched>,
        certificates: Option<TlsCertificates>,
        config: AsyncConnectionConfig,
    ) -> Result<Self, RedisError> {
        // They are made anew each time; what is wrong with one is told now.
        for sentinel in &watched.sentinels {
            client(&watched, certificates.as_ref(), sentinel)?;
        }
        Ok(Self::Sentinel { watched, certificates, config: Box::new(config) })
    }

    fn cluster(
        nodes: Vec<ConnectionInfo>,
        certificates: Option<TlsCertificates>,
        timeout: Duration,
    ) -> Result<Self, RedisError> {
        let mut builder = ClusterClientBuilder::new(nodes)
            .connection_timeout(timeout.checked_div(SHARE_OF_A_NODE).unwrap_or(timeout))
            .response_timeout(timeout)
            .overall_response_timeout(Some(timeout))
            .retries(RETRIES)
            .min_retry_wait(LEAST_PAUSE_MS)
            .max_retry_wait(LONGEST_PAUSE_MS);
        if let Some(certificates) = certificates {
            builder = builder.tls(TlsMode::Secure).certs(certificates);
        }
        Ok(Self::Cluster { client: Box::new(builder.build()?) })
    }
}

/// What asks one Sentinel.
fn client(
    watched: &Watched,
    certificates: Option<&TlsCertificates>,
    sentinel: &ConnectionAddr,
) -> Result<SentinelClient, RedisError> {
    let mut builder = SentinelClientBuilder::new([sentinel.clone()], &watched.master, SentinelServerType::Master)?
        .set_client_to_redis_db(watched.settings.db())
        .set_client_to_redis_protocol(watched.settings.protocol());
    if let Some(user) = watched.settings.username() {
        builder = builder.set_client_to_redis_username(user);
    }
    if let Some(password) = watched.settings.password() {
        builder = builder.set_client_to_redis_password(password);
    }
    if let Some(user) = &watched.sentinel_user {
        builder = builder.set_client_to_sentinel_username(user);
    }
    if let Some(password) = &watched.sentinel_password {
        builder = builder.set_client_to_sentinel_password(password.expose_secret());
    }
    if let Some(certificates) = certificates {
        builder = builder
            .set_client_to_redis_tls_mode(TlsMode::Secure)
            .set_client_to_redis_certificates(certificates.clone())
            .set_client_to_sentinel_tls_mode(TlsMode::Secure)
            .set_client_to_sentinel_certificates(certificates.clone());
    }
    builder.build()
}

/// Whom a Sentinel calls master, if that one says so itself.
async fn master(
    watched: &Watched,
    certificates: Option<&TlsCertificates>,
    sentinel: &ConnectionAddr,
) -> Result<Client, RedisError> {
    client(watched, certificates, sentinel)?.async_get_client().await
}

impl Manager for Maker {
    type Type = Link;
    type Error = RedisError;

    async fn create(&self) -> Result<Link, RedisError> {
        match self {
            Self::One { manager } => Ok(Link::One(manager.create().await?)),
            Self::Sentinel { watched, certificates, config } => {
                // All at once: a machine that died often takes a Sentinel with it, whose silence must not use up the time.
                let asked =
                    watched.sentinels.iter().map(|sentinel| Box::pin(master(watched, certificates.as_ref(), sentinel)));
                let (client, _) = select_ok(asked).await?;
                Ok(Link::One(client.get_multiplexed_async_connection_with_config(config).await?))
            }
            Self::Cluster { client } => Ok(Link::Cluster(client.get_async_connection().await?)),
        }
    }

    /// Every connection is taken; none comes back.
    async fn recycle(&self, _: &mut Link, _: &Metrics) -> RecycleResult<RedisError> {
        Err(RecycleError::message("a connection is used by one owner only"))
    }
}
