#!/bin/sh
# unpack.sh FOLDER [--with-needs] PACKAGE…: unpacks Debian's packages into a folder, which may have to be made, and
# installs nothing. With --with-needs, the packages that these depend on and the machine does not have are unpacked too.
# apt keeps its lists of packages in the same folder, for as long as it takes to fetch these; several such commands may
# use one folder at the same time. No root is needed.
set -eu

place=$1
shift
mkdir -p "$place"
place=$(cd "$place" && pwd)
own="$place/apt.$$"
mkdir -p "$own/lists/partial" "$own/archives/partial"
trap 'rm -rf "$own"' EXIT
cd "$own"
apt() {
    apt-get -qq -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::State::lists="$own/lists" \
        -o Dir::Cache="$own" "$@"
}
apt update 1>&2
if [ "$1" = --with-needs ]; then
    shift
    # What apt would install, from its simulation: "Inst NAME (VERSION …)".
    needed=$(apt --simulate --no-install-recommends install "$@" | awk '$1 == "Inst" { print $2 }')
    # shellcheck disable=SC2086 # names of packages
    set -- $needed
fi
apt download "$@" 1>&2
for package in *.deb; do
    dpkg -x "$package" "$place"
done
