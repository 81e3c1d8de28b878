#!/bin/sh
# Sets up libfaketime, with which tests change the wall clock of a single process, in the folder that is named: Debian's
# package, unpacked. Where the machine has it, nothing is done but to make the folder. Needs apt-get and dpkg, and no
# root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1; then
    exit
fi

"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" libfaketime
ls "$place"/usr/lib/*/faketime/libfaketime.so.1 1>&2
