"""`bender certs` and `bender token`: make certificates and tokens that protect a cluster, without asking a node."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import tomli_w

from bender.cli.click_base import BenderCommand
from bender.cli.output import Output
from bender.core.authors import NAME_CHARACTERS_MAX
from bender.core.hosts import canonical_host
from bender.core.invalid import Invalid
from bender.core.scopes import parse_scopes
from bender.net.local_addresses import local_addresses
from bender.tls.identity import AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE

if TYPE_CHECKING:
    from bender.tls.issuing import Authority

#: Days for which a certificate is valid: the default, and the largest number that can be given.
DAYS = 730
DAYS_MAX = 3650

#: Random bytes in a token.
TOKEN_BYTES = 32


@click.command(
    cls=BenderCommand,
    examples="""
    bender certs ca
    bender certs n1 --ca ca --host n1.example --host 10.0.0.5
    bender certs n1 --ca ca
    """,
)
@click.argument(
    "directory",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the files are written; it is created if it does not exist.",
)
@click.option(
    "--ca",
    "ca_directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The directory of an existing CA, which signs the certificate; without this option a CA is made in DIR.",
)
@click.option(
    "--host",
    "hosts",
    metavar="HOST",
    multiple=True,
    help="A host name or address that the certificate is for; repeatable. The default is the hosts of the certificate "
    "that is replaced, or if there is none, the name and all addresses of this machine.",
)
@click.option(
    "--days",
    type=click.IntRange(1, DAYS_MAX),
    default=DAYS,
    show_default=True,
    help="Days for which the certificate is valid.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def certs(directory: Path, ca_directory: Path | None, hosts: tuple[str, ...], days: int, *, as_json: bool) -> int:
    """Make a certificate for a node, and the CA of the cluster if there is none yet.

    Nodes use the directory as --tls DIR and --peer-tls DIR. Clients use the file ca.pem in it as --ca FILE. Do not copy
    ca-key.pem, which signs certificates, to the nodes. With --ca, a certificate that is already in DIR is replaced:
    send SIGHUP to the node afterwards. To move a cluster to a new CA, put the old and the new CA into ca.pem: a ca.pem
    with several CAs is not changed if that of --ca is one of them.
    """
    from bender.tls import issuing  # noqa: PLC0415 - its library takes a tenth of a second to import

    screen = Output(as_json=as_json)
    now = datetime.now(UTC)
    try:
        named = _hosts(hosts, directory)
        if ca_directory is None:
            _refuse_existing(directory)
            authority = issuing.make_authority("bender CA", now)
        else:
            authority = issuing.load_authority(ca_directory)
            _refuse_other_authority(directory, authority, ca_directory)
        certificate_pem, key_pem = issuing.issue(authority, named, now, timedelta(days=days))
        directory.mkdir(parents=True, exist_ok=True)
        files = [] if ca_directory is not None else issuing.write_authority(directory, authority)
        files += issuing.write_certificate(directory, authority, certificate_pem, key_pem)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or directory} cannot be written: {error.strerror}") from error
    expires = min(now + timedelta(days=days), authority.certificate.not_valid_after_utc)
    written = sorted({str(file) for file in files})
    if as_json:
        shown = {"files": written, "hosts": named, "expires": int(expires.timestamp() * 1000)}
        screen.json(msgspec.json.encode(shown))
        return 0
    screen.say(f"Wrote {', '.join(written)}.")
    screen.say(f"The certificate is for {', '.join(named)}, and valid until {expires:%Y-%m-%d}.")
    if ca_directory is None:
        screen.say(f"Keep {directory / AUTHORITY_KEY_FILE} secret: its holder can add nodes to the cluster.")
    return 0


def _hosts(given: Iterable[str], directory: Path) -> list[str]:
    """Return the hosts for a certificate: the given ones, those of the present certificate, or those of this machine.

    Raises `ValueError` if a given host is invalid.
    """
    hosts = []
    for host in given:
        try:
            hosts.append(canonical_host(host))
        except Invalid as error:
            raise ValueError(f"--host {host!r} {str(error).partition(': ')[2]}") from error
    return [*dict.fromkeys(hosts)] or _hosts_before(directory / CERTIFICATE_FILE) or _hosts_of_this_machine()


def _hosts_before(path: Path) -> list[str]:
    """Return the hosts of the certificate in a file that will be replaced; none if it cannot be read."""
    from cryptography import x509  # noqa: PLC0415 - as above

    from bender.tls.connections import names_of  # noqa: PLC0415 - as above

    with suppress(OSError, ValueError):
        return names_of(x509.load_pem_x509_certificate(path.read_bytes()))
    return []


def _hosts_of_this_machine() -> list[str]:
    """Return the names and addresses of this machine, without link-local addresses, which no client can use."""
    names = {"localhost", "127.0.0.1", "::1"}
    with suppress(Invalid):
        names.add(canonical_host(socket.gethostname()))
    for address in local_addresses():
        if not ip_address(address).is_link_local:
            names.add(address)
    return sorted(names)


def _refuse_existing(directory: Path) -> None:
    for name in (AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE):
        if (directory / name).exists():
            raise ValueError(
                f"{directory / name} exists already: sign more certificates with --ca DIR, or choose another directory"
            )


def _refuse_other_authority(directory: Path, authority: Authority, ca_directory: Path) -> None:
    existing = directory / AUTHORITY_FILE
    if existing.exists() and not authority.is_in(existing):
        raise ValueError(
            f"{existing} does not have the CA in {ca_directory}: append {ca_directory / AUTHORITY_FILE} to it if peers "
            "and clients are to trust both, or remove it to move this node to another CA"
        )


@click.command(
    cls=BenderCommand,
    examples="""
    bender token edge read --secret-file edge.token >>tokens.toml
    bender token web-ci 'register:web-*' configure --secret-file ci.token >>tokens.toml
    """,
)
@click.argument("name", metavar="NAME", help="The name of the token; histories and errors show it.")
@click.argument(
    "scopes",
    metavar="SCOPE…",
    nargs=-1,
    required=True,
    help="What the token permits: read, register:APP (with * and ?), configure, admin.",
)
@click.option(
    "--secret-file",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the token itself is written, for --token-file; the file must not exist yet.",
)
def token(name: str, scopes: tuple[str, ...], secret_file: Path) -> int:
    """Make a token for clients, and print the TOML table to add to the file that nodes read (--tokens FILE).

    The table has only the SHA-256 of the token. Append the table to that file on each node, and send SIGHUP to the
    nodes.
    """
    if not (name.isprintable() and 1 <= len(name.strip()) <= NAME_CHARACTERS_MAX):
        raise click.ClickException(f"NAME must be 1 to {NAME_CHARACTERS_MAX} printable characters")
    try:
        parse_scopes(scopes)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    secret = secrets.token_urlsafe(TOKEN_BYTES)
    try:
        descriptor = os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.ClickException(f"--secret-file {secret_file} cannot be created: {error.strerror}") from error
    with open(descriptor, "w", encoding="ascii") as file:  # noqa: PTH123 - it has a descriptor already
        file.write(f"{secret}\n")
    table = {"name": name.strip(), "sha256": sha256(secret.encode()).hexdigest(), "scopes": [*scopes]}
    click.echo(f"[[token]]\n{tomli_w.dumps(table)}")
    return 0
