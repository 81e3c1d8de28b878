#!/bin/sh
# Sets up dig in the folder that is named: Debian's package, unpacked in dns/, and beside it `dig`, which runs it. Where
# the machine has it, nothing is done but to make the folder. Needs apt-get and dpkg, and no root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
if [ -x "$(command -v dig)" ]; then
    exit
fi

# With what it needs of that which small machines do not have.
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
