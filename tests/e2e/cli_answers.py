"""Constants of the tests of the command line, and answers of the API to compare with."""

from __future__ import annotations

import treq

from bender.cli.session import user_at_host
from tests.e2e.nodes import PATIENCE_S, Node
from tests.e2e.shells import WEB

WEB_ID = f"registration/{WEB}"

#: The author of changes by these tests in histories.
ME = user_at_host()

#: The start of sequences for colours and the like in a terminal.
ESCAPE = "\x1b["


async def answered(node: Node, path: str) -> str:
    """Return the answer of the API, unchanged."""
    response = await treq.get(node.api_url + path, persistent=False, timeout=PATIENCE_S)
    return (await response.content()).decode()
