//! The gate behind a real Traefik, Envoy, nginx and Caddy, with the files that users copy.
//!
//! What must hold behind all of them is one function over [`shop::Kind`], and eight tests of it: with TLS between client, proxy and gate,
//! as shipped, and with plain HTTP in both places. What a proxy cannot carry, or does
//! otherwise on purpose, stands where it is tested; here is all of it:
//!
//! | what | who does otherwise | why |
//! |---|---|---|
//! | `..`, `.`, `//` are resolved | nginx, Caddy: 400 `ambiguous_path` | the gate and the servers are given the target as it came |
//! | `..;` is refused | Envoy resolves it | its way of normalising |
//! | encoded `/ \ ; % ?` and wrong escapes are 400 | all, but some themselves and some by the gate | Traefik refuses all, Envoy `/` and `\`, nginx and Caddy wrong escapes |
//! | bytes outside ASCII are escaped | Envoy, nginx: 400 | Envoy takes none; nginx escapes none, and the gate takes none |
//! | two `Authorization` lines are the gate's to refuse, 400 | nginx: 400 of its own | it takes one at most |
//! | 150 headers are passed | Envoy, Caddy: 431 | Envoy takes 100; Caddy cannot be told which to show the gate, and that takes 96 |
//! | a header named in `Connection` is taken off | nginx, Caddy leave it | nginx cannot; Caddy would take off the gate's word, so the list is cut |
//! | unknown methods are the gate's to judge | Envoy: 400 | its HTTP/1.1 parser knows the registered ones |
//! | HTTP/1.0 is served | Envoy: 426 | off by default |
//! | `CONNECT` is 501 | Envoy: 404, nginx: 400, Caddy: 400 of the gate | no route, no method, a method like any |
//! | the body of a refusal is the gate's | nginx writes its own of the same form, with the gate's status, challenge and `Retry-After` | `auth_request` throws the gate's away |
//! | a body to `HEAD` is announced | Envoy: no type, chunked | its own answer |
//! | `X-Request-ID` of an allowed request reaches the client | Traefik | forwardAuth copies nothing to the client |
//! | how much is left of the gate's limits (`RateLimit`) reaches the client of an allowed request | Traefik | the same |
//! | without the gate 503 | Traefik: 500, Caddy: 502 | cannot be set |
//! | while the gate hangs 503 within a second | Traefik: waits 30 s, Caddy: 504 | cannot be set |
//! | a health check takes a dead server out | nginx: the request that finds out goes to the other server | the open edition has no checks |
//! | a limit of the rate, by client | Caddy has none | needs a module |
//! | requests in flight, by client | Envoy per cluster, Caddy per server: 503 | no such count by client |
//! | requests in flight, by user (`in-flight-user`) | Traefik only | nginx counts before it asks the gate, the others by no client |
//! | one bucket for several replicas (`rate-shared`) | Traefik only | the others count in their own memory |
//! | two steps (`/authn`, `/authz`) | Traefik only | nothing of it depends on the proxy |
//! | plain HTTP is redirected | Traefik only | the others' files have no plain listener |
//! | HTTP/2 without TLS | nginx: none | 1.22 cannot serve both versions on one plain port |
//! | a refused gRPC call is told in gRPC's own terms | Envoy only | the others relay the HTTP status |

pub(crate) mod shop;

mod chain;
mod demo;
mod encrypted;
mod identity;
mod limited;
mod limits;
mod load_balancer;
mod outage;
mod parity;
mod paths;
mod policy;
mod refusals;
mod request_id;
mod transports;
