#!/bin/sh
# Sets up etcd, to measure against, and wrk, to measure with, in a folder: Debian's packages, unpacked. Needs apt-get and
# dpkg.
#
# LuaJIT, which wrk needs and few machines have, is unpacked beside it; `bench.peers` says where to look.
set -eu

place=$1
"$(dirname "$0")/unpack.sh" "$place" wrk libluajit-5.1-2 libluajit-5.1-common etcd-server
cd "$place"
LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*) usr/bin/wrk -v 2>&1 | grep -q '^wrk ' || {
    echo "wrk was unpacked and does not run." >&2
    exit 1
}
usr/bin/etcd --version
