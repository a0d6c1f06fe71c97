//! The component `k8s/redis`: what it adds, and two real Traefiks and two real gates that share their buckets on a real Redis, which is
//! started with the arguments of the manifest. Debian's Redis stands in for the Valkey of the image.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use deadpool_redis::redis;
use serde_json::{Value, json};

use super::manifests::{list, names, of_kind_in, text};
use super::{Certificates, SERVICES, bearer, gate, here, shipped};
use crate::support::cluster::{Cluster, MANIFESTS_WITH_REDIS, OBJECTS, OBJECTS_WITH_REDIS, object, object_of, yaml};
use crate::support::gate::{Config, Gate, within};
use crate::support::proxy::root;
use crate::support::raw;
use crate::support::redis::Server;
use crate::support::upstream::Upstream;

const PASSWORD: &str = "b1946ac92492d2347c6235b4d2611184";
const URL_FILE: &str = "PORTCULLIS__LIMITS__STORE__REDIS__URL_FILE";

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

    // The gate has one more folder and two variables, and is otherwise as it was.
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
    let container = pod.pointer_mut("/containers/0").and_then(Value::as_object_mut).expect("a container");
    let max = object("HorizontalPodAutoscaler", "gate")["spec"]["maxReplicas"].to_string();
    let variables = json!([
        {"name": URL_FILE, "value": "/etc/portcullis-redis/url"},
        {"name": "PORTCULLIS__LIMITS__REPLICAS", "value": max},
    ]);
    assert_eq!(container.remove("env"), Some(variables));
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

/// What is in its file, at the place where this Redis is.
fn url_of(redis: &Server) -> String {
    let secret = secret(PASSWORD);
    text(&secret["stringData"]["url"]).replace("redis.shop.svc:6379", &redis.address().to_string())
}

/// With the environment of the manifest. The file of the Secret lies beside the others here, and holds this.
fn in_its_environment(config: Config, url: &str) -> Config {
    let container = &with_redis("Deployment", "gate")["spec"]["template"]["spec"]["containers"][0];
    let variables = list(&container["env"]).iter();
    variables.fold(config.file("url", url), |config, variable| {
        match (text(&variable["name"]), text(&variable["value"])) {
            (URL_FILE, _) => config.env(URL_FILE, "url"),
            (name, value) => config.env(name, value),
        }
    })
}

#[test]
fn the_shipped_files_are_good_in_the_gates_environment() {
    let shipped = shipped(&Certificates::of("gate.shop.svc"));
    let url = "redis://default:secret@redis.shop.svc:6379/0";
    let (code, said) = in_its_environment(shipped.clone(), url).check();
    assert_eq!(code, 0, "{said}");
    // What is there is read.
    for (variable, value, complaint) in
        [(URL_FILE, "elsewhere", "elsewhere"), ("PORTCULLIS__LIMITS__REPLICAS", "none", "PORTCULLIS__LIMITS__REPLICAS")]
    {
        let (code, said) = in_its_environment(shipped.clone(), url).env(variable, value).check();
        assert!(code != 0 && said.contains(complaint), "{said}");
    }
    let (code, said) = in_its_environment(shipped, "amqp://redis.shop.svc").check();
    assert!(code != 0 && said.contains("this is no URL of a Redis"), "{said}");
}

#[tokio::test]
async fn two_gates_of_the_manifests_share_a_bucket() {
    let mut redis = redis().await;
    // Not of the manifest: a busy machine may take longer.
    let config = in_its_environment(here(&Certificates::of("127.0.0.1")), &url_of(&redis));
    let config = config.env("PORTCULLIS__LIMITS__TIMEOUT", "400ms");
    let gates = [Gate::start(&config), Gate::start(&config)];
    for gate in &gates {
        within("counted", async || gate.metric("portcullis_limits_replicas").await == Some(2.0)).await;
    }
    let limit = &yaml("k8s/gate/policy.yaml")["limits"][0];
    assert_eq!([&limit["by"], &limit["period"], &limit["burst"]], [&json!("user"), &json!("1min"), &Value::Null]);
    let capacity = limit["rate"].as_u64().expect("a number");
    let alice = bearer("alice", "user");
    let facts = [
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/products"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
        ("Authorization", &*alice),
    ];
    // How many pass of more than the bucket holds, asked of these in turn; and how many may have come in meanwhile.
    let passed = async |gates: &[&Gate]| {
        let mut asking = Vec::new();
        for gate in gates {
            asking.push(raw::Client::tls(gate.decisions()).keep().await);
        }
        let (begun, mut passed, mut number) = (Instant::now(), 0, 0);
        loop {
            let next = number % asking.len();
            match asking[next].get("/validate", &facts).await.status {
                200 => passed += 1,
                429 => return (passed, begun.elapsed().as_secs_f64() * capacity as f64 / 60.0),
                other => panic!("{other}: {}", gates[next].log()),
            }
            number += 1;
        }
    };
    let (together, came_in) = passed(&[&gates[0], &gates[1]]).await;
    let range = capacity..=capacity + came_in as u64;
    assert!(range.contains(&together), "{together} of {range:?}");
    let mut counted = 0.0;
    for gate in &gates {
        assert_eq!(gate.metric("portcullis_limits_fallbacks_total").await, Some(0.0), "{}", gate.log());
        let allowed = gate.metric("portcullis_limits_total{limit=\"per-user\",result=\"allowed\"}").await;
        assert!(allowed >= Some(capacity as f64 / 2.0), "{allowed:?}");
        counted += allowed.expect("a sample");
    }
    assert_eq!(counted, together as f64);

    // One that never found Redis lets its part of the most that there may be through.
    redis.kill();
    let replicas = object("HorizontalPodAutoscaler", "gate")["spec"]["maxReplicas"].as_u64().expect("a number");
    let (alone, came_in) = passed(&[&Gate::start(&config)]).await;
    let range = capacity / replicas..=capacity / replicas + came_in as u64;
    assert!(range.contains(&alone), "{alone} of {range:?}");
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
    let url = url_of(&redis);
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
