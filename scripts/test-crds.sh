#!/usr/bin/env bash
# Holds the manifests of k8s/ against CustomResourceDefinitions, strictly: a field that they do not know is an error.
#
#   scripts/test-crds.sh FOLDER    with the definitions of Traefik's release (README.md, "With Kubernetes", has their address) and
#                                  of whatever else lies there, as *.yaml or *.yml
set -euo pipefail

fail() {
  echo "test-crds: $*" >&2
  exit 1
}

folder=${1:-}
[ -n "$folder" ] || fail 'say where the CustomResourceDefinitions are: make test-crds DIR=FOLDER'
[ -d "$folder" ] || fail "there is no folder $folder"
folder=$(realpath "$folder")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

shopt -s nullglob
definitions=("$folder"/*.yaml "$folder"/*.yml)
[ "${#definitions[@]}" -gt 0 ] || fail "$folder holds no *.yaml and no *.yml"
grep -lqs '^  name: middlewares.traefik.io$' "${definitions[@]}" || fail "$folder lacks Traefik's middlewares.traefik.io"

scripts/tools.sh kustomize python
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
.tools/bin/kustomize build k8s >"$scratch/manifests.yaml"
cp -r k8s "$scratch/k8s"
sed -i 's/^# components: \[redis\]$/components: [redis]/' "$scratch/k8s/kustomization.yaml"
.tools/bin/kustomize build "$scratch/k8s" >"$scratch/with-redis.yaml"
grep -q '^  name: rate-shared$' "$scratch/with-redis.yaml" || fail 'k8s/kustomization.yaml has no line that adds redis'
check() {
  .tools/python/bin/python3 tests/kubernetes/k8scheck.py --k8s 1.36 --crds "$(IFS=,; echo "${definitions[*]}")" "$1"
}
check "$scratch/manifests.yaml" || fail 'k8s/ does not pass'
check "$scratch/with-redis.yaml" || fail 'k8s/ with redis does not pass'

# And it would have noticed: one letter of a field less, of a kind of Traefik's and of Kubernetes' own.
for misspelt in s/authResponseHeaders:/authResponseHeader:/ s/minReplicas:/minReplica:/; do
  sed "$misspelt" "$scratch/manifests.yaml" >"$scratch/misspelt.yaml"
  ! cmp -s "$scratch/manifests.yaml" "$scratch/misspelt.yaml" || fail "nothing to misspell by $misspelt"
  ! check "$scratch/misspelt.yaml" >"$scratch/log" || fail "a misspelt field was not noticed: $misspelt"
done
echo 'a misspelt field is refused'
