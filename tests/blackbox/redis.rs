//! Connections to a Redis of each shape: what answers, and how soon it is said that nobody does.

use std::time::{Duration, Instant};

use deadpool_redis::redis::{Script, cmd};
use portcullis::redis::{Link, Redis};

use crate::support::redis::Server;
use crate::support::redis::several::{Cluster, Sentinel};

const TIMEOUT: Duration = Duration::from_millis(600);
/// What two busy cores may add.
const SLACK: Duration = Duration::from_millis(400);

/// One shape, and all its servers.
struct Here {
    url: String,
    servers: Vec<Server>,
}

async fn each() -> Vec<Here> {
    let (one, watched, cluster) = tokio::join!(Server::start(), Sentinel::start(), Cluster::start());
    let sentinels = watched.url("", "");
    let cluster_url = cluster.url("");
    vec![
        Here { url: one.url(), servers: vec![one] },
        Here { url: sentinels, servers: watched.servers.into_iter().chain(watched.sentinels).collect() },
        Here { url: cluster_url, servers: cluster.servers },
    ]
}

/// Fails, and within the time-out.
async fn fails<T, E: std::fmt::Display>(what: &str, call: impl Future<Output = Result<T, E>>) {
    let started = Instant::now();
    let error = call.await.err().unwrap_or_else(|| panic!("{what}: it answers"));
    let took = started.elapsed();
    assert!(took < TIMEOUT + SLACK, "{what}: {took:?}: {error}");
}

async fn count(link: &mut Link) -> Result<u64, deadpool_redis::redis::RedisError> {
    cmd("INCR").arg("{a}count").query_async(link).await
}

#[tokio::test]
async fn whoever_falls_silent_is_given_up_in_time() {
    for mut here in each().await {
        let shape = here.url.split(':').next().expect("a scheme").to_owned();
        let redis = Redis::new(&here.url.as_str().into(), None, TIMEOUT).expect("a Redis");
        assert_eq!(format!("{redis:?}"), "Redis");
        let mut link = redis.connect().await.expect("a connection");
        let mut other = link.clone();
        assert_eq!((count(&mut link).await, count(&mut other).await), (Ok(1), Ok(2)), "{shape}");
        let script = Script::new("return redis.call('INCRBY', KEYS[1], ARGV[1])");
        let sum: u64 = script.key("{a}count").arg(5).invoke_async(&mut link).await.expect("it runs");
        assert_eq!(sum, 7);

        here.servers.iter().for_each(|server| server.signal("STOP"));
        fails(&format!("{shape}: a command to one that hangs"), count(&mut link)).await;
        fails(&format!("{shape}: connecting to one that hangs"), redis.connect()).await;
        here.servers.iter().for_each(|server| server.signal("CONT"));
        here.servers.iter_mut().for_each(Server::kill);
        fails(&format!("{shape}: a command to one that is dead"), count(&mut link)).await;
        fails(&format!("{shape}: connecting to one that is dead"), redis.connect()).await;
    }
}

/// What an own runtime of each thread needs: the connection lives where it was asked for, and ends with it.
#[test]
fn a_connection_belongs_to_the_runtime_that_asks_for_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let main = runtime();
    let cluster = main.block_on(Cluster::start());
    let redis = Redis::new(&cluster.url("").as_str().into(), None, TIMEOUT).expect("a Redis");
    for round in 1..=3 {
        let other = runtime();
        let told = other.block_on(async { count(&mut redis.connect().await.expect("a connection")).await });
        assert_eq!(told, Ok(round));
    }
    assert_eq!(main.block_on(async { count(&mut redis.connect().await.expect("a connection")).await }), Ok(4));
}
