"""A hostile registry cannot make a real HAProxy run a program or carry out a command."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from tests.e2e.balancing import Driver, Place, haproxy
from tests.e2e.nodes import pause, until
from tests.e2e.traffic import traffic
from tests.haproxy.events import instance
from tests.twistd_command import ROOT

pytestmark = pytest.mark.outside

REGISTRY = str(ROOT / "tests/e2e/hostile_registry.py")

#: The time in which HAProxy would run a check, or execute a command.
ENOUGH_S = 2.0

SYNCED = '{"event": "synced", "cursor": "c1"}'

SHUTDOWN = "; shutdown frontend www:in"


def event(event: str, kind: str, **body: Any) -> str:
    return json.dumps({"event": event, "cursor": "c1", "at": 1, "reason": "configured", kind: body})


def registered(number: int, **fields: Any) -> str:
    """Return the event of an instance at this port, with these fields changed, and a matching id."""
    terms = {"resource": "Registration", "ttl": 10.0, "meta": {}, "registered": 1, "node": "n1"}
    body = terms | instance(number, host="127.0.0.1") | fields
    id_ = "/".join(["registration", *(str(body[field]) for field in ("app", "version", "host", "port"))])
    return event("online", "registration", **body | {"id": id_})


def backend(name: str, **fields: Any) -> str:
    return event("created", "backend", id=f"backend/{name}", **{"name": name, "app": "web", "version": "1", **fields})


def frontend(name: str, **fields: Any) -> str:
    return event("created", "frontend", id=f"frontend/{name}", name=name, **fields)


def evil(folder: Path) -> tuple[Path, list[str]]:
    """Return the file that the script creates, and the lines of a configuration that make HAProxy run the script."""
    script, ran = folder / "evil", folder / "ran"
    script.write_text(f"#!/bin/sh\n: >{ran}\n")
    script.chmod(0o755)
    lines = [
        *("global", "    external-check", "    insecure-fork-wanted", "backend evil", "    option external-check"),
        *(f"    external-check command {script}", "    server e 127.0.0.1:1 check inter 100ms"),
    ]
    return ran, lines


async def following(place: Place, *said: str, **options: Any) -> tuple[Driver, Path]:
    """Start a driver of a registry that sends these lines; return it and the file for further lines."""
    port, file = place.ports.take(), place.folder / "said"
    file.write_text("".join(f"{line}\n" for line in said))
    place.start(sys.executable, REGISTRY, str(port), str(file))
    driver = place.driver((), bender=f"127.0.0.1:{port}", **options)
    driver.start()
    await driver.ready()
    return driver, file


@pytest_twisted.ensureDeferred
async def test_the_script_would_run(place: Place) -> None:
    """HAProxy runs the script if its configuration has these lines, so the other tests are meaningful."""
    ran, lines = evil(place.folder)
    file = place.folder / "evil.cfg"
    listening = f"frontend www\n    bind 127.0.0.1:{place.ports.take()}"
    file.write_text("\n".join([listening, *lines, ""]))
    place.start(haproxy(), "-f", str(file))
    await until("the script has run", ran.exists)


@pytest_twisted.ensureDeferred
async def test_a_name_with_a_configuration_in_it(place: Place) -> None:
    """The lines in a name do not reach the configuration, and the script does not run."""
    ran, lines = evil(place.folder)
    port = place.ports.take()
    usual = [backend("shop"), frontend("www", backend="shop", bind=f"127.0.0.1:{port}")]
    driver, _ = await following(place, *usual, backend("\n".join(["x", *lines, "#"])), SYNCED)
    await pause(ENOUGH_S)
    assert not ran.exists()
    assert "external-check" not in driver.file.read_text("utf-8")
    (problem,) = (await driver.status())["problems"].values()
    assert problem.startswith("name: must be printable characters")


@pytest.mark.parametrize(
    "fields",
    [
        {"port": f"80{SHUTDOWN}"},
        {"state": f"ready{SHUTDOWN}"},
        {"host": f"::1%x check-send-proxy{SHUTDOWN}"},
        {"weight": f"1{SHUTDOWN}"},
    ],
    ids=lambda fields: str(next(iter(fields))),
)
@pytest_twisted.ensureDeferred
async def test_an_order_in_place_of_a_value(place: Place, fields: dict[str, Any]) -> None:
    """A command in a field is not sent to HAProxy, which serves as before."""
    serving = await place.instance(None)
    port = place.ports.take()
    usual = [backend("shop"), frontend("www", backend="shop", bind=f"127.0.0.1:{port}"), registered(serving.port)]
    driver, file = await following(place, *usual, SYNCED)
    before = driver.servers("shop")
    async with traffic(port) as asking:
        with file.open("a") as more:
            more.write(registered(1, **fields) + "\n")
            # The driver sends other commands for an existing server.
            more.write(registered(serving.port, **fields).replace("online", "changed") + "\n")
        await pause(ENOUGH_S / 2)
        await asking.until_sent(50)
    assert asking.failed == []
    assert driver.servers("shop") == before
    assert len((await driver.status())["problems"]) in (1, 2)


def misread(lines: list[str], port: int) -> list[str]:
    """Return backends and frontends with a configuration in a field, and unreadable events."""
    text = "\n".join(lines)
    name = f"x\n{text}\n#"
    rules = [{"path": f"/\n{text}", "backend": "shop"}]
    return [
        backend(name),
        frontend(name, backend="shop", bind=f"127.0.0.1:{port}"),
        backend("y\u2028"),
        backend("checked", health={"path": f"/\n{text}"}, balance=f"source\n{text}"),
        frontend("ruled", backend="shop", bind=f"127.0.0.1:{port}", rules=rules),
        *("{", "[]", '{"event": "online", "registration": {"id": 7}}', '{"event": 7}'),
    ]


def misregistered() -> list[str]:
    return [
        registered(1, port=f"80{SHUTDOWN}"),
        registered(2, state=f"ready{SHUTDOWN}"),
        registered(3, weight=f"1{SHUTDOWN}"),
        registered(4, host=f"::1%x check-send-proxy{SHUTDOWN}"),
        registered(5, app="web\n"),
        event("online", "registration", **instance(6) | {"id": "registration/web/1/10.0.0.1/7"}),
    ]


@pytest_twisted.ensureDeferred
async def test_all_of_it_together(place: Place) -> None:
    """HAProxy uses the valid objects, and no request fails; log and status list the invalid ones."""
    serving = await place.instance(None)
    port = place.ports.take()
    ran, lines = evil(place.folder)
    usual = [backend("shop"), frontend("www", backend="shop", bind=f"127.0.0.1:{port}"), registered(serving.port)]
    driver, file = await following(place, *misread(lines, port), *misregistered(), *usual, SYNCED)
    before = driver.servers("shop")
    async with traffic(port) as asking:
        with file.open("a") as more:
            wrong = [
                registered(serving.port, weight=f"9{SHUTDOWN}"),
                registered(serving.port, state=f"maint{SHUTDOWN}"),
            ]
            more.writelines(f"{line.replace('online', 'changed')}\n" for line in (*misregistered(), *wrong))
            more.write(backend(f"z\n{lines[0]}") + "\n")
        await pause(ENOUGH_S)
        await asking.until_sent(50)
    assert asking.failed == []
    assert not ran.exists()
    assert (driver.servers("shop"), len(before)) == (before, 1)
    text = driver.file.read_text("utf-8")
    assert not {"external-check", ";"} & {*text, *text.split()}
    status = await driver.status()
    assert (status["haproxy"]["refused_commands"], status["haproxy"]["refused"]) == ([], None)
    problems = status["problems"]
    assert len(problems) == 14, problems
    said = [line for line in driver.output.splitlines() if "is missing or incomplete in HAProxy" in line]
    assert len(said) == 10, said  # the log's limit for similar lines per minute


@pytest_twisted.ensureDeferred
async def test_a_template_of_one_s_own(place: Place) -> None:
    """In an operator's own template, a valid name is always one word, and invalid names are left out."""
    serving = await place.instance(None)
    port = place.ports.take()
    ran, lines = evil(place.folder)
    template = place.folder / "own.j2"
    template.write_text(TEMPLATE)
    odd = "a b;c\"d'#%[env(HOME)]$HOME\\"
    driver, _ = await following(
        place,
        *(backend(odd), backend("\n".join(["x", *lines, "#"])), backend("shop"), registered(serving.port)),
        *(frontend("www", backend="shop", bind=f"127.0.0.1:{port}"), SYNCED),
        template=str(template),
    )
    async with traffic(port) as asking:
        await asking.until_sent(20)
    assert asking.failed == []
    await pause(ENOUGH_S)
    assert not ran.exists()
    text = driver.file.read_text("utf-8")
    assert "a=20b=3Bc=22d=27=23=25[env(HOME)]=24HOME=5C" in text
    assert "external-check" not in text


TEMPLATE = """global
    description {{ description }}
    stats socket {{ socket }} mode 600 level admin expose-fd listeners
defaults
    mode http
    timeout connect 2s
    timeout client 5s
    timeout server 5s
{% for door in doors %}
frontend {{ door.name }}
    bind {{ door.binds | join(",") }}
    default_backend {{ door.pool }}
{% endfor %}
{% for pool in pools %}
backend {{ pool.name }}
    http-response set-header X-Backend "{{ pool.title }}"
{% for server in servers[pool.name] %}
    server {{ server.name }} {{ server | place }} {{ server | parameters(pool) }}
{% endfor %}
{% endfor %}
{% for mode, name in nowhere.items() %}
backend {{ name }}
    mode {{ mode }}
{% endfor %}
"""
