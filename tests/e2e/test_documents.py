"""The commands on the pages have the results that the pages show. `pages.py` describes the notes for this test."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.following import PATH, alone
from tests.e2e.pages import Block, blocks, like
from tests.twistd_command import ROOT, environment

#: The pages that readers follow from beginning to end, or use for a task.
PAGES = (
    "README.md",
    "docs/client.md",
    "docs/tutorial.md",
    "docs/registering.md",
    "docs/deploying.md",
    "docs/haproxy.md",
    "docs/agent-check.md",
    "docs/dns.md",
    "docs/scripts.md",
    "docs/operations.md",
    "docs/security.md",
    "docs/migrating.md",
)

#: Programs that the pages and their test need. Some machines lack them, so these tests are marked `outside`.
PROGRAMS = ("bash", "curl", "dig", "haproxy", "ip", "make", "openssl", "unshare")

#: The time limit of a page. The tutorial takes a minute, because an instance takes ten seconds to expire, and so does
#: the change of a cluster to TLS, which starts each node several times.
PAGE_S_MAX = 240.0


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


CTRL_C_TWICE = """
<!-- until: waits -->
```sh
python -c "if True:
    import time
    try:
        print('waits', flush=True)
        time.sleep(300)
    except KeyboardInterrupt:
        pass"
sleep 300
```

<!-- terminal 1 -->
```sh
true
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
    """Run a page, in separate network and process namespaces; return its first difference, or an empty text."""
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
    """Each block runs without failing, and its output is the one shown below it."""
    assert follow(ROOT / page, tmp_path) == ""


@pytest.mark.parametrize("page", PAGES)
def test_what_is_not_run_has_no_mistakes_of_syntax(page: str) -> None:
    """All blocks have valid syntax, also those that are not run or that this machine cannot run."""
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
    """Each terminal keeps its variables; Ctrl-C ends a running block before the next one is typed there."""
    (tmp_path / "page.md").write_text(TWO_TERMINALS)
    assert follow(tmp_path / "page.md", tmp_path) == ""


@pytest.mark.outside
def test_ctrl_c_is_pressed_again(tmp_path: Path) -> None:
    """bash goes on with a block if a command of it handles the first Ctrl-C."""
    (tmp_path / "page.md").write_text(CTRL_C_TWICE)
    assert follow(tmp_path / "page.md", tmp_path) == ""


@pytest.mark.outside
def test_what_nobody_looks_at_goes_on(tmp_path: Path) -> None:
    """A program blocks if nothing reads its terminal, so the test reads all terminals."""
    (tmp_path / "page.md").write_text(MUCH_TO_SAY)
    assert follow(tmp_path / "page.md", tmp_path) == ""


def test_a_note_that_nobody_knows_is_a_mistake() -> None:
    for page in ("<!-- untill: 1 -->\n```sh\n```", "<!-- fails -->\nNo block."):
        with pytest.raises(ValueError, match=r"note|block"):
            list(blocks(page))


def test_dots_stand_for_anything() -> None:
    """`...` matches anything. In JSON, white space is ignored; in other output, its amount is ignored."""
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
