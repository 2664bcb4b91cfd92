#!/usr/bin/env bash
# Builds the image on the base whose digest base_image.txt holds. Where it holds none, the image's registry is asked
# once, and the answer is kept there.
#   build_image.sh NAME/metta_sweep:2.60.0-py311
#   build_image.sh --digest      only finds and keeps the digest
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
[ $# = 1 ] || { echo "usage: build_image.sh NAME/metta_sweep:RAY-pyXY   (make image IMAGE=...)" >&2; exit 2; }

tag=$(sed -n 's/^ARG BASE=//p' "$here/Dockerfile")
base=$(grep -v '^#' "$here/base_image.txt" || true)
if [ -n "$base" ] && [ "${base%@*}" != "$tag" ]; then
  echo "base_image.txt has the digest of ${base%@*}, the Dockerfile stands on $tag: remove that line, and the digest is looked up" >&2
  exit 1
fi
if [ -z "$base" ]; then
  if ! digest=$(docker buildx imagetools inspect "$tag" --format '{{.Manifest.Digest}}') || ! [[ $digest =~ ^sha256:[0-9a-f]{64}$ ]]; then
    echo "the digest of $tag cannot be looked up: is the image's registry reached from here?" >&2
    exit 1
  fi
  base="$tag@$digest"
  sed -i '/^# There is none yet/d' "$here/base_image.txt"
  echo "$base" >>"$here/base_image.txt"
  echo "base_image.txt: $base (commit it)"
fi
[ "$1" = --digest ] || exec docker build --build-arg "BASE=$base" --file "$here/Dockerfile" --tag "$1" "$here/.."
