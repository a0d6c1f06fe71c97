//! Issuers that are asked about tokens.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretSlice, SecretString};

use super::keys::{url_remedy, without_line_feed};
use super::{Stage, read};
use crate::config::environment;
use crate::config::settings::IssuerFile;
use crate::config::settings::issuers::{AskedAbout, IntrospectionFile, Preset};
use crate::introspection::Introspector;
use crate::introspection::exchange::{Client, Exchange};
use crate::keys::file::MAX_KEY_FILE_BYTES;
use crate::provider::discovery::{Discovery, Place};
use crate::token::Issuer;
use crate::token::issuer::{Asked, is_b64token};

/// How long an active token is believed to stay so: a revoked one goes on for that long. A minute is what most gateways take; asking
/// about each token oftener than that is what the cache is there to avoid.
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(60);
/// After an hour without asking it would matter little whether one ever asked.
const MAX_MAX_AGE: Duration = Duration::from_secs(3600);

/// How long an inactive token is believed to stay so. Short, since an issuer's replica may not have heard yet of a new token.
const DEFAULT_NEGATIVE_MAX_AGE: Duration = Duration::from_secs(10);
const MAX_NEGATIVE_MAX_AGE: Duration = Duration::from_secs(300);

const MIN_AGE: Duration = Duration::from_secs(1);

impl Stage {
    /// About which tokens an issuer is asked, if it is; how, is kept for later.
    pub(super) fn asked(&mut self, file: &IssuerFile, at: &str) -> Option<Asked> {
        let Some(asking) = &file.introspection else {
            self.introspectors.push(None);
            return None;
        };
        let at = format!("{at}.introspection");
        let introspector = self.introspector(file, asking, &at);
        self.introspectors.push(introspector);
        let about = asking.about.as_deref().unwrap_or(&[AskedAbout::Opaque]);
        let (opaque, jwts) = (about.contains(&AskedAbout::Opaque), about.contains(&AskedAbout::Jwt));
        if about.is_empty() {
            self.add(format!("{at}.about"), "it would be asked about no token", "write [opaque], [jwt] or both");
        }
        if let Some(prefix) = &asking.token_prefix {
            let key = format!("{at}.token_prefix");
            if !opaque {
                self.add(key, "it is asked about JWTs only", "remove it, or add opaque to `about`");
            } else if !is_b64token(prefix) || prefix.ends_with('=') {
                let remedy = "write the text that its opaque tokens begin with: letters, digits and -._~+/";
                self.add(key, "no token begins so", remedy);
            }
        }
        if asking.danger_no_audience && file.danger_any_audience {
            self.add(format!("{at}.danger_no_audience"), "with `danger_any_audience` none is asked for", "remove it");
        }
        if asking.danger_no_token_type && file.preset == Some(Preset::Keycloak) {
            let what = "Keycloak tells the kind by the claim `typ`";
            self.add(format!("{at}.danger_no_token_type"), what, "remove it");
        }
        Some(Asked {
            opaque: opaque.then(|| asking.token_prefix.as_deref().unwrap_or_default().into()),
            jwts,
            may_lack_audience: asking.danger_no_audience,
            may_lack_type: asking.danger_no_token_type,
        })
    }

    /// Each opaque token must be one issuer's, or it would be shown to another one.
    pub(super) fn opaque_tokens_are_told_apart(&mut self, issuers: &[Issuer]) {
        let prefixes: Vec<(usize, &str)> = issuers
            .iter()
            .enumerate()
            .filter_map(|(index, issuer)| Some((index, issuer.asked.as_ref()?.opaque.as_deref()?)))
            .collect();
        for (place, (index, own)) in prefixes.iter().enumerate() {
            let mut earlier = prefixes.iter().take(place);
            if earlier.any(|(_, other)| own.starts_with(other) || other.starts_with(own)) {
                self.add(
                    format!("issuers[{index}].introspection"),
                    "another issuer is asked about opaque tokens, too, and nothing tells whose a token is",
                    "write at each a `token_prefix` with which its tokens begin, none the beginning of another",
                );
            }
        }
    }

    fn introspector(&mut self, file: &IssuerFile, asking: &IntrospectionFile, at: &str) -> Option<Introspector> {
        if !is_printable(&asking.client_id) {
            self.add(format!("{at}.client_id"), "this is no client id", "write the id that the issuer gave the gate");
        }
        let secret = self.client_secret(asking, at);
        let max_age = self.age(asking.max_age, DEFAULT_MAX_AGE, MAX_MAX_AGE, &format!("{at}.max_age"));
        let negative = asking.negative_max_age;
        let negative =
            self.age(negative, DEFAULT_NEGATIVE_MAX_AGE, MAX_NEGATIVE_MAX_AGE, &format!("{at}.negative_max_age"));
        let fetchers = self.fetcher(file).and_then(|fetcher| Ok((fetcher, self.discreet_fetcher(file)?)));
        let (fetcher, discreet) = match fetchers {
            Ok(both) => both,
            Err(why) => {
                // What is fetched by keys is told there.
                if file.keys.are_local() {
                    let index = at.strip_suffix(".introspection").unwrap_or(at);
                    self.add(format!("{index}.keys.ca_file"), why, "name a file with certificates in PEM");
                }
                return None;
            }
        };
        let discovered = !file.keys.are_local() && file.keys.jwks_url.is_none();
        let place = match &asking.url {
            Some(url) => match discreet.url(url) {
                Ok(url) => Place::Url(url),
                Err(why) => {
                    let remedy = url_remedy(file, asking.url.as_deref(), "write the issuer's introspection endpoint");
                    self.add(format!("{at}.url"), why, remedy);
                    return None;
                }
            },
            None if discovered => {
                // If it cannot be looked for, neither can its keys, and that is told.
                let found = Discovery::of(&file.issuer, file.keys.discovery_url.as_deref(), &fetcher);
                Place::Discovered(found.ok()?)
            }
            None => {
                let what = "its keys are named, so no metadata says where it is asked";
                self.add(at, what, "write the issuer's introspection endpoint as `url`");
                return None;
            }
        };
        let client = Client { id: asking.client_id.as_str().into(), secret: secret?, auth: asking.auth };
        let exchange = Exchange::new(place, client, fetcher, discreet);
        Some(Introspector::new(&file.name, exchange, max_age, negative))
    }

    fn age(
        &mut self,
        given: Option<crate::config::period::Period>,
        usual: Duration,
        most: Duration,
        at: &str,
    ) -> Duration {
        let age = given.map_or(usual, |period| period.0);
        if !(MIN_AGE..=most).contains(&age) {
            let (most, usual) = (humantime::format_duration(most), humantime::format_duration(usual));
            let remedy = format!("write a time from 1s to {most}; {usual} is usual");
            self.add(at, "this is no sensible time to believe an answer", remedy);
        }
        age
    }

    fn client_secret(&mut self, asking: &IntrospectionFile, at: &str) -> Option<SecretString> {
        let in_file = |path: &Path| {
            let path = self.path(path);
            let text = read(&path, MAX_KEY_FILE_BYTES as u64);
            let text = text.map_err(|why| format!("{}: {why}", path.display()))?;
            Ok(SecretSlice::from(without_line_feed(&text).to_vec()))
        };
        let (key, secret) = match (&asking.client_secret_file, &asking.client_secret_env) {
            (Some(path), None) => (".client_secret_file", in_file(path)),
            (None, Some(name)) => (".client_secret_env", environment::secret(name)),
            (None, None) => ("", Err("the gate has no secret to show who it is".to_owned())),
            (Some(_), Some(_)) => ("", Err("two secrets are named".to_owned())),
        };
        let text = secret.and_then(|secret| {
            let text = str::from_utf8(secret.expose_secret()).ok().filter(|text| is_printable(text));
            text.map(SecretString::from).ok_or_else(|| "the secret is empty or no text of one line".to_owned())
        });
        let remedy = "write one of client_secret_file, client_secret_env with the secret that the issuer gave the gate";
        text.map_err(|why| self.add(format!("{at}{key}"), why, remedy)).ok()
    }
}

/// Whether it may be a client's id or secret; in text of any language.
fn is_printable(text: &str) -> bool {
    !text.trim().is_empty() && !text.chars().any(char::is_control)
}
