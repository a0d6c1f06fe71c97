#!/usr/bin/env bash
# Runs test vectors for signed tokens against the place where the gate checks signatures, and prints what was accepted and refused.
#
#   scripts/test-vectors.sh FOLDER    which holds wycheproof/ (of github.com/C2SP/wycheproof, testvectors_v1: json_web_signature_test,
#                                     json_web_key_test, json_web_crypto_test, json_web_encryption_test, and OVERRIDES.json: those
#                                     that are mislabelled, or optional) and rfc7520/ (of github.com/ietf-jose/cookbook, jws/ and
#                                     curve25519/jws.json)
set -euo pipefail

fail() {
  echo "test-vectors: $*" >&2
  exit 1
}

folder=${1:-}
[ -n "$folder" ] || fail 'say where the vectors are: make test-vectors DIR=FOLDER'
[ -d "$folder" ] || fail "there is no folder $folder"
folder=$(realpath "$folder")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

for name in json_web_{signature,key,crypto,encryption}_test OVERRIDES; do
  [ -f "$folder/wycheproof/$name.json" ] || fail "$folder lacks wycheproof/$name.json"
done
shopt -s nullglob
examples=("$folder"/rfc7520/*.json)
[ "${#examples[@]}" -gt 0 ] || fail "$folder lacks rfc7520/*.json"

cargo test --quiet --locked --test vectors -- "$folder" || fail 'not all is as it must be'
