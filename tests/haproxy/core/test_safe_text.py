"""Text that may be sent or written to HAProxy, whatever its source."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.names import safe
from bender.haproxy.core.rendering import Renderer, Unrenderable
from bender.haproxy.core.safe_text import (
    SHOWN_CHARACTERS_MAX,
    Unsafe,
    formatted,
    is_command,
    printable,
    quoted,
    readable,
    word,
)
from bender.haproxy.core.settings import parse_backend
from bender.haproxy.core.topology import Topology, build_topology
from tests.haproxy.events import HOSTILE, backend, server

CONTROL = ["\n", "\r", "\0", "\t", "\x1b", "\x7f", "\x85", "\u2028", "\u2029", "\ud800"]


class Words(SynchronousTestCase):
    def test_a_word(self) -> None:
        """A word has no character that could end it, or that has a special meaning in HAProxy."""
        for text in ("shop", "1:10.0.0.1:80", "[::1]:80", "é", 7):
            self.assertEqual(word(text), str(text))
        for text in ["a b", "a;b", "a'b", 'a"b', "a\\b", "a#b", "a%b", "$a", *CONTROL]:
            self.assertRaises(Unsafe, word, text)

    def test_quoted(self) -> None:
        """Any text becomes one word, without a semicolon, unless it has control characters."""
        self.assertEqual(quoted("it's; so\\"), r"'it'\''s'\x3b' so\'")
        for text in CONTROL:
            self.assertRaises(Unsafe, quoted, f"a{text}b")

    def test_formatted(self) -> None:
        """In a log-format, `%` is doubled, so that it has no special meaning."""
        self.assertEqual(formatted("%[env(HOME)]"), "'%%[env(HOME)]'")

    @given(st.text())
    def test_readable(self, name: str) -> None:
        """The readable form of a name is one word, and different names have different forms."""
        self.assertEqual(word(readable(name)), readable(name))
        escapes = readable(name).split("=")
        original = escapes[0] + "".join(f"\\x{each[:2]}{each[2:]}" for each in escapes[1:])
        self.assertEqual(len(escapes) - 1, original.count("\\x"))

    def test_readable_names(self) -> None:
        """The readable form of a usual name is the name itself."""
        self.assertEqual([readable(name) for name in ("shop-1.x", "café", "a b=c", "a\nb")],
                         ["shop-1.x", "café", "a=20b=3Dc", "a=0Ab"])  # fmt: skip

    def test_commands(self) -> None:
        """A command is one line of the characters that bender's commands have."""
        for text in ("show info", "show stat -1 4 -1", f"add server {safe(HOSTILE)}/1:a [::1]:80 weight 1"):
            self.assertTrue(is_command(text), text)
        for text in ("", "a; b", "a\nb", "a\n", "a <<", "a %", "a\\", "a#b", "é", *CONTROL):
            self.assertFalse(is_command(text), text)

    def test_shown(self) -> None:
        """Text of other programs is printable and limited in a log."""
        self.assertEqual(printable("a\x1b[2J\u2028\ud800é"), "a\\x1b[2J\\u2028\\ud800é")
        self.assertEqual(len(printable("x" * 10_000)), SHOWN_CHARACTERS_MAX)


class Templates(SynchronousTestCase):
    """A template of an operator."""

    def render(self, template: str, name: str = HOSTILE, state: str = "up") -> str:
        found, _ = build_topology({name: parse_backend(backend(name).body)}, {})
        servers = {pool.name: [server("a", id=HOSTILE, state=state)] for pool in found.pools}
        return Renderer(template, "/run/a b;c.sock", "/states", (2, 6)).render(found, servers).text

    def unrenderable(self, template: str, reason: str) -> None:
        error = self.assertRaises(Unrenderable, self.render, template)
        self.assertIn(reason, str(error))

    def test_names_for_people(self) -> None:
        """Titles and ids are one word wherever a template uses them."""
        text = self.render(
            "{% for p in pools %}# {{ p.title }}{% for s in servers[p.name] %} {{ s.id }}{% endfor %}{% endfor %}"
        )
        self.assertEqual(text, f"# {readable(HOSTILE)} {readable(HOSTILE)}")

    def test_values_that_are_not_quoted(self) -> None:
        """A value without the filter `quoted` is refused if it is more than one word."""
        self.unrenderable("stats socket {{ socket }}\n", "use the template filter")
        self.unrenderable("x {{ 'stats ' ~ socket }}\n", "use the template filter")
        self.assertEqual(self.render("stats socket {{ socket | quoted }}\n"), "stats socket '/run/a b'\\x3b'c.sock'\n")
        self.assertEqual(self.render("{{ 7 }}{{ ' disabled' if pools }}{{ 'x' if not pools }}"), "7 disabled")

    def test_what_a_filter_made_is_still_checked(self) -> None:
        """The result of a filter is checked again, so no later change can make it two lines or words."""
        self.unrenderable("{{ (socket | quoted) ~ '\n' ~ socket }}", "not one word")
        self.unrenderable("{{ socket | quoted | upper }}", "not one word")
        for trusting in ("safe", "escape", "e", "tojson"):
            error = self.assertRaises(Unrenderable, self.render, f"{{{{ socket | {trusting} }}}}")
            self.assertIn(f"No filter named '{trusting}'", str(error))

    def test_what_a_template_puts_together(self) -> None:
        """The template's own lines are rendered unchanged, without HTML escapes; values in its macros are checked."""
        macro = 'backend {{ pool.name }}\n    http-response set-header X "a; b" # <&>'
        template = (
            f"{{% macro line(pool) %}}\n{macro}\n{{% endmacro %}}"
            "{% set head %}\nglobal\n    log stdout\n{% endset %}"
            "{{ head }}{{ line(pools[0]) }}{{ pools[0].name | quoted }}"
        )
        text = self.render(f"{{% if pools %}}{template}{{% endif %}}", name="shop")
        expected = ["global", "    log stdout", "backend shop", '    http-response set-header X "a; b" # <&>', "'shop'"]
        self.assertEqual(text.splitlines(), expected)
        self.unrenderable("{% macro m() %}{{ socket }}{% endmacro %}{{ m() }}", "not one word")

    def test_control_characters_of_the_template(self) -> None:
        """A control character in the template is refused."""
        self.unrenderable("global\n\x1b\n", "control character ('\\x1b') in line 2")

    def test_an_earlier_copy_of_ours(self) -> None:
        """An earlier template of bender, which an operator may have copied, is rendered as before."""
        template = """{% for pool in pools %}
# backend/{{ pool.title }}
{% for server in servers[pool.name] %}
    server {{ server.name }} {{ server | place }}{{ " disabled" if server.state == "maint" }}
{% endfor %}
{% endfor %}
"""
        expected = "# backend/shop\n    server a 10.0.0.1:80 disabled\n"
        self.assertEqual(self.render(template, name="shop", state="maint"), expected)


class Descriptions(SynchronousTestCase):
    def test_as_it_is(self) -> None:
        """The description needs no quotes, because HAProxy takes the rest of the line."""
        checked_output = Renderer("description {{ description }}\n", "/s", "/states", (2, 6)).render(Topology(), {})
        self.assertEqual(checked_output.text, f"description {checked_output.description}\n")
