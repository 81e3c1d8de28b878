"""Answers of `bender --json`, and what registers in the tests of the command line."""

from __future__ import annotations

import treq

from bender.cli.session import user_at_host
from tests.e2e.nodes import PATIENCE_S, Node
from tests.e2e.shells import WEB

WEB_ID = f"registration/{WEB}"

#: How histories name who runs these tests.
ME = user_at_host()

#: What makes a terminal show colours and the like.
ESCAPE = "\x1b["


async def answered(node: Node, path: str) -> str:
    """What the API answers, byte for byte."""
    response = await treq.get(node.api_url + path, persistent=False, timeout=PATIENCE_S)
    return (await response.content()).decode()
