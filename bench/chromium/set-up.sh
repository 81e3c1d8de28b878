#!/bin/sh
# Sets up Chromium, for `bench.page`: the machine's own, or Debian's package, unpacked into a folder of ours. It prints
# the folder, which is $BENDER_BENCH_CACHE/chromium or else ~/.cache/bender-bench/chromium. Needs apt-get and dpkg.
set -eu

place=${BENDER_BENCH_CACHE:-$HOME/.cache/bender-bench}/chromium
done_with=$place/set-up-1

if [ ! -e "$done_with" ]; then
    rm -rf "$place"
    "$(dirname "$0")/../../tests/page/chromium.sh" "$place"
    touch "$done_with"
fi

echo "$place"
