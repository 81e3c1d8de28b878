"""The blocks of a page, and the notes for the test in a Markdown comment before a block.

Readers of the page do not see the notes, and do not need them:

    <!-- terminal 2 -->           the terminal in which it is typed, or shown; by default the last one, and at first 1
    <!-- until: TEXT -->          it stays in the foreground, and the next block follows when it has printed this text
    <!-- fails -->                a command in it ends with another status than 0, or a request is refused
    <!-- file: NAME -->           it is the content of a file, in any language
    <!-- not run: REASON -->      it is checked only for errors of syntax

Blocks of `sh` and `python` are typed. A block of `console`, `text` or `json` after them is their expected output. A
block that only the test needs is itself a comment, with its language in the first line.
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
    """A block of a page. `line` is the first line of its text, from 1; `notes` are by their first word or words."""

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

    `...` matches anything, and `"...": "..."` matches any parts of an object. In JSON white space is ignored, and in
    other output its amount is ignored.
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
