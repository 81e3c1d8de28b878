#!/bin/sh
# Sets up Prometheus and promtool in the folder that is named: Debian's package, unpacked, as usr/bin/prometheus and
# usr/bin/promtool. Where the machine has both, nothing is done but to make the folder. Needs apt-get and dpkg, and no
# root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v prometheus)" ] && [ -x "$(command -v promtool)" ]; then
    exit
fi

# Its other dependencies are the pages of its user interface, which no test opens.
"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" prometheus
"$place/usr/bin/prometheus" --version 1>&2
