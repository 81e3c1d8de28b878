#!/bin/sh
# Sets up dig in a folder: Debian's package, unpacked in dns/, and the script `dig`, which runs it. If the machine has
# dig, only the folder is made. Needs apt-get and dpkg, but not root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v dig)" ]; then
    exit
fi

# The packages that dig needs, and that small machines lack.
"$(dirname "$0")/../../bench/debian/unpack.sh" "$place/dns" bind9-dnsutils bind9-libs libbsd0 libedit2 libfstrm0 \
    libgssapi-krb5-2 libicu72 libidn2-0 libjemalloc2 libjson-c5 libk5crypto3 libkeyutils1 libkrb5-3 libkrb5support0 \
    liblmdb0 libmaxminddb0 libmd0 libnghttp2-14 libprotobuf-c1 libunistring2 libuv1 libxml2
cat >"$place/dig" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd)/dns
LD_LIBRARY_PATH=$(echo "$here"/usr/lib/*-linux-gnu) exec "$here/usr/bin/dig" "$@"
WRAPPER
chmod +x "$place/dig"
"$place/dig" -v 1>&2
