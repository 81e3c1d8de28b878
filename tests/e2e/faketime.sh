#!/bin/sh
# Sets up libfaketime, with which tests change the wall clock of one process, in a folder: Debian's package, unpacked.
# If the machine has it, only the folder is made. Needs apt-get and dpkg, but not root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1; then
    exit
fi

"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" libfaketime
ls "$place"/usr/lib/*/faketime/libfaketime.so.1 1>&2
