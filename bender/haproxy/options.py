"""Converts and checks the options of a driver of HAProxy, before the driver does anything.

The message of `OptionError` is one sentence: what is wrong, then what to do.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from shutil import which

from attrs import frozen

from bender.client import parse_nodes
from bender.client.node_list import API_PORT
from bender.client.token_source import is_token
from bender.core.invalid import Invalid
from bender.core.model import parse_name
from bender.haproxy.core.machine_settings import TIMEOUTS, Machine
from bender.haproxy.machine_options import machine_of, require_used
from bender.haproxy.supervisor import MASTER_SUFFIX
from bender.process.log_options import LOG_OPTIONS, LogSettings, parse_log_settings
from bender.process.options import Endpoint, OptionError, RawOption, parse_endpoint

#: The longest path of a Unix socket, less the suffix that HAProxy appends while it creates a socket.
SOCKET_BYTES_MAX = 107 - len(MASTER_SUFFIX) - len(".12345678.tmp")

_TIMEOUTS = ", ".join(f"{name} ({seconds:g})" for name, seconds in TIMEOUTS.items())


def _driver_doc(default: str, doc: str) -> tuple[str, str]:
    takes, _, text = doc.partition(" ")
    return takes, f"{text} [default: {default}]"


#: By option, the value that it takes (None for a flag) and its text in `--help`.
OPTIONS: Mapping[str, tuple[str | None, str]] = {
    "bender": (
        "URL",
        f"of a node's API; repeatable; any that answers is used [default: BENDER_NODES, else 127.0.0.1:{API_PORT}]",
    ),
    "output": ("FILE", "for HAProxy's configuration, which the driver writes; required"),
    "socket": ("FILE", "of HAProxy's socket for the Runtime API; required"),
    "template": ("FILE", "with a Jinja2 template of the configuration [default: the built-in one]"),
    "include": (
        "FOLDER",
        "with files of your own configuration lines, such as frontend-NAME.cfg; read again when a file changes",
    ),
    "certificates": ("PATH", "of the TLS certificates, a file or a folder; loaded again when they change"),
    "log": (
        "WHERE",
        "HAProxy logs requests: ADDRESS[:PORT], a socket's path or stdout; optionally with ,FACILITY",
    ),
    "stats": ("[ADDRESS:]PORT", "of HAProxy's statistics page, and of /metrics for Prometheus"),
    "maxconn": ("NUMBER", "of concurrent connections [default: HAProxy's own, from the limit of open files]"),
    "timeouts": ("NAME=SECONDS,…", f"for frontends and backends that set none; the defaults are {_TIMEOUTS}"),
    "reload": ("COMMAND", "that makes HAProxy load the file again; a shell runs it"),
    "run": ("HAPROXY", "program to start and supervise, instead of --reload; it listens at --socket"),
    "check": ("HAPROXY", "program that checks the configuration [default: that of --run, else haproxy]"),
    "status": ("ENDPOINT", "where the driver serves its status, as JSON over HTTP"),
    "name": ("NAME", "of this driver in bender [default: HOSTNAME-haproxy]"),
    "report": (None, "report to bender which instances HAProxy finds down, and its numbers of requests and errors"),
    "token-file": (
        "FILE",
        "with the token to send to nodes [default: the token in the environment variable BENDER_TOKEN]",
    ),
    "ca": ("FILE", "with the CA certificates (PEM) that signed those of the nodes; connections then use TLS"),
    **{option: _driver_doc(default, doc) for option, (default, doc) in LOG_OPTIONS.items()},
    "insecure": (None, "allow a --status or --stats that other machines can reach"),
}


#: The options whose files the driver reads itself, at the start and after SIGHUP.
FILE_OPTIONS = ("template", "token-file", "ca", "certificates", "include")


@frozen
class DriverOptions:
    """All options of one driver, checked one by one and together."""

    nodes: tuple[str, ...]
    output: Path
    socket: Path
    template: str | None
    reload: str | None
    runs: bool
    haproxy: str
    status: Endpoint | None
    name: str
    report: bool
    token: str | None
    token_file: str | None
    insecure: bool
    ca: bytes | None
    machine: Machine
    certificates: Path | None
    include: Path | None
    log_settings: LogSettings


def validate_options(
    given: Mapping[str, str],
    nodes: Sequence[str],
    flags: frozenset[str],
    *,
    host_name: str,
    environment: Mapping[str, str],
) -> DriverOptions:
    """Return the checked options.

    `given` has the options with a value, `nodes` the values of `--bender`, and `flags` the names of options without a
    value. Raises `OptionError`.
    """
    for option in ("output", "socket"):
        if option not in given:
            raise OptionError(
                f"--{option} is required: {OPTIONS[option][0]} {OPTIONS[option][1].removesuffix('; required')}."
            )
    if "run" in given and "reload" in given:
        raise OptionError(
            "--run and --reload exclude each other, because the driver itself reloads what --run starts: leave out "
            "one of them."
        )
    insecure = "insecure" in flags
    template = _read_text("template", given.get("template"))
    require_used(given, template)
    return DriverOptions(
        nodes=_nodes(nodes, environment.get("BENDER_NODES")),
        output=_output(given["output"]),
        socket=_socket(given["socket"], runs="run" in given),
        template=template,
        reload=given.get("reload"),
        runs="run" in given,
        haproxy=_program(given, environment.get("PATH")),
        status=_status(given.get("status"), insecure=insecure),
        name=_name(given.get("name", f"{host_name}-haproxy")),
        report="report" in flags,
        token=_token(given.get("token-file"), environment),
        token_file=given.get("token-file"),
        insecure=insecure,
        ca=_read("ca", given.get("ca")),
        machine=machine_of(given, insecure=insecure),
        certificates=_existing("certificates", given.get("certificates")),
        include=_existing("include", given.get("include"), folder=True),
        log_settings=parse_log_settings(
            {each: RawOption(f"--{each}", given[each]) for each in LOG_OPTIONS if each in given}
        ),
    )


def options_in_file(file_options: Mapping[str, RawOption]) -> tuple[dict[str, str], Sequence[str], frozenset[str]]:
    """Return the options of a file as `validate_options` expects them: options with a value, nodes and flags.

    Raises `OptionError` if a value has the wrong type.
    """
    texts: dict[str, str] = {}
    nodes: list[str] = []
    flags: set[str] = set()
    for option, given in file_options.items():
        if option == "bender":
            nodes = _node_list(given)
        elif OPTIONS[option][0] is None:
            if not isinstance(given.value, bool):
                raise OptionError(f"{given.source} must be true or false, not {given.value!r}.")
            flags |= {option} if given.value else set()
        elif isinstance(given.value, bool) or not isinstance(given.value, str | int | float):
            raise OptionError(f"{given.source} must be a string, not {given.value!r}.")
        else:
            texts[option] = str(given.value)
    return texts, nodes, frozenset(flags)


def _node_list(given: RawOption) -> list[str]:
    values = [given.value] if isinstance(given.value, str) else given.value
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise OptionError(f"{given.source} must be a list of nodes, each a string, not {given.value!r}.")
    return values


def _nodes(nodes: Sequence[str], usual: str | None) -> tuple[str, ...]:
    where = "--bender" if nodes or not usual else "BENDER_NODES:"
    found: dict[str, None] = {}
    for text in nodes or [usual or f"127.0.0.1:{API_PORT}"]:
        try:
            found |= dict.fromkeys(parse_nodes(text))
        except ValueError as error:
            raise OptionError(f"{where} {error}.") from error
    return (*found,)


def _output(text: str) -> Path:
    path = Path(text).absolute()
    if path.is_dir() or not path.name:
        raise OptionError(f"--output {text} is a folder: name a file in it.")
    if not _may_write_to(path.parent):
        raise OptionError(
            f"--output {text} cannot be written: create the folder {path.parent}, or let this user write to it."
        )
    return path


def _socket(text: str, *, runs: bool) -> Path:
    path = Path(text).absolute()
    if not str(path).isprintable() or "," in str(path) or len(os.fsencode(path)) > SOCKET_BYTES_MAX:
        raise OptionError(
            f"--socket {text!r} must be a path of printable characters, without a comma, of at most "
            f"{SOCKET_BYTES_MAX} bytes."
        )
    if path.is_dir():
        raise OptionError(f"--socket {text} is a folder: name a file in it.")
    if runs and not _may_write_to(path.parent):
        raise OptionError(
            f"--socket {text} cannot be created by the HAProxy that --run starts: create the folder {path.parent}, or "
            "let this user write to it."
        )
    return path


def _may_write_to(folder: Path) -> bool:
    return folder.is_dir() and os.access(folder, os.W_OK | os.X_OK)


def _program(given: Mapping[str, str], path: str | None) -> str:
    option = next((each for each in ("check", "run") if each in given), None)
    name = given.get("run", "haproxy") if option is None else given[option]
    found = which(name, path=path)
    if found is None and option is None:
        raise OptionError("haproxy, which checks configurations, is not in PATH: install it, or name it with --check.")
    if found is None:
        raise OptionError(f"--{option} {name} is not an executable program: name HAProxy itself.")
    return str(Path(found).absolute())


def _status(text: str | None, *, insecure: bool) -> Endpoint | None:
    if text is None:
        return None
    endpoint = parse_endpoint(RawOption("--status", text))
    if not endpoint.is_loopback and not insecure:
        raise OptionError(
            f"--status {text} can be reached from other machines and nothing protects it: use interface=127.0.0.1 "
            "or a unix: socket, or add --insecure if every client that reaches it may read it."
        )
    return endpoint


def _name(text: str) -> str:
    try:
        return parse_name("name", text)
    except Invalid as error:
        raise OptionError(f"--{error}.") from error


def _existing(option: str, text: str | None, *, folder: bool = False) -> Path | None:
    if text is None:
        return None
    path = Path(text).absolute()
    if not (path.is_dir() or (path.is_file() and not folder)):
        raise OptionError(f"--{option} {text} does not exist, or is not a {'folder' if folder else 'file or folder'}.")
    return path


def _token(path: str | None, environment: Mapping[str, str]) -> str | None:
    text = _read_text("token-file", path)
    if text is None:
        return environment.get("BENDER_TOKEN") or None
    token = text.strip()
    if not is_token(token):
        raise OptionError(f"--token-file {path} has no token: write one line of printable ASCII into it.")
    return token


def _read_text(option: str, path: str | None) -> str | None:
    content = _read(option, path)
    try:
        return None if content is None else content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(f"--{option} {path} is not UTF-8 ({error}).") from error


def _read(option: str, path: str | None) -> bytes | None:
    try:
        return None if path is None else Path(path).read_bytes()
    except OSError as error:
        raise OptionError(f"--{option} {path} cannot be read: {error.strerror}.") from error
