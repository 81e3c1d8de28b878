#!/bin/sh
# Sets up HAProxy, for `bench.balancing`: the machine's own, or Debian's package, unpacked into a folder of ours. It prints
# the folder, which is $BENDER_BENCH_CACHE/haproxy or else ~/.cache/bender-bench/haproxy. Needs apt-get and dpkg.
set -eu

place=${BENDER_BENCH_CACHE:-$HOME/.cache/bender-bench}/haproxy
done_with=$place/set-up-1

if [ ! -e "$done_with" ]; then
    rm -rf "$place"
    "$(dirname "$0")/../../tests/e2e/haproxy.sh" "$place"
    touch "$done_with"
fi

echo "$place"
