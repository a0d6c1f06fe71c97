#!/usr/bin/env bash
# Installs what building, testing and the demo need beyond cargo and python3: a C compiler (for aws-lc), curl, kill and
# openssl (certificates of a test). Does nothing, and needs no network, where they are there.
set -euo pipefail

missing=()
command -v cc >/dev/null || missing+=(gcc libc6-dev)
command -v curl >/dev/null || missing+=(curl)
command -v kill >/dev/null || missing+=(procps)
command -v openssl >/dev/null || missing+=(openssl)
[ "${#missing[@]}" -eq 0 ] && exit 0

command -v apt-get >/dev/null || { echo "prepare.sh: install these and run again: ${missing[*]}" >&2; exit 1; }
[ "$(id -u)" -eq 0 ] || { echo "prepare.sh: run: sudo apt-get install -y ${missing[*]}" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >/dev/null
apt-get install -qy --no-install-recommends "${missing[@]}" >/dev/null
