#!/bin/sh
# Sets up HAProxy, to be driven by `twistd bender-haproxy`, in the folder that is named: Debian's package, unpacked, and
# beside it `haproxy`, which runs it. Where the machine has it, nothing is done but to make the folder. Needs apt-get and
# dpkg, and no root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v haproxy)" ]; then
    exit
fi

# With what it needs of that which small machines do not have.
"$(dirname "$0")/../../bench/debian/unpack.sh" "$place" haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
cat >"$place/haproxy" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)
LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/usr/sbin/haproxy" "$@"
WRAPPER
chmod +x "$place/haproxy"
"$place/haproxy" -v 1>&2
