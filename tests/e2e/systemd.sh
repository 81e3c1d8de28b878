#!/bin/sh
# Sets up systemd-analyze, which tests the units, in a folder: Debian's package, unpacked. If the machine has it, only
# the folder is made. Needs apt-get and dpkg, but not root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v systemd-analyze)" ]; then
    exit
fi

# The packages that systemd-analyze needs, and that small machines lack.
"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" \
    systemd libsystemd-shared libapparmor1 libip4tc2 libkmod2 libseccomp2
cd "$place"
LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*/systemd):$(echo usr/lib/*-linux-gnu):$(echo lib/*-linux-gnu) \
    usr/bin/systemd-analyze --version 1>&2
