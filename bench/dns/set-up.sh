#!/bin/sh
# Sets up dnsperf, to measure with, and NSD, to measure against: Debian's packages, unpacked into a folder of ours. It
# prints the folder, which is $BENDER_BENCH_CACHE/dns or else ~/.cache/bender-bench/dns. Needs apt-get and dpkg.
set -eu

place=${BENDER_BENCH_CACHE:-$HOME/.cache/bender-bench}/dns
done_with=$place/set-up-1

if [ ! -e "$done_with" ]; then
    rm -rf "$place"
    # With what they need of that which small machines do not have.
    "$(dirname "$0")/../debian/unpack.sh" "$place" dnsperf nsd libevent-2.1-7 libfstrm0 libldns3 libnghttp2-14 \
        libprotobuf-c1
    cd "$place"
    LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*) usr/bin/dnsperf -h | grep -q '^DNS Performance' || {
        echo "dnsperf was unpacked and does not run." >&2
        exit 1
    }
    LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*) usr/sbin/nsd -v 1>&2
    touch "$done_with"
fi

echo "$place"
