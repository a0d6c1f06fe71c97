#!/usr/bin/env bash
# Measures the release build: resident memory of an idle gate, and the time from the start of the process to its first right
# answer, with a key from a local file.
#
#   scripts/footprint.sh              target/release/portcullis, which is built if it is missing
#   scripts/footprint.sh PROGRAM      another one
#
# Prints both, and ends with 1 if memory is 20 MiB or more, or the start takes 100 ms or more.
set -euo pipefail

[ $# -eq 0 ] || program=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${program:-${CARGO_TARGET_DIR:-target}/release/portcullis}
if [ ! -x "$program" ] && [ $# -eq 0 ]; then cargo build --locked --release; fi
[ -x "$program" ] || { echo "footprint.sh: no program $program" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 - "$program" "$folder" <<'PYTHON'
import base64, hashlib, hmac, http.client, json, os, pathlib, socket, statistics, subprocess, sys, time

MOST_MIB, MOST_MS = 20, 100
STARTS, DECISIONS = 21, 2000
program, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


secret = os.urandom(32).hex().encode()
now = int(time.time())
claims = {"iss": "https://id.example", "aud": "shop", "sub": "alice", "iat": now, "exp": now + 3600, "roles": ["user"]}
signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
token = signed + "." + encoded(hmac.new(secret, signed.encode(), hashlib.sha256).digest())

decisions, admin = free_port(), free_port()
(folder / "secret").write_bytes(secret)
(folder / "policy.yaml").write_text(
    "rules:\n  - {id: orders, hosts: [shop.example], paths: [/orders], allow: {roles: {any: [user]}}}\n")
(folder / "portcullis.yaml").write_text(f"""
listeners:
  decisions: {{address: "127.0.0.1:{decisions}"}}
  admin: {{address: "127.0.0.1:{admin}"}}
policy: policy.yaml
issuers:
  - {{name: shop, issuer: "https://id.example", audiences: [shop], keys: {{hmac_secret_file: secret}}}}
shutdown: {{not_ready_for: 0s}}
""")
headers = {"X-Forwarded-Method": "GET", "X-Forwarded-Host": "shop.example", "X-Forwarded-Uri": "/orders",
           "X-Forwarded-For": "203.0.113.7", "Authorization": "Bearer " + token}


def ask(connection):
    connection.request("GET", "/validate", headers=headers)
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.getheader("x-user-id")) == (200, "alice"), (answer.status, answer.getheaders())


def start():
    """Starts a gate; returns it, a connection to it, and the milliseconds until it had answered rightly."""
    begin = time.perf_counter()
    gate = subprocess.Popen([program, "serve", "--config", folder / "portcullis.yaml"], stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while gate.poll() is None and time.perf_counter() - begin < 10:
        connection = http.client.HTTPConnection("127.0.0.1", decisions, timeout=5)
        try:
            ask(connection)
            return gate, connection, (time.perf_counter() - begin) * 1000
        except ConnectionRefusedError:
            time.sleep(0.0005)
        except BaseException:
            gate.kill()
            raise
    gate.kill()
    sys.exit("footprint.sh: the gate does not start: " + gate.stderr.read().decode(errors="replace"))


def resident_mib(gate):
    return int(subprocess.check_output(["ps", "-o", "rss=", "-p", str(gate.pid)])) / 1024


taken, idle, after = [], [], []
for run in range(STARTS):
    gate, connection, milliseconds = start()
    taken.append(milliseconds)
    if run == 0:
        time.sleep(1)
        idle.append(resident_mib(gate))
        for _ in range(DECISIONS):
            ask(connection)
        time.sleep(1)
        after.append(resident_mib(gate))
    connection.close()
    gate.kill()
    gate.wait()

median = statistics.median(taken)
print(f"resident memory, idle: {idle[0]:.1f} MiB ({after[0]:.1f} MiB after {DECISIONS} decisions); bound: {MOST_MIB} MiB")
print(f"start to the first right answer: {median:.1f} ms, the median of {STARTS} starts ({min(taken):.1f} to "
      f"{max(taken):.1f} ms); bound: {MOST_MS} ms")
sys.exit(0 if max(idle + after) < MOST_MIB and median < MOST_MS else 1)
PYTHON
