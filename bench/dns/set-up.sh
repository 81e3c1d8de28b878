#!/bin/sh
# Sets up dnsperf, to measure with, and NSD, to measure against, in a folder: Debian's packages, unpacked. Needs apt-get
# and dpkg.
set -eu

place=$1
# The packages that they need, and that small machines lack.
"$(dirname "$0")/../debian/unpack.sh" "$place" dnsperf nsd libevent-2.1-7 libfstrm0 libldns3 libnghttp2-14 \
    libprotobuf-c1
cd "$place"
LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*) usr/bin/dnsperf -h | grep -q '^DNS Performance' || {
    echo "dnsperf was unpacked and does not run." >&2
    exit 1
}
LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*) usr/sbin/nsd -v
