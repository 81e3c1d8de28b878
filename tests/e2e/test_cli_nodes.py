"""The nodes to which `bender` sends requests, and its time limits for them."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import trustme
from pytest_twisted import ensureDeferred

from tests.e2e.nodes import Cluster, agreed, until
from tests.e2e.shells import WEB, Shell, at, empty, is_sentence, registered


@ensureDeferred
async def test_the_next_node_is_asked(cluster: Cluster, shell: Shell) -> None:
    """A node that refuses connections costs no time, so `bender` does not record it."""
    one, two = await cluster(2, interval=0.25, ttl=2)
    one.kill()
    await one.ended()
    both = f"127.0.0.1:{one.api_port},127.0.0.1:{two.api_port}"
    refused = f"127.0.0.1:{one.api_port} does not answer (connection refused); asked 127.0.0.1:{two.api_port}"
    for _ in range(2):
        shown = shell.output_of("ls", BENDER_NODES=both)
        assert refused in shown
        assert f"(asked 127.0.0.1:{two.api_port})" in shown
    assert not (shell.home / "cache/bender/nodes.json").exists()
    assert shell.done("ls", "--json", BENDER_NODES=both) == "[]\n"

    two.kill()
    await two.ended()
    end = shell.bender("ls", BENDER_NODES=both)
    assert (end.returncode, end.stdout) == (1, "")
    assert is_sentence(end.stderr)
    assert all(f"127.0.0.1:{node.api_port} does not answer" in end.stderr for node in (one, two))


@ensureDeferred
async def test_a_node_that_hangs_is_remembered(shared: Cluster, shell: Shell) -> None:
    """A node that accepts connections and never answers is asked last for a minute."""
    node = await empty(shared)
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        hanging = f"127.0.0.1:{hangs.getsockname()[1]}"
        both = f"{hanging},127.0.0.1:{node.api_port}"
        assert f"{hanging} has not answered yet; asked 127.0.0.1:{node.api_port}" in shell.output_of(
            "ls", BENDER_NODES=both
        )
        remembered = json.loads((shell.home / "cache/bender/nodes.json").read_text())
        assert [*remembered] == [hanging]
        shown = shell.output_of("ls", BENDER_NODES=both)
        assert "has not answered" not in shown
        assert f"(asked 127.0.0.1:{node.api_port})" in shown


@ensureDeferred
async def test_a_node_that_hangs_delays_questions_by_two_seconds_at_most(cluster: Cluster, shell: Shell) -> None:
    """A command is at most two seconds slower if a node accepts connections and never answers."""
    nodes = await cluster(3)
    await registered(nodes[1])
    await agreed(nodes)
    questions = (["ls"], ["backend", "ls"], ["explain", WEB], ["status"], ["diff"])

    def took(question: list[str]) -> tuple[float, str]:
        (shell.home / "cache/bender/nodes.json").unlink(missing_ok=True)
        began = time.monotonic()
        end = shell.bender(*question, at(*nodes))
        return time.monotonic() - began, end.stdout + end.stderr

    usual_s = max(took(question)[0] for question in questions)
    nodes[0].kill(signal.SIGSTOP)
    try:
        for question in questions:
            took_s, said = took(question)
            # Four times the usual time, because the machine may be busy.
            assert took_s < 2 + 4 * usual_s, (question, took_s, usual_s, said)
            away = f"127.0.0.1:{nodes[0].api_port} does not answer within 1.5 s"
            assert (away in said) == (question[0] in ("status", "diff")), said
    finally:
        nodes[0].kill(signal.SIGCONT)


def test_many_nodes_that_hang(shell: Shell) -> None:
    """`bender` does not wait for hanging nodes one after the other."""
    with ExitStack() as stack:
        hanging = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(12)]
        address, _ = stack.enter_context(listening())
        nodes = ",".join([*(f"127.0.0.1:{each.getsockname()[1]}" for each in hanging), address])
        began = time.monotonic()
        shell.done("ls", f"--node={address}")
        usual_s = time.monotonic() - began
        shell.done("ls", f"--node={nodes}")
        assert time.monotonic() - began - usual_s < 2 + 4 * usual_s


@ensureDeferred
async def test_nothing_can_be_remembered(cluster: Cluster, shell: Shell) -> None:
    """Without a readable or writable cache, commands still work."""
    (node,) = await cluster(1)
    nodes = f"--node=127.0.0.1:1,127.0.0.1:{node.api_port}"
    (shell.home / "file").write_text("")
    assert shell.done("ls", "--json", nodes, XDG_CACHE_HOME=str(shell.home / "file")) == "[]\n"
    (shell.home / "cache/bender").mkdir(parents=True)
    (shell.home / "cache/bender/nodes.json").write_text("[")
    assert shell.done("ls", "--json", nodes) == "[]\n"


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Start a server that answers every request with an empty list; yield its address, and the received headers."""
    came: list[dict[str, str]] = []

    class Answering(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            came.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in the library
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"127.0.0.1:{server.server_port}", came
        server.shutdown()
        thread.join()


def test_a_token_is_shown(shell: Shell) -> None:
    """The token of a request comes from `--token-file`, or else from `BENDER_TOKEN`."""
    (shell.home / "token").write_text("filed\n")
    with listening() as (address, came):
        shell.done("ls", f"--node={address}")
        shell.done("ls", f"--node={address}", BENDER_TOKEN="secret")
        shell.done("ls", f"--node={address}", f"--token-file={shell.home / 'token'}", BENDER_TOKEN="secret")
    assert [each.get("Authorization") for each in came] == [None, "Bearer secret", "Bearer filed"]


@ensureDeferred
async def test_nodes_are_spoken_to_by_tls(cluster: Cluster, shell: Shell) -> None:
    """Over TLS, `bender` accepts only nodes whose certificate is signed by a CA in the given file."""
    ours, others = trustme.CA(), trustme.CA()
    ours.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(shell.home / "key.pem"))
    others.cert_pem.write_to_path(str(shell.home / "others.pem"))
    others.cert_pem.write_to_path(str(shell.home / "both.pem"))
    ours.cert_pem.write_to_path(str(shell.home / "both.pem"), append=True)
    node = cluster.node()
    node.options["api"] = f"ssl:{node.api_port}:interface=127.0.0.1:privateKey={shell.home / 'key.pem'}"
    node.start()
    await until("the node is ready", lambda: "Ready" in node.log)
    assert shell.done("ls", "--json", at(node), f"--ca={shell.home / 'both.pem'}") == "[]\n"
    assert shell.done("ls", "--json", at(node), BENDER_CA=str(shell.home / "both.pem")) == "[]\n"
    end = shell.bender("ls", at(node), f"--ca={shell.home / 'others.pem'}")
    assert end.returncode == 1
    assert is_sentence(end.stderr), end.stderr
    assert "its certificate is signed by another CA" in end.stderr
