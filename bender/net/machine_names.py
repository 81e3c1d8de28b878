"""The names of this machine, as it is configured itself. DNS is not asked: its answers may be an attacker's."""

from __future__ import annotations

from pathlib import Path

HOSTS_FILE = Path("/etc/hosts")

#: Bytes of the file that are read. Some have a hundred thousand names of advertisers at the end.
_FILE_BYTES_MAX = 1024 * 1024


def machine_names(host_name: str, hosts_file: Path = HOSTS_FILE) -> frozenset[str]:
    """Return the host name and all names beside it in `/etc/hosts`, as `box.example.com box`; in lower case."""
    own = host_name.lower().removesuffix(".")
    names = {own}
    try:
        with hosts_file.open("rb") as file:
            text = file.read(_FILE_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        beside = [name.lower().removesuffix(".") for name in line.partition("#")[0].split()[1:]]
        if own in beside:
            names.update(beside)
    return frozenset(names)
