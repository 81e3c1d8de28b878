#!/bin/sh
# Sets up systemd-analyze, to look at the units with, in the folder that is named: Debian's package, unpacked. Where the
# machine has it, nothing is done but to make the folder. Needs apt-get and dpkg, and no root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v systemd-analyze)" ]; then
    exit
fi

# With what it needs of that which small machines do not have.
"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" \
    systemd libsystemd-shared libapparmor1 libip4tc2 libkmod2 libseccomp2
cd "$place"
LD_LIBRARY_PATH=$(echo usr/lib/*-linux-*/systemd):$(echo usr/lib/*-linux-gnu):$(echo lib/*-linux-gnu) \
    usr/bin/systemd-analyze --version 1>&2
