//! How a Redis is written:
//!
//! - one server: `redis://[USER:PASSWORD@]HOST[:PORT][/DB]`;
//! - servers behind Sentinels: `redis-sentinel://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],...[/DB]?master=NAME`, the hosts being
//!   those of the Sentinels, user and password those of the servers; with `&sentinel_password=PASSWORD` and
//!   `&sentinel_user=USER` if the Sentinels want them, too;
//! - a cluster: `redis-cluster://[USER:PASSWORD@]HOST[:PORT],HOST[:PORT],...`, with some of its servers, from which the others are known.
//!
//! With `rediss` for `redis` everything is asked over TLS. Other characters than letters, digits and `-._~` are written `%XX`.

use deadpool_redis::redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, RedisConnectionInfo};
use secrecy::SecretString;

/// Where Sentinels listen unless somebody says otherwise.
const SENTINEL_PORT: u16 = 26379;

const NO_URL: &str = "this is no URL of a Redis";

/// What a URL says: the shape, and whether it is asked over TLS.
pub(super) struct Place {
    pub(super) shape: Shape,
    pub(super) is_tls: bool,
}

pub(super) enum Shape {
    One(Box<ConnectionInfo>),
    Sentinel(Box<Watched>),
    Cluster(Vec<ConnectionInfo>),
}

/// A master and its replicas, behind Sentinels.
pub(super) struct Watched {
    pub(super) sentinels: Vec<ConnectionAddr>,
    /// The name that the Sentinels know the master by.
    pub(super) master: String,
    pub(super) sentinel_user: Option<String>,
    pub(super) sentinel_password: Option<SecretString>,
    /// Database, user and password of the servers.
    pub(super) settings: RedisConnectionInfo,
}

/// Whether the URL holds a user or a password.
#[must_use]
pub fn has_credential(url: &str) -> bool {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let is_told = query.split('&').any(|pair| pair.starts_with("sentinel_"));
    is_told || url.split_once("://").is_some_and(|(_, rest)| rest.contains('@'))
}

/// Reads a URL.
///
/// # Errors
/// What is wrong with it, in words that repeat none of it.
pub(super) fn read(url: &str) -> Result<Place, String> {
    let (scheme, rest) = url.split_once("://").ok_or(NO_URL)?;
    let (kind, is_tls) = match scheme.strip_prefix("rediss") {
        Some(kind) => (kind, true),
        None => (scheme.strip_prefix("redis").ok_or(NO_URL)?, false),
    };
    // A URL's reader passes over tabs and line feeds, and so over one inside of the word.
    if rest.split_once('#').is_some_and(|(_, behind)| behind.replace(['\t', '\n', '\r'], "") == "insecure") {
        return Err("a certificate that nobody checks protects from nobody; name ca_file".to_owned());
    }
    if rest.contains('#') {
        return Err("it has a #; in a user or a password that is %23".to_owned());
    }
    let shape = match kind {
        "" => Shape::One(Box::new(url.into_connection_info().map_err(|_| NO_URL)?)),
        "-sentinel" => watched(rest, is_tls)?,
        "-cluster" => cluster(rest, is_tls)?,
        _ => return Err(NO_URL.to_owned()),
    };
    Ok(Place { shape, is_tls })
}

fn watched(rest: &str, is_tls: bool) -> Result<Shape, String> {
    let parts = Parts::of(rest)?;
    let database = match parts.path {
        "" => 0,
        number => number.parse::<u32>().map_err(|_| "the database is no number")?.into(),
    };
    let [master, sentinel_user, sentinel_password] =
        parts.parameters(["master", "sentinel_user", "sentinel_password"])?;
    let master = master.ok_or("no master is named: add ?master=NAME")?;
    if sentinel_user.is_some() && sentinel_password.is_none() {
        return Err("sentinel_user is of no use without sentinel_password".to_owned());
    }
    let sentinels = parts.hosts(is_tls, Some(SENTINEL_PORT))?;
    Ok(Shape::Sentinel(Box::new(Watched {
        sentinels: sentinels.iter().map(|sentinel| sentinel.addr().clone()).collect(),
        master,
        sentinel_user,
        sentinel_password: sentinel_password.map(SecretString::from),
        settings: parts.settings()?.set_db(database),
    })))
}

fn cluster(rest: &str, is_tls: bool) -> Result<Shape, String> {
    let parts = Parts::of(rest)?;
    if !["", "0"].contains(&parts.path) {
        return Err("a cluster has no database but 0".to_owned());
    }
    let [] = parts.parameters([])?;
    let settings = parts.settings()?;
    let nodes = parts.hosts(is_tls, None)?.into_iter();
    Ok(Shape::Cluster(nodes.map(|node| node.set_redis_settings(settings.clone())).collect()))
}

/// The parts of a URL with several hosts, behind its scheme.
struct Parts<'a> {
    credential: Option<&'a str>,
    hosts: &'a str,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, String> {
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        // A password with a bare slash or question mark ends there, and the rest of it would be read as something else.
        if path.contains('@') || query.is_some_and(|query| query.contains('@')) {
            return Err(
                "it has an @ behind the hosts; in a user or a password write / as %2F, ? as %3F, @ as %40".to_owned()
            );
        }
        let (credential, hosts) =
            authority.rsplit_once('@').map_or((None, authority), |(credential, hosts)| (Some(credential), hosts));
        if credential.is_some_and(|credential| credential.contains('@')) {
            return Err(
                "it has more than one @: user and password stand before the first host only, an @ in them is %40"
                    .to_owned(),
            );
        }
        Ok(Self { credential, hosts, path: path.trim_end_matches('/'), query })
    }

    /// User and password of the servers, read as in a URL of one server.
    fn settings(&self) -> Result<RedisConnectionInfo, String> {
        let Some(credential) = self.credential else { return Ok(RedisConnectionInfo::default()) };
        let info = format!("redis://{credential}@localhost").into_connection_info();
        let info = info.map_err(|_| "the user or the password cannot be read")?;
        Ok(info.redis_settings().clone())
    }

    /// The hosts, each read as in a URL of one server.
    fn hosts(&self, is_tls: bool, port: Option<u16>) -> Result<Vec<ConnectionInfo>, String> {
        let scheme = if is_tls { "rediss" } else { "redis" };
        let hosts = self.hosts.split(',').map(|host| {
            // The brackets of an IPv6 address hold colons of their own.
            let has_port = host.rsplit(']').next().is_some_and(|behind| behind.contains(':'));
            let url = match port {
                Some(port) if !has_port => format!("{scheme}://{host}:{port}"),
                Some(_) | None => format!("{scheme}://{host}"),
            };
            url.into_connection_info().map_err(|_| "one of the hosts is neither HOST nor HOST:PORT".to_owned())
        });
        hosts.collect()
    }

    /// The parameters of these names; none that is not there.
    fn parameters<const N: usize>(&self, names: [&str; N]) -> Result<[Option<String>; N], String> {
        let mut values = [const { None }; N];
        for pair in self.query.iter().flat_map(|query| query.split('&')) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let known = names.iter().position(|known| *known == name);
            let slot = known.and_then(|index| values.get_mut(index)).ok_or_else(|| match N {
                0 => "a cluster takes no parameters".to_owned(),
                _ => format!("it has a parameter that is none of {}", names.join(", ")),
            })?;
            if value.is_empty() || slot.is_some() {
                return Err("a parameter has no value, or stands there twice".to_owned());
            }
            *slot = Some(decoded(value).ok_or("a parameter is no text")?);
        }
        Ok(values)
    }
}

/// What `%XX` stands for; a plus is a plus, as in a password.
fn decoded(value: &str) -> Option<String> {
    let plain = value.replace('+', "%2B");
    let (text, _) = form_urlencoded::parse(plain.as_bytes()).next()?;
    (!text.contains(char::REPLACEMENT_CHARACTER)).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(url: &str) -> String {
        read(url).err().unwrap_or_default()
    }

    #[test]
    fn a_list_of_sentinels_is_read() {
        let url = "rediss-sentinel://us%40er:p%2F%3Fw@a,[::1]:7,b:26380/3?master=my%20m&sentinel_user=s&sentinel_password=x+%2By";
        let place = read(url).expect("a URL");
        let Shape::Sentinel(watched) = place.shape else { panic!("no Sentinels") };
        let sentinels: Vec<_> = watched.sentinels.iter().map(ToString::to_string).collect();
        assert_eq!(sentinels, ["a:26379", "::1:7", "b:26380"]);
        assert!(
            place.is_tls
                && watched.sentinels.iter().all(|addr| matches!(addr, ConnectionAddr::TcpTls { insecure: false, .. }))
        );
        assert_eq!((watched.master.as_str(), watched.settings.db()), ("my m", 3));
        assert_eq!((watched.settings.username(), watched.settings.password()), (Some("us@er"), Some("p/?w")));
        assert_eq!(watched.sentinel_user.as_deref(), Some("s"));
        let password = watched.sentinel_password.expect("a password");
        assert_eq!(secrecy::ExposeSecret::expose_secret(&password), "x++y");
    }

    #[test]
    fn a_list_of_nodes_is_read() {
        let place = read("redis-cluster://:pw@a:1,b/").expect("a URL");
        let Shape::Cluster(nodes) = place.shape else { panic!("no cluster") };
        let addresses: Vec<_> = nodes.iter().map(|node| node.addr().to_string()).collect();
        assert_eq!((addresses, place.is_tls), (vec!["a:1".to_owned(), "b:6379".to_owned()], false));
        assert!(nodes.iter().all(|node| node.redis_settings().password() == Some("pw")));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_url() {
        for (url, why) in [
            ("", "no URL"),
            ("redis", "no URL"),
            ("http://hunter2", "no URL"),
            ("redis-sentinels://hunter2?master=m", "no URL"),
            ("redis://hunter2:hunter2", "no URL"),
            ("rediss-cluster://hunter2#insecure", "nobody checks"),
            ("rediss://hunter2#inse\tcure", "nobody checks"),
            ("redis-cluster://a#hunter2", "%23"),
            ("redis-cluster://", "neither HOST nor"),
            ("redis-cluster://a,,hunter2", "neither HOST nor"),
            ("redis-cluster://a,hun ter2", "neither HOST nor"),
            ("redis-cluster://a,hunter2:99999", "neither HOST nor"),
            ("redis-cluster://0.0.0.0", "neither HOST nor"),
            ("redis-cluster://u:hunter2@a,u:hunter2@b", "more than one @"),
            ("redis-cluster://u:hun/ter2@a", "%2F"),
            ("redis-cluster://u:hun?ter2@a", "%3F"),
            ("redis-cluster://u:hunter2%ff@a", "cannot be read"),
            ("redis-cluster://a/1", "no database but 0"),
            ("redis-cluster://a?protocol=hunter2", "no parameters"),
            ("redis-sentinel://hunter2", "?master=NAME"),
            ("redis-sentinel://hunter2/?sentinel_password=hunter2", "?master=NAME"),
            ("redis-sentinel://a?master=", "no value"),
            ("redis-sentinel://a?master=a&master=hunter2", "twice"),
            ("redis-sentinel://a?master=%ffhunter2", "no text"),
            ("redis-sentinel://a?master=a&hunter2", "none of master, sentinel_user, sentinel_password"),
            ("redis-sentinel://a?master=a&sentinel_user=hunter2", "sentinel_password"),
            ("redis-sentinel://a/hunter2?master=a", "no number"),
        ] {
            let said = wrong(url);
            assert!(said.contains(why) && !said.contains("hunter2"), "{url}: {said}");
        }
    }

    #[test]
    fn a_credential_is_seen_wherever_it_stands() {
        for url in ["redis://u@a", "redis-cluster://:p@a,b", "redis-sentinel://a?master=m&sentinel_password=p"] {
            assert!(has_credential(url), "{url}");
        }
        for url in ["redis://a/1", "redis-cluster://a,b", "redis-sentinel://a?master=m"] {
            assert!(!has_credential(url), "{url}");
        }
    }
}
