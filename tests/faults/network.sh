#!/bin/sh
# Sets up nft and ip, with which tests make and disturb networks, in the folder that is named: Debian's packages,
# unpacked, and beside them `nft` and `ip`, which run them. Where the machine has one, nothing is done for it. Needs
# apt-get and dpkg, and no root.
set -eu

place=$1
mkdir -p "$place"
place=$(cd "$place" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
PATH=$PATH:/usr/sbin:/sbin

provide() {
    program=$1
    shift
    if [ -x "$(command -v "$program")" ]; then
        return
    fi
    # With what it needs of that which small machines do not have.
    "$here/../../bench/debian/unpack.sh" "$place" "$@"
    cat >"$place/$program" <<WRAPPER
#!/bin/sh
here=\$(cd "\$(dirname "\$0")" && pwd)
program=\$(ls "\$here/usr/sbin/$program" "\$here/bin/$program" "\$here/sbin/$program" 2>/dev/null | head -1)
LD_LIBRARY_PATH=\$(echo "\$here"/usr/lib/*-linux-gnu | tr ' ' ':') exec "\$program" "\$@"
WRAPPER
    chmod +x "$place/$program"
    "$place/$program" -V 1>&2 || "$place/$program" -v 1>&2
}

provide nft nftables libnftables1 libnftnl11 libmnl0 libjansson4 libedit2 libbsd0 libmd0 libxtables12
provide ip iproute2 libmnl0 libelf1 libbpf1 libcap2 libbsd0 libmd0
