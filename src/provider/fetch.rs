//! The one way to an issuer: bounded in time and size, to the hosts that the operator named, and to no address where a cloud keeps
//! its secrets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_NONE_MATCH,
};
use reqwest::{Certificate, Client, RequestBuilder, Response, StatusCode, Url, redirect};

/// How long one exchange may take. No decision waits that long; it only must not hang for ever.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Largest answer, in bytes: a set of a hundred RSA keys with certificate chains has 500 KiB.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// How many redirects within one host are followed: to another path, such as one with a slash at its end.
const MAX_REDIRECTS: usize = 3;

/// A client for one issuer.
#[derive(Debug, Clone)]
pub struct Fetcher {
    client: Client,
    allow_http: bool,
}

/// What came back.
#[derive(Debug)]
pub enum Fetched {
    /// A new document.
    New(Fresh),
    /// The same as before (304), and how long it may be kept from now on (RFC 9111 section 4.3.4).
    Same(Option<Duration>),
    /// None of this name (404 or 410).
    Absent,
}

/// A document, and what its server says of it.
#[derive(Debug)]
pub struct Fresh {
    /// The document.
    pub body: Vec<u8>,
    /// Its version, to be shown when it is asked for again.
    pub etag: Option<String>,
    /// How long it may be kept (`Cache-Control: max-age`, RFC 9111 section 5.2.2.1); none if that is not said, or not wanted.
    pub max_age: Option<Duration>,
}

impl Fetcher {
    /// A client that believes the system's authorities, or only those in the PEM file `ca`.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(allow_http: bool, ca: Option<&Path>) -> Result<Self, String> {
        Self::redirected(redirect::Policy::custom(within_one_host), allow_http, ca)
    }

    /// The same for what carries a secret: no redirect is followed.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn for_secrets(allow_http: bool, ca: Option<&Path>) -> Result<Self, String> {
        Self::redirected(redirect::Policy::none(), allow_http, ca)
    }

    fn redirected(redirects: redirect::Policy, allow_http: bool, ca: Option<&Path>) -> Result<Self, String> {
        // No proxy from the environment: it would see, and could exchange, what decides whom we trust.
        let client = Client::builder().timeout(TIMEOUT).connect_timeout(CONNECT_TIMEOUT).no_proxy();
        let mut client = client.redirect(redirects).dns_resolver(Resolver);
        if let Some(ca) = ca {
            let pem = std::fs::read(ca).map_err(|error| format!("{} cannot be read: {error}", ca.display()))?;
            let certificates = Certificate::from_pem_bundle(&pem).ok().filter(|list| !list.is_empty());
            let certificates = certificates.ok_or_else(|| format!("{} holds no certificate in PEM", ca.display()))?;
            client = client.tls_certs_only(certificates);
        }
        let client = client.build().map_err(|error| format!("no client can be made: {error}"))?;
        Ok(Self { client, allow_http })
    }

    /// A URL that this client may ask. The text is not repeated in an error: it may hold a credential.
    ///
    /// # Errors
    /// Why it may not.
    pub fn url(&self, text: &str) -> Result<Url, String> {
        let url = Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?;
        if url.username() != "" || url.password().is_some() {
            return Err("the URL holds a credential, which would end in logs".to_owned());
        }
        if url.scheme() != "https" && !(self.allow_http && url.scheme() == "http") {
            return Err("this is not https: whoever is on the way could read and change what is said".to_owned());
        }
        if literal_address(&url).is_some_and(is_refused) {
            return Err("at this address are no issuers, but link-local services such as a cloud's metadata".to_owned());
        }
        Ok(url)
    }

    /// Gets a document, unless it is still the one of version `etag`.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get(&self, url: &Url, etag: Option<&str>) -> Result<Fetched, String> {
        let mut request = self.client.get(url.clone());
        if let Some(etag) = etag {
            request = request.header(IF_NONE_MATCH, etag);
        }
        let response = send(request).await?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if etag.is_some() => return Ok(Fetched::Same(max_age(response.headers()))),
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(Fetched::Absent),
            status => return Err(format!("the answer is {status}")),
        }
        let etag = response.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let max_age = max_age(response.headers());
        Ok(Fetched::New(Fresh { body: body(response).await?, etag, max_age }))
    }

    /// Posts a form and returns the JSON text of the answer, which must be 200 and call itself that.
    ///
    /// # Errors
    /// Why there is none. Nothing of the form, of `authorization` or of the answer's body is repeated in it.
    pub async fn post(&self, url: &Url, form: String, authorization: Option<HeaderValue>) -> Result<Vec<u8>, String> {
        let request = self.client.post(url.clone()).header(ACCEPT, JSON).header(CONTENT_TYPE, FORM).body(form);
        let request = match authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        };
        let response = send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        if !is_json(response.headers()) {
            return Err("the answer does not call itself application/json".to_owned());
        }
        body(response).await
    }
}

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

async fn send(request: RequestBuilder) -> Result<Response, String> {
    request.send().await.map_err(|error| root_cause(&error.without_url()))
}

async fn body(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| root_cause(&error.without_url()))? {
        if body.len().saturating_add(chunk.len()) > MAX_BODY_BYTES {
            return Err(format!("the answer is longer than {MAX_BODY_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Whether the one `Content-Type` is JSON, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let only = types.next().filter(|_| types.next().is_none()).and_then(|one| one.to_str().ok());
    only.is_some_and(|one| one.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON))
}

/// The keys come from where the operator said, or not at all.
fn within_one_host(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let origin = attempt.previous().first().map(Url::origin);
    if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("too many redirects")
    } else if origin != Some(attempt.url().origin()) {
        attempt.error("it redirects to another host")
    } else {
        attempt.follow()
    }
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let directives = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut age = None;
    for directive in directives.flat_map(|value| value.split(',')).map(str::trim) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        if name.eq_ignore_ascii_case("no-cache") || name.eq_ignore_ascii_case("no-store") {
            return None;
        }
        if name.eq_ignore_ascii_case("max-age") {
            age = value.trim_matches('"').parse().ok().map(Duration::from_secs);
        }
    }
    age
}

/// The innermost reason, which is the one that says something.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

fn literal_address(url: &Url) -> Option<IpAddr> {
    let host = url.host_str()?;
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// Where clouds answer whoever asks from inside with the machine's own credentials, beside the link-local ranges: Alibaba, Oracle,
/// Azure; Amazon (all of its services are there) and Google over IPv6.
const METADATA: [IpNet; 5] = [
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(100, 100, 100, 200), 32)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 192), 32)),
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(168, 63, 129, 16), 32)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0), 32)),
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254), 128)),
];

/// Whether no issuer can be there. Private addresses are not refused: in a cluster issuers have them.
fn is_refused(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => {
            let this_network = Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8);
            v4.is_link_local() || v4.is_multicast() || v4.is_broadcast() || this_network.contains(&v4)
        }
        IpAddr::V6(v6) => {
            let leads_there = embedded(v6).any(|v4| is_refused(IpAddr::V4(v4)));
            leads_there || v6.is_unicast_link_local() || v6.is_multicast() || v6.is_unspecified()
        }
    };
    special || METADATA.iter().any(|network| network.contains(&address))
}

/// The IPv4 addresses to which an IPv6 address may lead: mapped, compatible (RFC 4291 section 2.5.5), translated (RFC 2765), by 6to4
/// (RFC 3056), and by the prefixes of NAT64: the well-known one (RFC 6052), and the one for local use (RFC 8215), of whose lengths
/// nobody here knows.
fn embedded(v6: Ipv6Addr) -> impl Iterator<Item = Ipv4Addr> {
    const WHOLE: [usize; 4] = [12, 13, 14, 15];
    const FORMS: [(Ipv6Net, [usize; 4]); 9] = [
        (prefix([0, 0, 0, 0, 0, 0xffff], 96), WHOLE),
        (prefix([0, 0, 0, 0, 0, 0], 96), WHOLE),
        (prefix([0, 0, 0, 0, 0xffff, 0], 96), WHOLE),
        (prefix([0x2002, 0, 0, 0, 0, 0], 16), [2, 3, 4, 5]),
        (prefix([0x64, 0xff9b, 0, 0, 0, 0], 96), WHOLE),
        (prefix([0x64, 0xff9b, 1, 0, 0, 0], 48), WHOLE),
        (prefix([0x64, 0xff9b, 1, 0, 0, 0], 48), [6, 7, 9, 10]),
        (prefix([0x64, 0xff9b, 1, 0, 0, 0], 48), [7, 9, 10, 11]),
        (prefix([0x64, 0xff9b, 1, 0, 0, 0], 48), [9, 10, 11, 12]),
    ];
    let octets = v6.octets();
    let at = move |place: usize| octets.get(place).copied().unwrap_or_default();
    let forms = FORMS.into_iter().filter(move |(network, _)| network.contains(&v6));
    // `::1` is this machine and leads nowhere else; and of the places for local use some hold nothing.
    let is_mapped = v6.to_ipv4_mapped().is_some();
    forms.map(move |(_, places)| Ipv4Addr::from(places.map(at))).filter(move |v4| is_mapped || v4.to_bits() > 0xff)
}

const fn prefix(start: [u16; 6], length: u8) -> Ipv6Net {
    let [a, b, c, d, e, f] = start;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, 0, 0), length)
}

/// The system's resolver, without the addresses at which no issuer can be: a name must not lead there either.
#[derive(Debug)]
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> = found.filter(|address| !is_refused(address.ip())).collect();
            if allowed.is_empty() {
                return Err("its name leads to no address that may be asked".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t_f9_no_address_of_a_metadata_service_is_asked_however_it_is_written() {
        let fetcher = Fetcher::new(true, None).expect("a client");
        for host in [
            "169.254.169.254",
            "169.254.170.2",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "[::ffff:169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fe80::1]",
            "[::ffff:0.0.0.0]",
            "[::a9fe:a9fe]",
            "[2002:a9fe:a9fe::]",
            "[2002:a9fe:a9fe:1::5]",
            "[::ffff:0:a9fe:a9fe]",
            "[64:ff9b:1::a9fe:a9fe]",
            "[64:ff9b:1:a9fe:a9:fe00::]",
            "[64:ff9b:1:ff:a9:fea9:fe00:0]",
            "[64:ff9b::a83f:8110]",
            "168.63.129.16",
            "[fd00:ec2::254]",
            "[fd00:ec2::23]",
            "[fd00:ec2:1::1]",
            "[fd20:ce::254]",
            "100.100.100.200",
            "0.0.0.0",
            "0.1.2.3",
            "[::]",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(fetcher.url(&format!("https://{host}/jwks")).is_err(), "{host}");
        }
        for host in [
            "127.0.0.1",
            "10.0.0.1",
            "[fd00::1]",
            "192.168.1.1",
            "id.example.com",
            "[::1]",
            "168.63.129.17",
            "[fd20:ce::1]",
        ] {
            assert!(fetcher.url(&format!("https://{host}/jwks")).is_ok(), "{host}");
        }
        for host in ["[64:ff9b::808:808]", "[64:ff9b:1::808:808]", "[64:ff9b:1:808:8:800::]", "[2002:808:808::1]"] {
            assert!(fetcher.url(&format!("https://{host}/jwks")).is_ok(), "{host}");
        }
        for url in ["file:///etc/passwd", "gopher://x/", "https://user:pw@host/", "jwks", "ftp://h/x", "https://"] {
            assert!(fetcher.url(url).is_err(), "{url}");
        }
        assert!(Fetcher::new(false, None).expect("a client").url("http://id.example.com/").is_err());
    }

    #[test]
    fn how_long_a_document_may_be_kept() {
        let age = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(CACHE_CONTROL, reqwest::header::HeaderValue::from_static(value));
            }
            max_age(&headers).map(|age| age.as_secs())
        };
        assert_eq!(age(&["public, max-age=300"]), Some(300));
        assert_eq!(age(&["public", "Max-Age=\"60\""]), Some(60));
        for none in [&[][..], &["no-cache"], &["max-age=60, no-store"], &["max-age=x"], &["max-age=-1"], &["max-age"]] {
            assert_eq!(age(none), None, "{none:?}");
        }
    }
}
