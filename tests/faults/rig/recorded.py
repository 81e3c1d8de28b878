"""Runs a program of bender that is a client, and writes each of its requests to a file as a fact.

`python -m tests.faults.rig.recorded FILE NAME bender ARGUMENT…` runs the command line `bender`;
`python -m tests.faults.rig.recorded FILE NAME registrar NODES KEY…` keeps instances registered with a `Registrar`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from bender.client import twisted_http
from bender.client.types import Reply
from tests.faults.facts import ClientRequest, Operation, description_of, encode
from tests.faults.rig.network import PREFIX
from tests.faults.rig.recorder import now

OPERATIONS: dict[str, Operation] = {"POST": "register", "PUT": "renew", "DELETE": "deregister"}


class Recording:
    """Writes facts about the requests that pass through `ask`."""

    def __init__(self, file: Path, name: str) -> None:
        self._file = file.open("ab", buffering=0)
        self._name = name

    def install(self) -> None:
        ask = twisted_http.Http.ask

        async def recorded(http: Any, node: str, method: str, path: str, body: bytes | None, *more: Any) -> Reply:
            sent_at = now()
            # The fact is written before and after the request, because the program may be killed between.
            self._add(sent_at, sent_at, node, method, path, body, None)
            try:
                reply = await ask(http, node, method, path, body, *more)
            except BaseException:
                self._add(sent_at, now(), node, method, path, body, None)
                raise
            self._add(sent_at, now(), node, method, path, body, reply)
            return reply

        twisted_http.Http.ask = recorded  # type: ignore[method-assign, assignment]

    def _add(
        self, sent_at: float, at: float, node: str, method: str, path: str, body: bytes | None, reply: Reply | None
    ) -> None:
        url = urlsplit(path)
        if method not in OPERATIONS or not url.path.startswith(("/registrations", "/renewals")):
            return
        sent = json.loads(body) if body else {}
        answered = json.loads(reply.body) if reply and reply.body else {}
        status = None if reply is None else reply.status
        common: dict[str, Any] = {"at": at, "sent_at": sent_at, "client": self._name, "node": _name_of(node)}
        if url.path == "/renewals":
            for key in sent["ids"]:
                known = 404 if status == 200 and key in answered.get("unknown", ()) else status
                self._write(ClientRequest(**common, operation="renew", key=key, status=known))
            return
        key = _key_of(url.path, sent)
        body_there = description_of(answered) if "id" in answered else ""
        unit = str((sent.get("meta") or {}).get("unit", ""))
        reason = parse_qs(url.query).get("reason", ["deregistered"])[0]
        fact = ClientRequest(
            **common,
            operation=OPERATIONS[method],
            key=key,
            status=status,
            unit=unit,
            ttl_s=float(sent.get("ttl") or 0),
            body=body_there,
            reason=reason if method == "DELETE" else "",
        )
        self._write(fact)

    def _write(self, fact: ClientRequest) -> None:
        self._file.write(encode(fact))


def _name_of(node: str) -> str:
    """Return the name of the node at an address such as `10.77.0.2:1729`."""
    host = node.rpartition("//")[2].partition(":")[0]
    return f"n{host.removeprefix(f'{PREFIX}.')}"


def _key_of(path: str, sent: dict[str, Any]) -> str:
    if path == "/registrations":
        return f"registration/{sent['app']}/{sent['version']}/{sent['host']}/{sent['port']}"
    return unquote(path.removeprefix("/").replace("registrations", "registration", 1))


def _registrar(nodes: str, keys: list[str]) -> None:
    from twisted.internet import reactor  # noqa: PLC0415 - the command line of bender chooses its own

    from bender.client import Client, Registrar, parse_nodes  # noqa: PLC0415 - as above

    registrar = Registrar(Client(reactor, parse_nodes(nodes)))
    for key in keys:
        app, version, host, port, unit, ttl_s = key.split("/")
        registrar.add(app, version, host, int(port), ttl_s=float(ttl_s), meta={"unit": unit})
    typed: Any = reactor
    typed.callWhenRunning(registrar.startService)
    typed.addSystemEventTrigger("before", "shutdown", registrar.stopService)
    typed.run()


def main(file: str, name: str, program: str, *arguments: str) -> None:
    Recording(Path(file), name).install()
    if program == "registrar":
        _registrar(arguments[0], [*arguments[1:]])
        return
    from bender.cli import main as bender  # noqa: PLC0415 - only where it is run

    sys.argv = ["bender", *arguments]
    bender()


if __name__ == "__main__":
    main(*sys.argv[1:])
