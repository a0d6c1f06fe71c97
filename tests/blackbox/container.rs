//! The image and `examples/compose`. Docker runs nowhere here: what can be held without it is. The program is run as the image runs
//! it, the compose file is read by the parser of its specification, and its Traefik and gate files are run by a real Traefik and gate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cluster::yaml;
use crate::support::gate::{Config, Gate, KEY, PROGRAM, token};
use crate::support::proxy::{Port, Traefik, root, tool};
use crate::support::raw;
use crate::support::upstream::Upstream;
use crate::support::wire::Wire;

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The instructions of the Dockerfile, each as its words.
fn instructions() -> Vec<Vec<String>> {
    let text = read("Dockerfile");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// What the first stage copies from the repository.
fn copied() -> Vec<String> {
    let copies = instructions().into_iter().filter(|words| words[0] == "COPY" && !words[1].starts_with("--from"));
    copies.flat_map(|words| words[1..words.len() - 1].to_vec()).collect()
}

#[test]
fn the_image_is_built_of_named_versions_and_runs_as_nobody() {
    let instructions = instructions();
    let stages: Vec<_> = instructions.iter().filter(|words| words[0] == "FROM").collect();
    let release = format!("FROM rust:{}.0-slim-bookworm AS build", env!("CARGO_PKG_RUST_VERSION"));
    assert_eq!(stages[0].join(" "), release);
    assert_eq!(
        stages[1..].iter().map(|words| words.join(" ")).collect::<Vec<_>>(),
        ["FROM gcr.io/distroless/cc-debian12:nonroot"]
    );

    let last = instructions.iter().rposition(|words| words[0] == "FROM").expect("a stage");
    let words = |name: &str| {
        let mut found = instructions[last..].iter().filter(|words| words[0] == name).map(|words| words[1..].join(" "));
        (found.next().unwrap_or_default(), found.next())
    };
    assert_eq!(words("RUN"), (String::new(), None), "there is no shell");
    assert_eq!(words("USER"), ("65532:65532".to_owned(), None));
    assert_eq!(words("ENTRYPOINT"), ("[\"/usr/local/bin/portcullis\"]".to_owned(), None));
    assert!(words("HEALTHCHECK").0.ends_with("CMD [\"/usr/local/bin/portcullis\", \"healthcheck\"]"));
}

#[test]
fn the_image_is_built_of_everything_that_the_program_needs() {
    let copied = copied();
    for path in &copied {
        assert!(root().join(path).exists(), "the Dockerfile copies {path}, which is not there");
    }
    let ignored = read(".dockerignore");
    let lines: BTreeSet<&str> = ignored.lines().filter(|line| !line.starts_with('#')).collect();
    let wanted: BTreeSet<String> = copied.iter().map(|path| format!("!{path}")).chain(["*".to_owned()]).collect();
    assert_eq!(lines, wanted.iter().map(String::as_str).collect());

    // Files that the source carries inside.
    let mut carried = 0;
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).expect("text");
            for (at, included) in text.match_indices("include_str!(\"").chain(text.match_indices("include_bytes!(\"")) {
                let name = text[at + included.len()..].split('"').next().expect("a name");
                let target = path.parent().expect("a folder").join(name).canonicalize().expect("the file is there");
                let inside = copied.iter().any(|copy| target.starts_with(root().join(copy)));
                assert!(inside, "{} carries {}, which the Dockerfile does not copy", path.display(), target.display());
                carried += 1;
            }
        }
    }
    assert!(carried > 0);

    // With these files alone cargo knows what to build.
    let folder = TempDir::new().expect("a folder");
    for path in &copied {
        let to = folder.path().join(path);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        assert!(Command::new("cp").arg("-r").arg(root().join(path)).arg(to).status().expect("cp runs").success());
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--locked", "--offline", "--no-deps", "--format-version", "1"]).current_dir(&folder);
    let output = cargo.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let targets = told["packages"][0]["targets"].as_array().expect("targets");
    assert!(targets.iter().any(|target| target["kind"] == json!(["bin"]) && target["name"] == "portcullis"), "{told}");
}

/// No file may grow by a byte, and none may appear in the folder that it runs in; it decides all the same, and the health check of
/// the image finds it ready.
#[tokio::test]
async fn it_runs_where_nothing_can_be_written() {
    let (decisions, admin) = (Port::take(), Port::take());
    let config = Config::shop().env("PORTCULLIS__LISTENERS__ADMIN__ADDRESS", &admin.address().to_string());
    let folder = config.write();
    let before = entries(folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -f 0; exec \"$0\" serve --config portcullis.yaml --decisions \"$1\"", PROGRAM]);
    command.arg(decisions.address().to_string()).current_dir(&folder).envs(config.environment.clone());
    // Pipes, which are no files; nobody reads them, and they hold more than this test's lines.
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("sh runs");
    let healthy = |child: &mut std::process::Child| {
        assert!(child.try_wait().expect("its state").is_none(), "it has ended");
        let mut check = Command::new(PROGRAM);
        check.args(["healthcheck", "--address", &admin.address().to_string()]);
        check.output().expect("the program runs").status.success()
    };
    let deadline = Instant::now() + Duration::from_secs(10);
    while !healthy(&mut child) {
        assert!(Instant::now() < deadline, "it is not ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let bearer = format!("Bearer {}", token("alice", &["user"]));
    let headers = [
        ("Authorization", &*bearer),
        ("X-Forwarded-Method", "GET"),
        ("X-Forwarded-Uri", "/products"),
        ("X-Forwarded-Host", raw::HOST),
        ("X-Forwarded-For", "203.0.113.7"),
    ];
    let answer = raw::send(decisions.address(), raw::request("GET", "/validate", &headers, b"")).await;
    let ready = healthy(&mut child);
    child.kill().and_then(|()| child.wait()).expect("it ends");
    assert_eq!((answer.status, ready, entries(folder.path())), (200, true, before), "{answer:?}");
}

fn entries(folder: &Path) -> BTreeSet<String> {
    let names = fs::read_dir(folder).expect("a folder");
    names.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

/// The compose file as the parser of the Compose specification reads it.
fn compose() -> Value {
    let mut parser = Command::new(tool("compose-spec"));
    // It looks at no environment and for files here.
    parser.args(["-format", "json", "compose.yaml"]).current_dir(root().join("examples/compose"));
    let output = parser.output().expect("compose-spec runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn the_compose_file_is_valid_and_what_it_names_is_there() {
    let compose = compose();
    let services = compose["services"].as_object().expect("services");
    let names: BTreeSet<&str> = services.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        BTreeSet::from(["authentication", "certificates", "gate", "orders", "products", "service-a", "traefik"])
    );
    for (name, service) in services {
        assert_eq!(service["read_only"], true, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{name}");
        let image = service["image"].as_str().expect("an image");
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} names no version"));
        assert!(tag.contains(|character: char| character.is_ascii_digit()), "{image} names no version");
        // The gate's image says so itself.
        let user = service["user"].as_str().unwrap_or(if image.starts_with("portcullis:") { "65532" } else { "0" });
        assert!(!user.starts_with('0'), "{name} runs as root");
        for volume in service["volumes"].as_array().into_iter().flatten() {
            match volume["type"].as_str() {
                Some("bind") => {
                    assert_eq!(volume["read_only"], true, "{volume}");
                    assert!(Path::new(volume["source"].as_str().expect("a path")).exists(), "{volume}");
                }
                _ => assert!(compose["volumes"].get(volume["source"].as_str().expect("a name")).is_some(), "{volume}"),
            }
        }
        for published in service["ports"].as_array().into_iter().flatten() {
            assert_eq!((name.as_str(), &published["host_ip"]), ("traefik", &json!("127.0.0.1")));
        }
    }
    assert_eq!(
        services["traefik"]["image"],
        format!("traefik:{}", yaml("k8s/traefik-values.yaml")["image"]["tag"].as_str().expect("text"))
    );
    let (ours, theirs) = (&services["gate"]["image"], &services["certificates"]["image"]);
    assert_eq!((ours, theirs), (&json!(concat!("portcullis:", env!("CARGO_PKG_VERSION"))), ours));
    // Whoever may ask is where Traefik is.
    let address = services["traefik"]["networks"]["shop"]["ipv4_address"].as_str().expect("an address");
    let trusted = yaml("examples/compose/portcullis.yaml")["listeners"]["decisions"]["trusted_proxies"].clone();
    assert_eq!(trusted, json!([format!("{address}/32")]));
    // Docker gives out the first free address to whatever starts first, and Traefik starts last: only one that is never given out is
    // its own for sure.
    let network = &compose["networks"]["shop"]["ipam"]["config"][0];
    let net = |key: &str| network[key].as_str().unwrap_or_else(|| panic!("no {key}: {network}")).parse::<IpNet>();
    let (subnet, given) = (net("subnet").expect("a network"), net("ip_range").expect("a network"));
    let address: IpAddr = address.parse().expect("an address");
    assert!(subnet.contains(&given) && subnet.contains(&address) && !given.contains(&address), "{network}");
    assert_ne!(network["gateway"], json!(address.to_string()));
    assert_eq!(services["certificates"]["command"], json!(["certificate", "--dir", "/certificates", "--name", "gate"]));
}

#[test]
fn traefiks_files_of_the_compose_example_are_the_shipped_ones() {
    let without = |mut value: Value, pointers: &[&str]| {
        for pointer in pointers {
            let member = value.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}"));
            *member = Value::Null;
        }
        value
    };
    let addresses = ["/entryPoints/web/address", "/entryPoints/websecure/address", "/providers/file/filename"];
    assert_eq!(
        without(yaml("examples/compose/traefik/traefik.yml"), &addresses),
        without(yaml("traefik/traefik.yml"), &addresses)
    );
    let (mut ours, mut shipped) = (yaml("examples/compose/traefik/dynamic.yml"), yaml("traefik/dynamic.yml"));
    assert_eq!(ours["http"]["routers"], shipped["http"]["routers"]);
    let paths = |dynamic: &mut Value| {
        let middlewares = dynamic["http"]["middlewares"].as_object_mut().expect("middlewares");
        let forward =
            middlewares.iter_mut().filter_map(|(name, middleware)| Some((name, middleware.get_mut("forwardAuth")?)));
        let mut paths = BTreeMap::new();
        for (name, forward) in forward {
            let address = forward["address"].take();
            let (_, path) = address.as_str().expect("text").rsplit_once(":7400").expect("the gate's port");
            paths.insert(name.clone(), (path.to_owned(), forward["tls"].take()));
        }
        paths
    };
    let (of_ours, of_shipped) = (paths(&mut ours), paths(&mut shipped));
    // There is no Redis.
    let middlewares = shipped["http"]["middlewares"].as_object_mut().expect("middlewares");
    assert!(middlewares.remove("rate-shared").is_some());
    assert_eq!(ours["http"]["middlewares"], shipped["http"]["middlewares"]);
    assert_eq!(of_ours.len(), 3);
    for (name, (path, tls)) in of_ours {
        assert_eq!((&path, &tls), (&of_shipped[&name].0, &json!({"ca": "/certificates/ca.crt"})), "{name}");
    }
}

/// The example's own files, with the addresses of this machine.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_compose_examples_files_route_and_judge() {
    let folder = TempDir::new().expect("a folder");
    let here = folder.path().display().to_string();
    let made = Command::new(PROGRAM).args(["certificate", "--name", "127.0.0.1", "--dir", &here]).output();
    assert!(made.expect("the program runs").status.success());

    let config = Config { settings: read("examples/compose/portcullis.yaml"), ..Config::shop() };
    let gate = Gate::start(
        &config
            .edit("0.0.0.0:7400", "127.0.0.1:0")
            .edit("127.0.0.1:7401", "127.0.0.1:0")
            .edit("172.31.74.2/32", "127.0.0.1/32")
            .edit("/certificates/", &format!("{here}/"))
            .file("jwks.json", &json!({"keys": [KEY.jwk()]}).to_string()),
    );
    let names = ["products", "orders", "authentication", "service-a"];
    let mut upstreams = Vec::new();
    let mut dynamic = read("examples/compose/traefik/dynamic.yml");
    let mut edit = |from: &str, to: &str| {
        assert!(dynamic.contains(from), "nothing to edit: {from}");
        dynamic = dynamic.replace(from, to);
    };
    for name in names {
        let upstream = Upstream::named(name).await;
        edit(&format!("http://{name}:8080"), &format!("http://{}", upstream.address()));
        upstreams.push(upstream);
    }
    edit("https://gate:7400", &format!("https://{}", gate.decisions()));
    edit("/certificates/ca.crt", &format!("{here}/ca.crt"));
    let ports = [Port::take(), Port::take()];
    let fixed = read("examples/compose/traefik/traefik.yml")
        .replace("\":8080\"", &format!("\"{}\"", ports[0].address()))
        .replace("\":8443\"", &format!("\"{}\"", ports[1].address()))
        .replace("/etc/traefik/dynamic.yml", &format!("{here}/dynamic.yml"));
    fs::write(folder.path().join("dynamic.yml"), dynamic).expect("written");
    fs::write(folder.path().join("traefik.yml"), fixed).expect("written");
    let traefik = Traefik::launch(&[format!("--configFile={here}/traefik.yml")], folder, ports, Wire::Tls).await;

    let alice = format!("Bearer {}", token("alice", &["user"]));
    for (target, token, status) in [
        ("/authentication/login", "", 200),
        ("/products", "", 401),
        ("/products", &*alice, 200),
        ("/orders/7", &*alice, 200),
        ("/api/service-a/items", &*alice, 200),
        ("/products/admin", &*alice, 403),
        ("/products%2fadmin", &*alice, 400),
    ] {
        let headers: &[(&str, &str)] = if token.is_empty() { &[] } else { &[("Authorization", token)] };
        let answer = traefik.raw().get(target, headers).await;
        assert_eq!(answer.status, status, "{target}: {answer:?}");
    }
    let seen: Vec<Vec<String>> = upstreams
        .iter()
        .map(|upstream| {
            upstream
                .requests()
                .iter()
                .filter(|seen| seen.target() != "/bench")
                .map(|seen| format!("{} {}", seen.target(), seen.header("X-User-ID").concat()))
                .collect()
        })
        .collect();
    assert_eq!(
        seen,
        [vec!["/products alice"], vec!["/orders/7 alice"], vec!["/authentication/login "], vec!["/items alice"]]
    );
}
