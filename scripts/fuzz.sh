#!/usr/bin/env bash
# Fuzzes what reads a stranger's bytes, each target for so many seconds: by default 20.
#
#   scripts/fuzz.sh [SECONDS]
#
# What was found before goes on in fuzz/corpus (ignored by git), from fuzz/seeds. A finding is a file in fuzz/artifacts.
set -euo pipefail
readonly VERSION=0.13.2

fail() {
  echo "fuzz: $*" >&2
  exit 1
}

seconds=${1:-20}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "'$seconds' is no number of seconds: make fuzz SECONDS=20"
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v c++ >/dev/null || fail 'libFuzzer is built with a C++ compiler, which is missing: sudo apt-get install -y g++'

tool=$PWD/.tools/cargo-fuzz-$VERSION
if [ ! -x "$tool/bin/cargo-fuzz" ]; then
  echo "fuzz: installing cargo-fuzz $VERSION" >&2
  log=$(cargo install --quiet --locked cargo-fuzz --version "$VERSION" --root "$tool" 2>&1) ||
    fail "cargo-fuzz cannot be installed: ${log##*error: }"
fi

# The versions that the product is built with; cargo adds the fuzzer's own.
cp Cargo.lock fuzz/Cargo.lock
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for target in token jwks; do
  mkdir -p "fuzz/corpus/$target"
  # Without a sanitizer it needs no nightly compiler; the code has no `unsafe`, what is wrong shows as a panic or a failed assertion.
  if ! "$tool/bin/cargo-fuzz" run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=20000 -timeout=5 -rss_limit_mb=1024 -print_final_stats=1 >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    fail "$target: see above; fuzz/artifacts/$target holds the input"
  fi
  inputs=$(awk '/number_of_executed_units/ { print $2 }' "$log")
  [ "${inputs:-0}" -gt 0 ] || fail "$target: nothing was tried"
  echo "$target: $inputs inputs in $seconds s, nothing found"
done
