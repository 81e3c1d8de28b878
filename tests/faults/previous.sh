#!/bin/sh
# Sets up the previous release in the folder that is named: a wheel of the commit that made the newest release in
# NEWS.md, in a virtual environment of its own. Needs git with that commit, and pip's access to the dependencies.
set -eu

place=$1
python=${2:-python3}
root=$(cd "$(dirname "$0")/../.." && pwd)
heading=$(grep -m 1 '^## [0-9]' "$root/NEWS.md")
commit=$(git -c safe.directory="$root" -C "$root" log --format=%H -S"$heading" -- NEWS.md | tail -1)
if [ -z "$commit" ]; then
    echo "No commit in the history has made the release '$heading': fetch the whole history." 1>&2
    exit 1
fi

rm -rf "$place"
mkdir -p "$place/source"
place=$(cd "$place" && pwd)
git -c safe.directory="$root" -C "$root" archive "$commit" | tar -x -C "$place/source"
"$python" -m venv "$place/venv"
pip="$place/venv/bin/python -m pip --disable-pip-version-check"
$pip wheel --quiet --no-deps --wheel-dir "$place" "$place/source"
$pip install --quiet "$place"/bender-*.whl
rm -rf "$place/source"
echo "$commit" >"$place/commit"
"$place/venv/bin/twistd" bender --version 1>&2
