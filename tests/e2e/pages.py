"""The blocks of a page, and the notes for the test in a Markdown comment before a block.

Whoever reads the page does not see the notes, and should not need them:

    <!-- terminal 2 -->           where it is typed, or shown; if not said, in that of the block before, at first in 1
    <!-- until: TEXT -->          it stays in the foreground, and the page goes on as soon as it has printed this
    <!-- fails -->                a command in it ends with another status than 0, or a request is refused
    <!-- file: NAME -->           it is the content of a file, in whichever language
    <!-- not run: REASON -->      it is looked at for mistakes of syntax alone

Blocks of `sh` and `python` are typed. What they print is up to the block of `console`, `text` or `json` that follows,
where one does. A block that only the test has use for is a comment itself, with its language in the first line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import field, frozen
from markdown_it import MarkdownIt
from markdown_it.token import Token

TYPED = ("sh", "python")
SHOWN = ("console", "text", "json")

NOTE = re.compile(r"<!-- (terminal|until:|fails|file:|not run:) ?(.*?) ?-->")
UNSEEN = re.compile(rf"<!-- ({'|'.join((*TYPED, *SHOWN))})\n(.*?)-->", re.DOTALL)


@frozen
class Block:
    """One block of a page. `line` is where its text begins, from 1; `notes` are by their first word or words."""

    line: int
    language: str
    text: str
    notes: dict[str, str] = field(factory=dict)


def blocks(page: str) -> Iterator[Block]:
    """Return all blocks of a page, in order. Raises `ValueError` for an unknown note."""
    notes: dict[str, str] = {}
    for token in MarkdownIt().parse(page):
        line = token.map[0] + 2 if token.map else 0
        if token.type == "html_block" and token.content.startswith("<!--"):
            unseen = UNSEEN.match(token.content)
            if unseen:
                yield Block(line, unseen[1], unseen[2], notes)
                notes = {}
            else:
                notes |= _notes(token)
        elif token.type == "fence":
            yield Block(line, token.info.strip(), token.content, notes)
            notes = {}
        elif notes and token.level == 0:
            raise ValueError(f"line {line - 1}: there should be a block below {notes}")


def _notes(token: Token) -> dict[str, str]:
    left = NOTE.sub("", token.content).strip()
    if left:
        raise ValueError(f"no note to a block: {left}")
    return {what.rstrip(":"): of_it for what, of_it in NOTE.findall(token.content)}


def like(block: Block) -> re.Pattern[str]:
    """Return a pattern for the output that a block shows.

    `...` stands for anything, and so does `"...": "..."` for any parts of an object. In JSON white space does not
    count, elsewhere it does not count how much there is.
    """
    text = re.sub(r'"(\.\.\.|…)"(: *"(\.\.\.|…)")?', "...", block.text) if block.language == "json" else block.text
    parts = [
        r"\s*".join(map(re.escape, "".join(part.split()))) if block.language == "json" else _words(part)
        for part in re.split(r"\.\.\.|…", text)
    ]
    return re.compile(r"\s*" + r".*?".join(parts) + r"\s*", re.DOTALL)


def _words(text: str) -> str:
    """Return a pattern for these words, with any white space between them."""
    return r"\s+".join(map(re.escape, text.split()))
