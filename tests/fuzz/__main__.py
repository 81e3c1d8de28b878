"""`python -m tests.fuzz TARGET --runs 1000000`: one decoder under atheris, guided by the lines that inputs reach.

Inputs that reach new lines are stored in `build/fuzz/TARGET/`. An input that breaks a promise is written to the same
folder, as `crash-…`, `timeout-…` or `oom-…`. `--minimise` replaces the corpus of the repository by the smallest set of
inputs that reaches the same lines. `python -m tests.fuzz api --examples 1000` runs the machine for the HTTP API.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from twisted.logger import globalLogBeginner

from tests.fuzz.minimising import smallest
from tests.fuzz.target import CORPUS, FOLDER, Target, draw, load, names

BUILD = FOLDER.parents[1] / "build/fuzz"

#: The name of the machine for the HTTP API, which hypothesis runs instead of atheris.
API = "api"

#: Inputs that are drawn from the strategy of a target, with which atheris begins.
DRAWN = 300

#: An input that takes longer counts as a hang.
INPUT_S_MAX = 5

MEMORY_MIB_MAX = 1024

#: Bytes of the stored corpus of one target.
CORPUS_BYTES_MAX = 8_000

#: The modules whose branches guide atheris.
INSTRUMENTED = ["bender", "tomllib", "h11", "twisted.web.http", "twisted.protocols.basic"]


def main(arguments: list[str]) -> None:
    parser = ArgumentParser(prog="python -m tests.fuzz", description="Fuzz one decoder, or the whole HTTP API.")
    parser.add_argument("target", choices=[*names(), API], help="what to fuzz")
    parser.add_argument("--runs", type=int, default=100_000, metavar="N", help="inputs to try (100000)")
    parser.add_argument("--seconds", type=int, default=0, metavar="S", help="stop after this time (0: never)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of what is drawn at random (1)")
    parser.add_argument("--minimise", action="store_true", help="replace the corpus that is kept, instead of fuzzing")
    parser.add_argument("--examples", type=int, default=1000, metavar="N", help=f"histories that {API} tries (1000)")
    options = parser.parse_args(arguments)
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    if options.target == API:
        from tests.fuzz.machine.machine import try_histories  # noqa: PLC0415 - atheris must load bender itself

        try_histories(options.examples)
        return
    if options.minimise:
        _minimise(load(options.target))
    else:
        _fuzz(options)


def _instrumented(name: str) -> Target:
    import atheris  # noqa: PLC0415 - in the extra `fuzz` alone

    with atheris.instrument_imports(include=INSTRUMENTED):
        return load(name)


def _fuzz(options: Namespace) -> None:
    target = _instrumented(options.target)
    found = BUILD / target.name
    for sent in target.examples:
        _write(found / "drawn", sent)
    draw(target.near, DRAWN, lambda sent: _write(found / "drawn", sent))
    words = found / "words"
    words.write_text("".join(map(_escaped, (*target.words, b"\0"))))  # it must not be empty
    limits = (f"-runs={options.runs}", f"-max_total_time={options.seconds}", f"-max_len={target.bytes_max}")
    _run(
        target,
        *limits,
        f"-seed={options.seed}",
        f"-dict={words}",
        f"-artifact_prefix={found}/",
        "-print_final_stats=1",
        _folder(found / "corpus"),  # the first folder is that to which atheris adds what it finds
        _folder(CORPUS / target.name),
        _folder(found / "drawn"),
    )


def _escaped(word: bytes) -> str:
    """Return a word as a line of libFuzzer's dictionary."""
    characters = "".join(f"\\x{byte:02x}" for byte in word)
    return f'"{characters}"\n'


def _write(folder: Path, sent: bytes) -> None:
    """Write an input, named after its content."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / hashlib.sha1(sent).hexdigest()[:12]).write_bytes(sent)


def _folder(path: Path) -> str:
    path.mkdir(parents=True, exist_ok=True)
    return str(path)


def _minimise(target: Target) -> None:
    """Replace the corpus by the smallest set of inputs that reaches the same code, up to `CORPUS_BYTES_MAX`."""
    inputs: list[bytes] = []
    draw(target.near, DRAWN, inputs.append)
    for place in (CORPUS / target.name, BUILD / target.name / "corpus"):
        inputs += [path.read_bytes() for path in place.glob("*")]
    kept = smallest(target.run, inputs)
    shutil.rmtree(CORPUS / target.name, ignore_errors=True)
    for sent in kept:
        if sum(map(len, kept[: kept.index(sent) + 1])) <= CORPUS_BYTES_MAX:
            _write(CORPUS / target.name, sent)
    print(f"{target.name}: {len(kept)} of {len(inputs)} inputs are kept")


def _run(target: Target, *arguments: str) -> None:
    """Run libFuzzer, which ends the process."""
    import atheris  # noqa: PLC0415

    limits = (f"-timeout={INPUT_S_MAX}", f"-rss_limit_mb={MEMORY_MIB_MAX}")
    atheris.Setup([sys.argv[0], *limits, *arguments], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1:])
