"""The names of this machine in its own configuration. DNS is not used: its answers may come from an attacker."""

from __future__ import annotations

from pathlib import Path

HOSTS_FILE = Path("/etc/hosts")

#: Bytes of the file that are read. Some files have a hundred thousand blocked names at the end.
_FILE_BYTES_MAX = 1024 * 1024


def machine_names(host_name: str, hosts_file: Path = HOSTS_FILE) -> frozenset[str]:
    """Return the host name, and all names in the same lines of `/etc/hosts` (`box.example.com box`), in lower case."""
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
