#!/bin/sh
# Sets up Chromium, which tests drive without a window, in the folder that is named: Debian's package, unpacked, and
# beside it `chromium`, which runs it. Where the machine has it, nothing is done but to make the folder. Needs apt-get
# and dpkg, and no root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v chromium)" ]; then
    exit
fi

"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" --with-needs chromium
# Fonts are in the folder only where the machine has none.
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
