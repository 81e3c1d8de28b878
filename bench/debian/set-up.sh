#!/bin/sh
# Sets up etcd, to measure against, and wrk, to measure with: Debian's packages, unpacked into a folder of ours.
# It prints the folder, which is $BENDER_BENCH_CACHE/debian or else ~/.cache/bender-bench/debian. Needs apt-get and dpkg.
#
# Nothing is installed and no root is needed: apt keeps its lists of packages in the same folder, for as long as it takes
# to fetch these. What wrk needs that few machines have, LuaJIT, is unpacked beside it; `bench.peers` says where to look.
set -eu

place=${BENDER_BENCH_CACHE:-$HOME/.cache/bender-bench}/debian
done_with=$place/set-up-1

if [ ! -e "$done_with" ]; then
    rm -rf "$place"
    mkdir -p "$place/apt/lists/partial" "$place/apt/archives/partial"
    cd "$place/apt"
    apt() {
        apt-get -qq -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::State::lists="$place/apt/lists" \
            -o Dir::Cache="$place/apt" "$@" 1>&2
    }
    apt update
    apt download wrk libluajit-5.1-2 libluajit-5.1-common etcd-server
    for package in *.deb; do
        dpkg -x "$package" "$place"
    done
    cd "$place"
    rm -rf apt
    LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*) usr/bin/wrk -v 2>&1 | grep -q '^wrk ' || {
        echo "wrk was unpacked and does not run." >&2
        exit 1
    }
    usr/bin/etcd --version 1>&2
    touch "$done_with"
fi

echo "$place"
