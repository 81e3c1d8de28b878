"""The declarations in a file, and the problems of an invalid file."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.declared.document import DeclaredState, Document
from bender.declared.line_numbers import lines_of
from bender.declared.parser import parse_file

NOW_MS = 1_796_000_000_000

SHOP = """\
[backends.shop]
app = "web"
version = "1.2.0"
"""


TOO_DEEP = "the file has too many levels of tables or arrays"


class ReadingCase(SynchronousTestCase):
    def document(self, text: str) -> Document:
        """Return the document of a file without problems."""
        found = parse_file(text, NOW_MS)
        self.assertEqual((found.problems, found.unresolved), ((), ()))
        return found.document

    def problems(self, text: str) -> list[str]:
        found = parse_file(text, NOW_MS)
        return [problem.with_location("f") for problem in (*found.problems, *(each for _, each in found.unresolved))]

    def wrong(self, text: str, *problems: str) -> None:
        """Check that the file has exactly these problems, each given by its line and the beginning of its text."""
        found = self.problems(text)
        self.assertEqual(len(found), len(problems), found)
        for problem, expected in zip(found, problems, strict=True):
            self.assertTrue(problem.startswith(f"f:{expected}"), f"{problem!r} is not {expected!r}")


class Declaring(ReadingCase):
    def test_objects(self) -> None:
        """The fields of objects are those of the API."""
        document = self.document(
            SHOP
            + """
            canary = { version = "1.3.0", percent = 0.1 }
            [backends.shop.meta]
            owner = 1
            [frontends.www]
            name = "www"
            [[frontends.www.rules]]
            path = "/api"
            backend = "shop"
            """
        )
        canary = {"version": "1.3.0", "percent": 0.1}
        self.assertEqual(
            document.backends, {"shop": {"app": "web", "version": "1.2.0", "canary": canary, "meta": {"owner": 1}}}
        )
        self.assertEqual(document.frontends, {"www": {"rules": [{"path": "/api", "backend": "shop"}]}})

    def test_states(self) -> None:
        """A state has a duration, an end, or the API's default duration; ids become canonical."""
        document = self.document(
            """
            [states."web/1/Host./80"]
            state = "drain"
            for = "1h30m"
            [states."registration/web/1/0::1/80"]
            state = "maint"
            until = 2026-11-30T18:00:00+01:00
            [states."web/1/h/81"]
            state = "up"
            [states."web/1/h/82"]
            state = "drain"
            for = 60
            """
        )
        self.assertEqual(
            document.states,
            {
                "registration/web/1/host/80": DeclaredState("drain", 5400.0),
                "registration/web/1/::1/80": DeclaredState("maint", None, 1_796_058_000_000),
                "registration/web/1/h/81": DeclaredState("up"),
                "registration/web/1/h/82": DeclaredState("drain", 60.0),
            },
        )
        lasting = [each.lasts_s(1_796_058_000_000 - 5000) for each in document.states.values()]
        self.assertEqual(lasting, [5400.0, 5.0, 86_400.0, 60.0])

    def test_how_long_a_state_may_hold(self) -> None:
        """A duration is from one second to 30 days, inclusive."""
        for text, seconds in (("1", 1.0), ("'1s'", 1.0), ("'30d'", 2_592_000.0)):
            document = self.document(f"[states.'web/1/h/80']\nstate = 'drain'\nfor = {text}\n")
            self.assertEqual(document.states["registration/web/1/h/80"].for_s, seconds)

    def test_a_state_that_was_just_exported(self) -> None:
        """A state may end a minute after 30 days, because the clock of the exporting node may be ahead."""
        at = '[states."web/1/h/80"]\nstate = "drain"\nuntil = '  # 30 days from now are 2026-12-30T00:53:20Z
        self.document(at + "2026-12-30T00:54:20Z")
        self.wrong(at + "2026-12-30T00:54:21Z", "3: state of web/1/h/80: until: must be at most 30 days from now")

    def test_meta_that_toml_cannot_say(self) -> None:
        """Values that TOML does not have are in `meta_json`, a string with JSON."""
        document = self.document(SHOP + """meta_json = '{"a":null,"n":18446744073709551616}'\n""")
        self.assertEqual(document.backends["shop"]["meta"], {"a": None, "n": 2**64})

    def test_nothing(self) -> None:
        """An empty file is valid, and declares nothing."""
        self.assertTrue(self.document("# nothing\n").is_empty)


class Mistakes(ReadingCase):
    def test_syntax(self) -> None:
        """A syntax error is reported with its line and column."""
        self.wrong("[backends.shop]\napp = web\n", "2:7: the file is not TOML: Invalid value")
        self.wrong("a = [\n", "2: the file is not TOML: Invalid value at the end")
        self.wrong("[a]\n[a]\n", "2:3: the file is not TOML: Cannot declare ('a',) twice")

    def test_depth(self) -> None:
        """Too deep nesting is a problem of the file, and raises no error."""
        self.assertEqual(len(self.problems("a = " + "[" * 5000 + "]" * 5000)), 1)
        for header in ("backends", "backends.shop.meta"):
            self.assertEqual(self.problems(f"[{header}{'.a' * 3000}]\n"), [f"f: {TOO_DEEP}"])
        deep = "[" * 30 + "]" * 30
        self.wrong(
            SHOP + f"meta.a = {deep}\n", "4: backend/shop: meta: has lists or objects that are nested more than 20 deep"
        )

    def test_long_numbers(self) -> None:
        """Numbers that are too long for Python are a problem of the file, and raise no error."""
        self.wrong("a = " + "1" * 5000, " the file has a number of more than 4300 digits")
        for number in ("1" * 4000, "0x" + "f" * 5000):
            for field in ("maxconn = ", "meta.a = ", "app = "):
                self.assertNotEqual(self.problems(f"[backends.shop]\n{field}{number}\n"), [])

    def test_tables(self) -> None:
        """An unknown table is reported with the known tables."""
        hint = "is not a table: give backends, frontends and states, did you mean backends?"
        self.wrong('[backend.shop]\napp = "web"', f"1: backend: {hint}")
        self.wrong("backends = 1", "1: backends: must be tables such as [backends.NAME]")
        self.wrong("[backends]\nshop = 1", "2: backends.shop: must be a table: [backends.NAME]")
        self.wrong("[[states]]", "1: states: must be tables such as [states.NAME]")

    def test_all_at_once(self) -> None:
        """All invalid fields of all objects are reported in the order of their lines, by the rules of the API."""
        self.wrong(
            """[backends.shop]
app = "we/b"
balance = "foo"
[backends."a/b"]
app = "web"
version = 5
[frontends.www]
bind = "nowhere"
mode = "tcp"
rules = [{ path = "/", backend = "shop" }]
""",
            "1: backend/shop: version: is required",
            "2: backend/shop: app: must be printable characters",
            "3: backend/shop: balance: must be roundrobin",
            "4: backend/a/b: name: must be printable",
            "6: backend/a/b: version: must be a string",
            "8: frontend/www: bind: ",
            "10: frontend/www: rules: need mode http",
        )

    def test_unknown_fields(self) -> None:
        """All unknown fields are reported with the nearest known field, also inside objects and rules."""
        self.wrong(
            SHOP + "verison = 1\nhelth = {}\nhealth = { pth = '/' }\nmin_members = 2\n"
            "[frontends.www]\nbnid = '*:80'\n[[frontends.www.rules]]\npaht = '/'\nbackend = 'shop'\n",
            "4: backend/shop: verison: is not a field of a backend, did you mean version?",
            "5: backend/shop: helth: is not a field of a backend, did you mean health?",
            "6: backend/shop: health: pth: is not a field of health, did you mean path?",
            "7: backend/shop: min_members: is a condition of one request",
            "9: frontend/www: bnid: is not a field of a frontend, did you mean bind?",
            "11: frontend/www: rules: number 1: paht: is not a field of a rule, did you mean path?",
        )

    def test_what_json_cannot_say(self) -> None:
        """Dates, NaN and infinity are refused with their lines."""
        self.wrong(SHOP + "[backends.shop.meta]\nsince = 2026-11-30\n", "4: backend/shop: meta: 2026-11-30 is a date")
        self.wrong(SHOP + "slow_start = nan\n", "4: backend/shop: slow_start: nan is not a number")
        self.wrong(SHOP + "meta.a = [{ b = inf }]\n", "4: backend/shop: meta: inf is not a number")

    def test_meta_json(self) -> None:
        """`meta_json` is a string with a JSON object, and excludes `meta`."""
        for value in ("1", "'x'", "'[]'", "'{'"):
            self.wrong(f"{SHOP}meta_json = {value}\n", "4: backend/shop: meta_json: must be a string with an object")
        self.wrong(SHOP + "meta_json = '{}'\nmeta = {}\n", "4: backend/shop: meta_json: give meta or meta_json")

    def test_size(self) -> None:
        """An object that is too large for a node is reported."""
        self.wrong(
            f"\n{SHOP}meta.a = '{'x' * 12_288}'\n", "2: backend/shop: a backend must not be larger than 12288 bytes"
        )

    def test_references(self) -> None:
        """Each place with the name of a missing backend is reported."""
        text = SHOP + (
            '[frontends.www]\nbackend = "shopp"\n'
            '[[frontends.www.rules]]\npath = "/a"\nbackend = "shop"\n'
            '[[frontends.www.rules]]\npath = "/b"\nbackend = "nope"\n'
        )
        self.wrong(
            text,
            "5: frontend/www: backend: there is no backend shopp, did you mean shop?",
            "11: frontend/www: rules: number 2: there is no backend nope",
        )
        self.assertEqual([backend for backend, _ in parse_file(text, NOW_MS).unresolved], ["shopp", "nope"])

    def test_states(self) -> None:
        """Invalid ids, states, durations and ends are reported."""
        for fields, problem in (
            ("", "1: state of web/1/h/80: state: must be up, drain or maint"),
            ("state = 'off'", "2: state of web/1/h/80: state: must be up, drain or maint"),
            ("state = 'up'\nfor = '1hh'", "3: state of web/1/h/80: for: must be a number of seconds, or a duration"),
            ("state = 'up'\nfor = true", "3: state of web/1/h/80: for: must be a number of seconds, or a duration"),
            ("state = 'up'\nfor = '31d'", "3: state of web/1/h/80: for: must be from 1 second to 30 days"),
            ("state = 'up'\nfor = nan", "3: state of web/1/h/80: for: must be from 1 second to"),
            ("state = 'up'\nuntil = 2026-11-30T18:00:00", "3: state of web/1/h/80: until: must be a date and time"),
            ("state = 'up'\nfor = 1\nuntil = 2026-11-30T18:00:00Z", "4: state of web/1/h/80: until: give for or until"),
            (f"state = 'up'\nfor = {10**400}", "3: state of web/1/h/80: for: must be from 1 second to"),
            ("state = 'up'\nuntil = 2027-01-01T00:00:00Z", "3: state of web/1/h/80: until: must be at most 30 days"),
            ("state = 'up'\nuntil = 9999-12-31T23:59:59-14:00", "3: state of web/1/h/80: until: must be at most"),
            ("state = 'up'\nfro = 1", "3: state of web/1/h/80: fro: is not a field of a state, did you mean for?"),
        ):
            self.wrong(f"[states.'web/1/h/80']\n{fields}\n", problem)
        state = "state = 'up'\n"
        self.wrong(f"[states.'web/1/h']\n{state}", "1: state of web/1/h: must be of the form APP/VERSION/HOST/PORT")
        self.wrong(f"[states.'web/1/h/0']\n{state}", "1: state of web/1/h/0: port: must be a number")
        self.wrong(
            f"[states.'web/1/h/1']\n{state}[states.'web/1/H/1']\n{state}",
            "3: state of web/1/H/1: the instance is declared twice",
        )


class Lines(SynchronousTestCase):
    def test_where_each_path_begins(self) -> None:
        """The line of each path is found, past comments, long strings and arrays, dotted keys and arrays of tables."""
        text = (
            '# a comment [x]\r\n[a."b.c"]\r\nx.y = """\r\nz = 1\r\n"""\r\n'
            "list = [ # first\r\n  1,\r\n  { k = 2 },\r\n]\r\n"
            "[[a.t]]\r\nn = 1\r\n[[a.t]]\r\n[a.t.sub]\r\nm = 1\r\n"
        )
        lines = lines_of(text)
        self.assertEqual(
            {path: line for path, line in lines.items() if len(path) > 2},
            {
                ("a", "b.c", "x"): 3,
                ("a", "b.c", "x", "y"): 3,
                ("a", "b.c", "list"): 6,
                ("a", "b.c", "list", 0): 6,
                ("a", "b.c", "list", 1): 6,
                ("a", "b.c", "list", 1, "k"): 6,
                ("a", "t", 0): 10,
                ("a", "t", 0, "n"): 11,
                ("a", "t", 1): 12,
                ("a", "t", 1, "sub"): 13,
                ("a", "t", 1, "sub", "m"): 14,
            },
        )
