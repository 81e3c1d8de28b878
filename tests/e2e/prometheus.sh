#!/bin/sh
# Sets up Prometheus and promtool in a folder: Debian's package, unpacked, as usr/bin/prometheus and usr/bin/promtool.
# If the machine has both, only the folder is made. Needs apt-get and dpkg, but not root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v prometheus)" ] && [ -x "$(command -v promtool)" ]; then
    exit
fi

# Debian's other dependencies are pages of the user interface, which no test opens.
"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" prometheus
"$place/usr/bin/prometheus" --version 1>&2
