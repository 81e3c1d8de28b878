#!/bin/sh
# unpack.sh FOLDER PACKAGE…: unpacks Debian's packages into a folder, which may have to be made, and installs nothing.
# apt keeps its lists of packages in the same folder, for as long as it takes to fetch these. No root is needed.
set -eu

place=$1
shift
mkdir -p "$place/apt/lists/partial" "$place/apt/archives/partial"
place=$(cd "$place" && pwd)
cd "$place/apt"
apt() {
    apt-get -qq -o APT::Sandbox::User=root -o Debug::NoLocking=1 -o Dir::State::lists="$place/apt/lists" \
        -o Dir::Cache="$place/apt" "$@" 1>&2
}
apt update
apt download "$@"
for package in *.deb; do
    dpkg -x "$package" "$place"
done
rm -rf "$place/apt"
