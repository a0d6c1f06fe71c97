//! The component `k8s/redis`: what it adds, and two real Traefiks that share a bucket on a real Redis, which is started with the
//! arguments of the manifest. Debian's Redis stands in for the Valkey of the image.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deadpool_redis::redis;
use serde_json::{Value, json};

use super::manifests::{list, names, of_kind_in, text};
use super::{Certificates, SERVICES, bearer, gate};
use crate::support::cluster::{Cluster, MANIFESTS_WITH_REDIS, OBJECTS, OBJECTS_WITH_REDIS, object, object_of};
use crate::support::gate::{Gate, within};
use crate::support::proxy::root;
use crate::support::raw;
use crate::support::redis::Server;
use crate::support::upstream::Upstream;

const PASSWORD: &str = "b1946ac92492d2347c6235b4d2611184";

fn with_redis(kind: &str, name: &str) -> &'static Value {
    object_of(&OBJECTS_WITH_REDIS, kind, name)
}

#[test]
fn the_component_adds_redis_and_changes_the_routes_and_the_gate_only() {
    let key = |object: &Value| format!("{} {}", text(&object["kind"]), text(&object["metadata"]["name"]));
    let keys = |objects: &[Value]| objects.iter().map(key).collect::<BTreeSet<_>>();
    let (before, after) = (keys(&OBJECTS), keys(&OBJECTS_WITH_REDIS));
    let added: Vec<&String> = after.difference(&before).collect();
    assert_eq!(added, ["Deployment redis", "Middleware rate-shared", "NetworkPolicy redis", "Service redis"]);
    // No password is among them.
    assert_eq!(of_kind_in(&OBJECTS_WITH_REDIS, "Secret").count(), 0);

    let mut changed = Vec::new();
    for object in OBJECTS.iter() {
        let same = OBJECTS_WITH_REDIS.iter().find(|other| key(other) == key(object));
        if same.unwrap_or_else(|| panic!("{} is gone", key(object))) != object {
            changed.push(key(object));
        }
    }
    changed.sort_unstable();
    assert_eq!(changed, ["Deployment gate", "IngressRoute shop"]);

    // Each route has the shared limit where it had the other one.
    let route = object("IngressRoute", "shop");
    let mut expected = route.clone();
    let mut exchanged = 0;
    for route in expected["spec"]["routes"].as_array_mut().expect("routes") {
        for reference in route["middlewares"].as_array_mut().expect("middlewares") {
            if reference["name"] == "rate" {
                reference["name"] = json!("rate-shared");
                exchanged += 1;
            }
        }
    }
    assert_eq!(exchanged, list(&route["spec"]["routes"]).len());
    assert_eq!(with_redis("IngressRoute", "shop"), &expected);
    for route in list(&expected["spec"]["routes"]) {
        assert_eq!(names(&route["middlewares"])[..3], ["strip", "rate-shared", "in-flight"]);
    }

    // The gate has one more folder, and is otherwise as it was.
    let mut gate = with_redis("Deployment", "gate").clone();
    let pod = &mut gate["spec"]["template"]["spec"];
    let mut take = |pointer: &str| {
        let list = pod.pointer_mut(pointer).and_then(Value::as_array_mut).expect("a list");
        let at = list.iter().position(|member| member["name"] == "redis").expect("one about Redis");
        list.remove(at)
    };
    let (volume, mount) = (take("/volumes"), take("/containers/0/volumeMounts"));
    assert_eq!(
        volume,
        json!({"name": "redis", "secret": {"secretName": "redis", "items": [{"key": "url", "path": "url"}]}})
    );
    assert_eq!(mount, json!({"name": "redis", "mountPath": "/etc/portcullis-redis", "readOnly": true}));
    assert_eq!(&gate, object("Deployment", "gate"));
}

/// The line that makes the Secret makes all that is read of it, under the names by which it is read.
#[test]
fn the_secret_is_made_as_it_is_read() {
    let made = secret_line();
    let keys: BTreeSet<&str> = made.iter().map(|(key, _)| key.as_str()).collect();
    let redis = &with_redis("Deployment", "redis")["spec"]["template"]["spec"]["containers"][0];
    let of_server = list(&redis["env"]).iter().map(|variable| {
        let from = &variable["valueFrom"]["secretKeyRef"];
        assert_eq!(from["name"], "redis", "{variable}");
        text(&from["key"])
    });
    // Traefik reads the first two.
    let read = ["username", "password", "url"].into_iter().chain(of_server);
    assert_eq!(keys, read.collect());
    let service = &with_redis("Service", "redis");
    let at = format!("redis.{}.svc:{}", text(&service["metadata"]["namespace"]), service["spec"]["ports"][0]["port"]);
    let (_, url) = made.iter().find(|(key, _)| key == "url").expect("a URL");
    assert_eq!(url, &format!("redis://default:$PASSWORD@{at}/0"));
    assert_eq!(with_redis("Middleware", "rate-shared")["spec"]["rateLimit"]["redis"]["endpoints"], json!([at]));
}

/// Keys and values in the line of `kubectl create secret`.
fn secret_line() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("k8s/redis/kustomization.yaml")).expect("text");
    let mut lines = text.lines().filter(|line| line.contains("create secret generic redis "));
    let (line, other) = (lines.next().expect("the line"), lines.next());
    assert!(line.starts_with("#   kubectl --namespace shop ") && other.is_none(), "{line} {other:?}");
    let literals = line.split(" --from-literal=").skip(1).map(|literal| {
        let (key, value) = literal.split_once('=').expect("a key and a value");
        (key.to_owned(), value.trim_matches('"').to_owned())
    });
    literals.collect()
}

#[test]
fn only_the_gate_and_traefik_reach_redis() {
    let pod = &with_redis("Deployment", "redis")["spec"]["template"];
    let labels = &pod["metadata"]["labels"];
    let service = &with_redis("Service", "redis")["spec"];
    assert_eq!(&service["selector"], labels);
    let port = &pod["spec"]["containers"][0]["ports"][0];
    assert_eq!((&service["ports"][0]["targetPort"], &port["containerPort"]), (&port["name"], &json!(6379)));

    let opening = of_kind_in(&OBJECTS_WITH_REDIS, "NetworkPolicy").filter(|policy| {
        let all = policy["spec"]["podSelector"] == json!({});
        let ports = list(&policy["spec"]["ingress"]).iter().flat_map(|rule| list(&rule["ports"]));
        (all || policy["spec"]["podSelector"]["matchLabels"] == *labels)
            && ports.clone().any(|open| open["port"] == 6379)
    });
    let opening: Vec<&Value> = opening.collect();
    assert_eq!(opening, [with_redis("NetworkPolicy", "redis")]);
    let gate = &with_redis("Deployment", "gate")["spec"]["template"]["metadata"]["labels"];
    let of_gate = [json!({"podSelector": {"matchLabels": gate}})];
    let of_traefik = list(&object("NetworkPolicy", "only-traefik")["spec"]["ingress"][0]["from"]);
    let from = [&of_gate, of_traefik].concat();
    let rule = json!({"from": from, "ports": [{"port": 6379, "protocol": "TCP"}]});
    assert_eq!(opening[0]["spec"]["ingress"], json!([rule]));
    assert_eq!(opening[0]["spec"]["policyTypes"], json!(["Ingress"]));
}

#[test]
fn there_is_one_redis_and_it_is_asked_with_its_password_whether_it_is_ready() {
    let deployment = &with_redis("Deployment", "redis")["spec"];
    assert_eq!((&deployment["replicas"], &deployment["strategy"]), (&json!(1), &json!({"type": "Recreate"})));
    let container = &deployment["template"]["spec"]["containers"][0];
    assert_eq!(container["command"], json!(["valkey-server"]));
    assert_eq!(container["readinessProbe"]["exec"]["command"], json!(["valkey-cli", "-e", "ping"]));
    let variables: Vec<&str> = list(&container["env"]).iter().map(|variable| text(&variable["name"])).collect();
    assert_eq!(variables, ["PASSWORD", "VALKEYCLI_AUTH", "REDISCLI_AUTH"]);
    assert_eq!(container["resources"]["limits"]["memory"], "128Mi");
}

/// The arguments of the manifest, with what the kubelet puts in.
async fn redis() -> Server {
    let container = &with_redis("Deployment", "redis")["spec"]["template"]["spec"]["containers"][0];
    let arguments = list(&container["args"]).iter().map(|argument| text(argument).replace("$(PASSWORD)", PASSWORD));
    Server::start_as(&arguments.collect::<Vec<_>>()).await
}

/// The Secret, with this password.
fn secret(password: &str) -> Value {
    let data = secret_line().into_iter().map(|(key, value)| (key, json!(value.replace("$PASSWORD", password))));
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": {"name": "redis", "namespace": "shop"},
        "stringData": data.collect::<serde_json::Map<_, _>>(),
    })
}

fn both(secrets: [Value; 2]) -> Value {
    json!({"apiVersion": "v1", "kind": "List", "items": secrets})
}

/// The manifests with Redis, served to some Traefiks.
struct Shop {
    clusters: Vec<Cluster>,
    certificates: Certificates,
    gate: Gate,
    upstream: Upstream,
}

impl Shop {
    async fn on(redis: &Server, traefiks: usize) -> Self {
        let certificates = Certificates::of("127.0.0.1");
        let (gate, upstream) = (gate(&certificates), Upstream::named("all").await);
        let mut endpoints: Vec<(&str, SocketAddr)> = SERVICES.map(|name| (name, upstream.address())).to_vec();
        endpoints.extend([("gate", gate.decisions()), ("redis", redis.address())]);
        let secrets = both([certificates.secret(), secret(PASSWORD)]);
        let mut clusters = Vec::new();
        for _ in 0..traefiks {
            clusters.push(Cluster::of(&MANIFESTS_WITH_REDIS, &endpoints, Some(&secrets)).await);
        }
        Self { clusters, certificates, gate, upstream }
    }

    /// A client of each Traefik, at the address 127.7.0.`last`.
    fn clients(&self, last: u8) -> Vec<raw::Client> {
        self.clusters.iter().map(|cluster| cluster.traefik.raw().with_source([127, 7, 0, last])).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_traefiks_and_all_routes_count_in_one_bucket() {
    let redis = redis().await;
    let shop = Shop::on(&redis, 2).await;
    let alice = bearer("alice", "user");
    let asked = shop.clients(1);
    let targets = ["/products", "/orders", "/api/service-a/items"];
    let begin = Instant::now();
    let mut passed = 0;
    let refused = loop {
        let (client, target) = (&asked[passed % asked.len()], targets[passed % targets.len()]);
        let response = client.get(target, &[("Authorization", &alice)]).await;
        match response.status {
            200 => passed += 1,
            _ => break response,
        }
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    // One comes back each 3 s, and is given up to half a second early.
    let refilled = usize::try_from((begin.elapsed() + Duration::from_millis(500)).as_secs() / 3).expect("few");
    assert!((40..=40 + refilled).contains(&passed), "{passed} in {:?}", begin.elapsed());
    assert_eq!(shop.upstream.take_requests().len(), passed);
    assert!(!shop.gate.audit().is_empty(), "the gate was asked");
    for client in shop.clients(2) {
        assert_eq!(client.get("/products", &[("Authorization", &alice)]).await.status, 200, "another client");
    }

    // Nobody is let in without the password, and with it Redis is as the manifest says.
    let url = secret(PASSWORD)["stringData"]["url"].as_str().expect("text").to_owned();
    let url = url.replace("redis.shop.svc:6379", &redis.address().to_string());
    let ask = async |url: &str, words: &[&str]| -> redis::RedisResult<Vec<String>> {
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await
    };
    let (name, buckets) = ("rate:shop-rate-shared@kubernetescrd:127.7.0.1", ask(&url, &["KEYS", "*"]).await);
    assert!(buckets.expect("a list").contains(&name.to_owned()));
    for (setting, value) in
        [("maxmemory-policy", "noeviction"), ("maxmemory", "67108864"), ("save", ""), ("appendonly", "no")]
    {
        assert_eq!(ask(&url, &["CONFIG", "GET", setting]).await.expect("a pair"), [setting, value]);
    }
    let stranger = ask(&redis.url(), &["KEYS", "*"]).await.expect_err("no password");
    assert!(stranger.to_string().to_ascii_lowercase().contains("auth"), "{stranger}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_right_password_nothing_is_served() {
    let redis = redis().await;
    let shop = Shop::on(&redis, 1).await;
    let alice = bearer("alice", "user");
    let (cluster, client) = (&shop.clusters[0], shop.clients(1)[0]);
    let ask = async || {
        let mut statuses = BTreeSet::new();
        for target in ["/products", "/orders", "/health", "/authentication/login"] {
            statuses.insert(client.get(target, &[("Authorization", &alice)]).await.status);
        }
        statuses
    };
    assert_eq!(ask().await, BTreeSet::from([200]));
    shop.upstream.take_requests();

    // No Secret, no such middleware, and no route that names it.
    cluster.exchange(&shop.certificates.secret()).await;
    within("Traefik misses the Secret", async || ask().await == BTreeSet::from([404])).await;
    shop.upstream.take_requests();
    cluster.exchange(&both([shop.certificates.secret(), secret("wrong")])).await;
    within("Traefik takes up the wrong password", async || ask().await == BTreeSet::from([500])).await;
    assert_eq!(shop.upstream.take_requests().len(), 0, "served without having been counted");
    cluster.exchange(&both([shop.certificates.secret(), secret(PASSWORD)])).await;
    within("Traefik takes up the right one", async || ask().await == BTreeSet::from([200])).await;
}
