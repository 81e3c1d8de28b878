"""What the pages have their readers type does what they say. How a page notes what its test has to know: `pages.py`."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.following import PATH, alone
from tests.e2e.nodes import ROOT, environment
from tests.e2e.pages import Block, blocks, like

#: Those that somebody follows from the beginning to the end, or goes to with a task.
PAGES = (
    "README.md",
    "docs/client.md",
    "docs/tutorial.md",
    "docs/registering.md",
    "docs/deploying.md",
    "docs/haproxy.md",
    "docs/scripts.md",
    "docs/operations.md",
    "docs/migrating.md",
)

#: What those pages and their test need. Not every machine has it, so they are tested with what is from outside.
PROGRAMS = ("bash", "curl", "haproxy", "ip", "make", "openssl", "unshare")

#: For one page. The tutorial takes a minute, ten seconds of which an instance takes to expire.
PAGE_S_MAX = 120.0


TWO_TERMINALS = """
```sh
A=1
```

<!-- terminal 2 -->
<!-- until: waits -->
```sh
echo "waits, $A"; cat
```

<!-- terminal 1 -->
```sh
echo $A
```

```console
1
```

<!-- terminal 2 -->
```text
waits, ...
```

<!-- file: two.json -->
```json
{"b": [1, 2],
 "c": 3}
```

<!-- terminal 2 -->
```sh
cat two.json
```

```json
{"b": [1, "..."], "c": 3}
```

<!-- python
a = 1
-->
```python
print("a is", a)
```

```text
a is 1
```
"""


MUCH_TO_SAY = """
<!-- until: 1 -->
```sh
seq 100000; touch done; cat
```

<!-- terminal 2 -->
```sh
until [ -e done ]; do sleep 0.1; done
```
"""


def follow(page: Path, folder: Path) -> str:
    """Do what a page says, in a network and among processes of its own; returns what is not so, or nothing."""
    missing = [program for program in PROGRAMS if not shutil.which(program, path=PATH)]
    assert not missing, f"there is no {missing[0]} here"
    assert not subprocess.run(alone("true"), check=False).returncode, "no network of its own can be had here"
    end = subprocess.run(
        alone(sys.executable, "-m", "tests.e2e.following", str(page), str(folder)),
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PAGE_S_MAX,
        check=False,
    )
    return end.stdout if end.returncode else ""


@pytest.mark.outside
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_as_it_says(page: str, tmp_path: Path) -> None:
    """Each block does something, without failing, and what is shown below it is what comes of it."""
    assert follow(ROOT / page, tmp_path) == ""


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_has_no_mistakes_of_syntax(page: str) -> None:
    """Nor has the rest, also on a machine where it cannot be run."""
    for block in blocks((ROOT / page).read_text("utf-8")):
        if block.language == "sh":
            end = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            assert end.stderr == "", f"{page}:{block.line}"
        elif block.language == "python":
            compile("\n" * (block.line - 1) + block.text, page, "exec")


@pytest.mark.outside
@pytest.mark.parametrize(
    ("page", "complaint"),
    [
        ("```sh\nfalse\ntrue\n```", "2: false: status 1"),
        ("<!-- until: 2 -->\n```sh\nfalse\necho 2; sleep 60\n```", "3: false: status 1"),
        ("<!-- until: 2 -->\n```sh\necho 1\n```", "3: it ended"),
        ("<!-- fails -->\n```sh\ntrue\n```", "3: nothing failed"),
        ("```python\n1 / 0\n```", "2: ZeroDivisionError"),
        ("```sh\necho a\n```\n\nshows\n\n```text\nb\n```", "8: it does not print what the page shows"),
    ],
)
def test_what_is_not_as_a_page_says_is_noticed(page: str, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text(page)
    assert f"page.md:{complaint}" in follow(path, tmp_path)


@pytest.mark.outside
def test_a_terminal_is_as_its_reader_left_it(tmp_path: Path) -> None:
    """Each has its variables; what stays in one is ended by Ctrl-C before the next is typed there."""
    (tmp_path / "page.md").write_text(TWO_TERMINALS)
    assert follow(tmp_path / "page.md", tmp_path) == ""


@pytest.mark.outside
def test_what_nobody_looks_at_goes_on(tmp_path: Path) -> None:
    """A program waits whose terminal takes nothing, and a reader's terminals take all."""
    (tmp_path / "page.md").write_text(MUCH_TO_SAY)
    assert follow(tmp_path / "page.md", tmp_path) == ""


def test_a_note_that_nobody_knows_is_a_mistake() -> None:
    for page in ("<!-- untill: 1 -->\n```sh\n```", "<!-- fails -->\nNo block."):
        with pytest.raises(ValueError, match=r"note|block"):
            list(blocks(page))


def test_dots_stand_for_anything() -> None:
    """In JSON white space does not count, and in other output it does not count how much there is."""
    for language, shown, printed in [
        ("text", "a ... b", "a  c\nd b\n"),
        ("text", "…\nat 10.0.0.1", "x\nat   10.0.0.1"),
        ("json", '{"a": 1, "…": "…"}', '{"a":1,"b":{"c":2}}\n'),
        ("json", '[1, "..."]', "[\n1,\n{}\n]"),
    ]:
        assert like(Block(1, language, shown)).fullmatch(printed)
    for language, shown, printed in [
        ("text", "a b", "ab"),
        ("text", "10.0.0.1", "10a0b0c1"),
        ("json", "[1]", "[1, 2]"),
    ]:
        assert not like(Block(1, language, shown)).fullmatch(printed)
