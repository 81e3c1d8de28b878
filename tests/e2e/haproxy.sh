#!/bin/sh
# Sets up HAProxy for `twistd bender-haproxy` in a folder: Debian's package, unpacked, and the script `haproxy`, which
# runs it. If the machine has HAProxy, only the folder is made. Needs apt-get and dpkg, but not root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v haproxy)" ]; then
    exit
fi

# The packages that HAProxy needs, and that small machines lack.
"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
cat >"$place/haproxy" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/usr/sbin/haproxy" "$@"
WRAPPER
chmod +x "$place/haproxy"
"$place/haproxy" -v 1>&2
