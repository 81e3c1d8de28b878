"""Blocking requests to nodes, without a reactor, because tests of pages are plain functions."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from tests.e2e.nodes import PATIENCE_S, Answer, Node
from tests.waiting import holds_within


def ask(address: str, method: str, path: str, body: Any = None, token: str | None = None) -> Answer:
    """Send a request on a new connection, and return the answer. Raises `OSError` if there is none."""
    request = urllib.request.Request(address + path, method=method)
    if token is not None:
        request.add_header("Authorization", f"Bearer {token}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return _answer(answer.status, answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            return _answer(refusal.code, refusal.read())


def wait_until_ready(node: Node) -> None:
    """Wait until a node that was started is ready. Fails at once if the process ends."""

    def is_ready() -> bool:
        assert node.process.poll() is None, f"{node.name} ended with {node.process.returncode}: {node.stderr}"
        try:
            return ask(node.api_url, "GET", "/ready").status == 200
        except OSError:
            return False

    assert holds_within(PATIENCE_S, is_ready), f"{node.name} is not ready: {node.log}"


def _answer(status: int, content: bytes) -> Answer:
    return Answer(status, json.loads(content) if content else None)
