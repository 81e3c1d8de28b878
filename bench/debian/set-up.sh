#!/bin/sh
# Sets up etcd, to measure against, and wrk, to measure with: Debian's packages, unpacked into a folder of ours.
# It prints the folder, which is $BENDER_BENCH_CACHE/debian or else ~/.cache/bender-bench/debian. Needs apt-get and dpkg.
#
# What wrk needs that few machines have, LuaJIT, is unpacked beside it; `bench.peers` says where to look.
set -eu

place=${BENDER_BENCH_CACHE:-$HOME/.cache/bender-bench}/debian
done_with=$place/set-up-1

if [ ! -e "$done_with" ]; then
    rm -rf "$place"
    "$(dirname "$0")/unpack.sh" "$place" wrk libluajit-5.1-2 libluajit-5.1-common etcd-server
    cd "$place"
    LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*) usr/bin/wrk -v 2>&1 | grep -q '^wrk ' || {
        echo "wrk was unpacked and does not run." >&2
        exit 1
    }
    usr/bin/etcd --version 1>&2
    touch "$done_with"
fi

echo "$place"
