//! Kubernetes without a cluster: the manifests of `k8s/` as kustomize builds them, served by `tests/kubernetes/kubeapi.py` to a
//! real Traefik that is started with the arguments of `k8s/traefik-values.yaml`. There are no pods: who listens behind a Service is
//! said by the test, and a name in the cluster's DNS becomes that address.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;

use super::proxy::{Port, Traefik, root, tool};
use super::raw;
use super::wire::Wire;

/// What `kubectl apply -k k8s` applies, as text.
pub(crate) static MANIFESTS: LazyLock<String> = LazyLock::new(|| build(&root().join("k8s")));

/// The same with the component `redis`, whose line is taken out of its comment as a user does it.
pub(crate) static MANIFESTS_WITH_REDIS: LazyLock<String> = LazyLock::new(|| {
    let folder = TempDir::new().expect("a temporary folder");
    let copied = Command::new("cp").arg("-r").arg(root().join("k8s")).arg(folder.path()).status();
    assert!(copied.expect("cp runs").success());
    let path = folder.path().join("k8s/kustomization.yaml");
    let text = fs::read_to_string(&path).expect("text");
    let (commented, line) = ("\n# components: [redis]\n", "\ncomponents: [redis]\n");
    assert_eq!(text.matches(commented).count(), 1, "{text}");
    fs::write(&path, text.replace(commented, line)).expect("written");
    build(&folder.path().join("k8s"))
});

fn build(folder: &Path) -> String {
    let output = Command::new(tool("kustomize")).arg("build").arg(folder).output().expect("kustomize runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// [`MANIFESTS`], object by object.
pub(crate) static OBJECTS: LazyLock<Vec<Value>> =
    LazyLock::new(|| serde_saphyr::from_multiple(&MANIFESTS).expect("objects in YAML"));

/// [`MANIFESTS_WITH_REDIS`], object by object.
pub(crate) static OBJECTS_WITH_REDIS: LazyLock<Vec<Value>> =
    LazyLock::new(|| serde_saphyr::from_multiple(&MANIFESTS_WITH_REDIS).expect("objects in YAML"));

/// The object of this kind and name; of a generated one the name before the hash.
pub(crate) fn object(kind: &str, name: &str) -> &'static Value {
    object_of(&OBJECTS, kind, name)
}

/// The same of some objects.
pub(crate) fn object_of<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let is_it = |found: &str| found == name || found.rsplit_once('-').is_some_and(|(begin, _)| begin == name);
    let mut found = objects.iter().filter(|object| object["kind"] == kind).filter(|object| {
        let full = object["metadata"]["name"].as_str().expect("a name");
        if kind == "ConfigMap" { is_it(full) } else { full == name }
    });
    let object = found.next().unwrap_or_else(|| panic!("k8s/ has no {kind} {name}"));
    assert!(found.next().is_none(), "two of {kind} {name}");
    object
}

/// A file of the repository in YAML.
pub(crate) fn yaml(name: &str) -> Value {
    let text = fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The arguments that the shipped values give to Traefik.
pub(crate) fn arguments() -> Vec<String> {
    let values = yaml("k8s/traefik-values.yaml");
    let list = values["additionalArguments"].as_array().expect("a list of arguments");
    list.iter().map(|argument| argument.as_str().expect("text").to_owned()).collect()
}

/// A Traefik in front of the manifests. Everything ends with the value.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) traefik: Traefik,
    api: Api,
    folder: TempDir,
}

impl Cluster {
    /// Serves [`MANIFESTS`], with these addresses behind Services of the namespace `shop`, and beside them another object, or none.
    ///
    /// # Panics
    /// When a program is missing or does not start.
    pub(crate) async fn start(endpoints: &[(&str, SocketAddr)], object: Option<&Value>) -> Self {
        Self::of(&MANIFESTS, endpoints, object).await
    }

    /// The same with other manifests. It counts as started when `/health` is served, as everywhere.
    pub(crate) async fn of(manifests: &str, endpoints: &[(&str, SocketAddr)], object: Option<&Value>) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::write(folder.path().join("manifests.yaml"), manifests).expect("written");
        put(&folder, object);
        let api = Api::start(&folder, endpoints);

        let ports = [Port::take(), Port::take()];
        let mut all = arguments();
        // What the chart says by itself, on this machine's ports.
        all.extend([
            format!("--entryPoints.web.address={}", ports[0].address()),
            format!("--entryPoints.websecure.address={}", ports[1].address()),
            format!("--providers.kubernetescrd.endpoint=http://127.0.0.1:{}", api.port),
            "--providers.kubernetescrd.token=none".to_owned(),
            // Changes arrive at once instead of after two seconds.
            "--providers.providersThrottleDuration=50ms".to_owned(),
        ]);
        let traefik = Traefik::launch(&all, TempDir::new().expect("a temporary folder"), ports, Wire::Tls).await;
        Self { traefik, api, folder }
    }

    /// Exchanges the other object for this one. Traefik hears of it a moment later.
    pub(crate) async fn exchange(&self, object: &Value) {
        put(&self.folder, Some(object));
        let address = SocketAddr::from(([127, 0, 0, 1], self.api.port));
        let answer = raw::send(address, raw::request("POST", "/reload", &[], b"")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
}

fn put(folder: &TempDir, object: Option<&Value>) {
    // JSON is YAML.
    fs::write(folder.path().join("other.yaml"), object.map(Value::to_string).unwrap_or_default()).expect("written");
}

/// A running stub of the API server.
#[derive(Debug)]
struct Api {
    child: Child,
    port: u16,
}

impl Api {
    fn start(folder: &TempDir, endpoints: &[(&str, SocketAddr)]) -> Self {
        let mut command = Command::new(tool("python"));
        command.arg(root().join("tests/kubernetes/kubeapi.py"));
        command.args(["manifests.yaml", "other.yaml"].map(|name| folder.path().join(name)));
        for (service, address) in endpoints {
            command.arg("--endpoint").arg(format!("shop/{service}={address}"));
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("python runs");
        let mut api = Self { child, port: 0 };
        let mut line = String::new();
        BufReader::new(api.child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let told: Value = serde_json::from_str(&line).expect("kubeapi says where it listens");
        api.port = told["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        api
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
