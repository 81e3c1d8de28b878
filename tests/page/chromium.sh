#!/bin/sh
# Sets up Chromium, which tests run without a window, in a folder: Debian's package, unpacked, and the script
# `chromium`, which runs it. If the machine has Chromium, only the folder is made. Needs apt-get and dpkg, but not root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v chromium)" ]; then
    exit
fi

"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" --with-needs chromium
# The folder has fonts only if the machine has none.
cat >"$place/chromium" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
if [ -f "$here/etc/fonts/fonts.conf" ]; then
    export FONTCONFIG_SYSROOT="$here"
fi
LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu "$here"/lib/*-linux-gnu | tr ' ' ':') \
    exec "$here/usr/lib/chromium/chromium" "$@"
WRAPPER
chmod +x "$place/chromium"
"$place/chromium" --version 1>&2
