"""The file of `--tokens`: its content, and the errors for mistakes."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bender.access.tokens import Token
from bender.core.scopes import Scopes
from bender.daemon.token_file import TOKENS_MAX, read_tokens
from bender.process.options import OptionError
from tests.access.known import hash_of

SHAPE = "must have tables [[token]] with name, sha256, scopes, and nothing else."
HASH_SHAPE = "sha256 must be the SHA-256 of the token as 64 hexadecimal digits"
KINDS = "read, configure, admin or register:APP, where APP may have * and ?"
NAME_SHAPE = "name must be 1 to 64 printable characters"


def table(name: str = '"ci"', digest: str = f'"{hash_of("one")}"', scopes: str = '["read"]') -> str:
    return f"[[token]]\nname = {name}\nsha256 = {digest}\nscopes = {scopes}\n"


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = self.mktemp()

    def read(self, text: str | bytes) -> tuple[Token, ...]:
        Path(self.path).write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_tokens(self.path)


class Reading(FileCase):
    def test_tokens(self) -> None:
        """The tokens are in the order of the file, each with its scopes."""
        tokens = self.read(
            table('"edge"', f'"{hash_of("one")}"', '["read"]')
            + "\n# a comment\n"
            + table('"web ci"', f'"{hash_of("two").upper()}"', '["register:web-*", "configure", "configure"]')
        )
        self.assertEqual(
            tokens,
            (
                Token("edge", bytes.fromhex(hash_of("one")), Scopes(("read",))),
                Token("web ci", bytes.fromhex(hash_of("two")), Scopes(("register:web-*", "configure"))),
            ),
        )

    def test_names(self) -> None:
        """A name has no spaces at its ends, and may have any printable letters."""
        for written, name in (('" ci "', "ci"), ('"Öl (x)"', "Öl (x)"), (f'"{"x" * 64}"', "x" * 64)):
            self.assertEqual([token.name for token in self.read(table(written))], [name])

    def test_as_many_as_possible(self) -> None:
        """A file has at most a thousand tokens, because each request with a token is compared with all of them."""
        tables = [table(f'"t{i}"', f'"{sha256(b"%d" % i).hexdigest()}"') for i in range(TOKENS_MAX + 1)]
        self.assertEqual(len(self.read("".join(tables[1:]))), TOKENS_MAX)
        error = self.assertRaises(OptionError, self.read, "".join(tables))
        self.assertEqual(str(error), f"--tokens {self.path} has 1001 tokens: at most 1000 are possible.")


class Mistakes(FileCase):
    """A mistake is reported in one sentence with the path and the name of the token, and without its hash."""

    def refused(self, text: str | bytes) -> str:
        sentence = str(self.assertRaises(OptionError, self.read, text))
        self.assertTrue(sentence.startswith(f"--tokens {self.path}") and sentence.endswith("."), sentence)
        self.assertNotIn("\n", sentence)
        self.assertNotRegex(sentence, "[0-9a-fA-F]{32}")
        return sentence.removeprefix(f"--tokens {self.path}")

    def test_a_file_that_cannot_be_read(self) -> None:
        for path, reason in ((self.path, "No such file or directory"), (".", "Is a directory")):
            sentence = str(self.assertRaises(OptionError, read_tokens, path))
            self.assertEqual(sentence, f"--tokens {path} cannot be read: {reason}.")

    def test_a_file_that_is_not_toml(self) -> None:
        for text in (
            "[[token]\n",
            'name = "ci\n',
            f"sha256 = {hash_of('one')}\n",
            f'sha256 = "{hash_of("one")}" "x"\n',
            f'"{hash_of("one")}"\n',
            b"\xff\n",
            "a=" + "[" * 10_000,
        ):
            self.assertTrue(self.refused(text).startswith(" is not TOML: "), text[:40])

    def test_a_file_with_something_else(self) -> None:
        """A file with other tables, or without tokens, is refused."""
        for text in (
            "",
            "# nothing\n",
            "[token]\n",
            "token = []\n",
            "token = 1\n",
            "[[tokens]]\n",
            'api = "tcp:1729"\n',
            'cluster = "c"\n' + table(),
        ):
            self.assertEqual(self.refused(text), f" {SHAPE}", text)

    def test_a_token_that_is_not_a_table(self) -> None:
        self.assertEqual(
            self.refused("token = [1]"), ": token 1: it must be a table [[token]] with name, sha256, scopes."
        )

    def test_names(self) -> None:
        for name in ('""', '"  "', "7", '"a\\nb"', '"\\u0000"', f'"{"x" * 65}"', '["ci"]'):
            self.assertIn(NAME_SHAPE, self.refused(table(name)), name)
        self.assertEqual(self.refused(table().replace('name = "ci"\n', "")), f": token 1: {NAME_SHAPE}.")

    def test_hashes(self) -> None:
        """A hash must be valid, and is not quoted: it may be a token by mistake."""
        digest = hash_of("one")
        for written in (
            '""',
            f'"{digest[:-1]}"',
            f'"{digest}0"',
            f'"{digest[:-1]}g"',
            f'" {digest}"',
            '"the token itself"',
            "1",
            f'["{digest}"]',
        ):
            self.assertEqual(self.refused(table(digest=written)), f": token 'ci': {HASH_SHAPE}.", written)
        self.assertEqual(self.refused('[[token]]\nname = "ci"\nscopes = ["read"]\n'), f": token 'ci': {HASH_SHAPE}.")

    def test_the_hash_of_nothing(self) -> None:
        """The hash of an empty text, which a script with an empty variable makes, is refused."""
        self.assertEqual(
            self.refused(table(digest=f'"{sha256(b"").hexdigest()}"')),
            ": token 'ci': sha256 is the hash of an empty text: give the hash of a long random token "
            "(bender token makes one).",
        )

    def test_scopes(self) -> None:
        for written in ("[]", '"read"', "1", "{}"):
            self.assertEqual(
                self.refused(table(scopes=written)),
                """: token 'ci': scopes must be a list of scopes, such as ["read", "register:web-*"].""",
            )
        for written, problem in (
            ('["read", "raed"]', "'raed' is not a scope, did you mean read?"),
            ("[1]", f"1 is not a scope: a scope is {KINDS}."),
            (
                '["register:"]',
                (
                    "'register:': the name of an app, or a pattern, must follow 'register:': 1 to 255 printable "
                    "characters without /."
                ),
            ),
        ):
            self.assertEqual(
                self.refused(table(scopes=written)).removesuffix("."), f": token 'ci': {problem}".removesuffix(".")
            )

    def test_unknown_fields(self) -> None:
        """An unknown field is refused, because it may be misspelled."""
        self.assertEqual(
            self.refused(table() + 'scope = "read"\n'),
            ": token 'ci': 'scope' is not a field of a token, whose fields are name, sha256, scopes.",
        )

    def test_two_with_one_name(self) -> None:
        """Two tokens must not have equal names, even with different spaces, because histories show only the name."""
        sentence = self.refused(table() + table('"b"', f'"{hash_of("two")}"') + table('" ci"', f'"{hash_of("three")}"'))
        self.assertEqual(sentence, ": tokens 1 and 3 are both named 'ci'.")

    def test_two_with_one_hash(self) -> None:
        """Two tokens must not have the same hash, because requests with it would belong to both."""
        sentence = self.refused(table() + table('"other"', f'"{hash_of("one").upper()}"'))
        self.assertEqual(sentence, ": the tokens 'ci' and 'other' have the same sha256.")

    def test_the_second_token(self) -> None:
        """An error names a token without a valid name by its position."""
        self.assertEqual(self.refused(table() + table("7", f'"{hash_of("two")}"')), f": token 2: {NAME_SHAPE}.")
