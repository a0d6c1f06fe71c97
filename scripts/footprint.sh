#!/usr/bin/env bash
# Measures the release build: resident memory of an idle gate, the time from the start of the process to its first right answer,
# with a key from a local file, and how far the memory grows with distinct valid tokens, small ones and large ones.
#
#   scripts/footprint.sh              target/release/portcullis, which is built if it is missing
#   scripts/footprint.sh PROGRAM      another one
#   TOKENS=1000000 MEBIBYTES=64 scripts/footprint.sh     so many tokens of each size, and the bound of their cache; 40000 and 16
#
# Prints all of it, and ends with 1 if memory is 20 MiB or more, the start takes 100 ms or more, or the memory grows by more than
# the bound of the cache and 2 MiB.
set -euo pipefail

[ $# -eq 0 ] || program=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
program=${program:-${CARGO_TARGET_DIR:-target}/release/portcullis}
if [ ! -x "$program" ] && [ $# -eq 0 ]; then cargo build --locked --release; fi
[ -x "$program" ] || { echo "footprint.sh: no program $program" >&2; exit 1; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 - "$program" "$folder" <<'PYTHON'
import base64, hmac, http.client, json, os, pathlib, socket, statistics, subprocess, sys, time

MOST_MIB, MOST_MS = 20, 100
STARTS, DECISIONS = 21, 2000
TOKENS, MEBIBYTES = int(os.environ.get("TOKENS", 40000)), int(os.environ.get("MEBIBYTES", 16))
# Beside the cache: what the allocator holds back for its threads, and the buffers of connections and of the audit log.
MOST_SLACK_MIB = 2
program, folder = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2])


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


secret = os.urandom(32).hex().encode()
now = int(time.time())
SMALL = {"iss": "https://id.example", "aud": "shop", "sub": "8f14e45f-ceea-467f-a1d6-%012d", "iat": now, "exp": now + 3600,
         "roles": ["user"]}
# As large as identity providers make them, with a claim that the policy reads, so that it is kept.
LARGE = SMALL | {"roles": ["user"] + [f"role-{i}" for i in range(30)], "groups": [f"group {i}" for i in range(8)]} | {
    f"claim-{i}": {"text": f"value {i}", "list": [i, i]} for i in range(16)}


def maker(claims):
    """Makes distinct tokens, quickly: only the subject's number changes."""
    head, claims = encoded(json.dumps({"alg": "HS256", "typ": "JWT"}).encode()), json.dumps(claims)

    def token(number):
        signed = f"{head}.{encoded((claims % number).encode())}"
        return f"{signed}.{encoded(hmac.digest(secret, signed.encode(), 'sha256'))}"
    return token


decisions, admin = free_port(), free_port()
(folder / "secret").write_bytes(secret)
(folder / "policy.yaml").write_text(
    "identity_headers: {extra: [{header: X-User-Groups, claim: groups}]}\n"
    "rules:\n  - {id: orders, hosts: [shop.example], paths: [/orders], allow: {roles: {any: [user]}}}\n")
(folder / "portcullis.yaml").write_text(f"""
listeners:
  decisions: {{address: "127.0.0.1:{decisions}"}}
  admin: {{address: "127.0.0.1:{admin}"}}
policy: policy.yaml
issuers:
  - {{name: shop, issuer: "https://id.example", audiences: [shop], keys: {{hmac_secret_file: secret}}}}
stores: {{verified_tokens: {{max_mebibytes: {MEBIBYTES}}}}}
shutdown: {{not_ready_for: 0s}}
""")
headers = {"X-Forwarded-Method": "GET", "X-Forwarded-Host": "shop.example", "X-Forwarded-Uri": "/orders",
           "X-Forwarded-For": "203.0.113.7", "Authorization": "Bearer " + maker(SMALL)(0)}


def ask(connection):
    connection.request("GET", "/validate", headers=headers)
    answer = connection.getresponse()
    answer.read()
    assert (answer.status, answer.getheader("x-user-id")) == (200, SMALL["sub"] % 0), (answer.status, answer.getheaders())


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


def ask_with_each(token, numbers):
    """Asks with one token after the other, in lots, over two connections."""
    lot = 50
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name != "Authorization")
    connections = [socket.create_connection(("127.0.0.1", decisions), timeout=10) for _ in range(2)]
    for first in range(numbers.start, numbers.stop, lot * len(connections)):
        for place, connection in enumerate(connections):
            lots = range(first + place * lot, first + (place + 1) * lot)
            connection.sendall("".join(f"GET /validate HTTP/1.1\r\nHost: gate\r\n{head}Authorization: Bearer {token(n)}\r\n\r\n"
                                       for n in lots).encode())
        for connection in connections:
            answers = b""
            while answers.count(b"\r\n\r\n") < lot:
                part = connection.recv(65536)
                assert part, "the gate closed the connection"
                answers += part
            assert answers.count(b"HTTP/1.1 200 OK\r\n") == lot, answers
    for connection in connections:
        connection.close()


def growth_mib(claims):
    """How far the memory of a gate grows with so many tokens, and how long one of them is."""
    gate, connection, _ = start()
    token = maker(claims)
    try:
        # The first ones make what a gate at work has anyway.
        ask_with_each(token, range(0, 1000))
        before = resident_mib(gate)
        ask_with_each(token, range(1000, TOKENS))
        time.sleep(1)
        return resident_mib(gate) - before, len(token(0))
    finally:
        connection.close()
        gate.kill()
        gate.wait()


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
grown = []
for claims in (SMALL, LARGE):
    growth, length = growth_mib(claims)
    grown.append(growth)
    print(f"{TOKENS} distinct tokens of {length} bytes: {growth:+.1f} MiB; bound: {MEBIBYTES} MiB of cache + {MOST_SLACK_MIB}")
good = max(idle + after) < MOST_MIB and median < MOST_MS and max(grown) < MEBIBYTES + MOST_SLACK_MIB
sys.exit(0 if good else 1)
PYTHON
