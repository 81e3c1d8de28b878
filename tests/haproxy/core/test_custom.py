"""The files with the operator's own lines of HAProxy's configuration."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.custom import (
    Custom,
    file_name_of,
    kind_and_name_of,
    parse_custom,
    with_files_and_lines,
    without_custom,
)


class ConfigFiles(SynchronousTestCase):
    def problem(self, file: str, text: str) -> str:
        custom = parse_custom({file: text, "defaults.cfg": "option a"})
        self.assertEqual(custom.files, {})
        return str(custom.problem)

    def test_their_names(self) -> None:
        """The name of a file has the kind and the name of its section, with any characters in the name."""
        self.assertEqual(kind_and_name_of("frontend-my shop.cfg"), ("frontend", "my shop"))
        self.assertEqual(kind_and_name_of(file_name_of("backend", "a.cfg")), ("backend", "a.cfg"))
        self.assertEqual([kind_and_name_of("global.cfg")[0], kind_and_name_of("www.cfg")[0]], ["global", None])

    def test_files_for_nothing(self) -> None:
        """A file for a frontend that does not exist, or with an unknown kind, is reported as unused."""
        custom = parse_custom({"frontend-wwww.cfg": "a", "backend-shop.cfg": "a", "www.cfg": "a", "global.cfg": "a"})
        problems = custom.unused(["www"], ["shop"])
        self.assertEqual([*problems], ["frontend-wwww.cfg", "www.cfg"])
        self.assertEqual(problems["frontend-wwww.cfg"], "there is no frontend wwww")
        self.assertIn("frontend-NAME.cfg", problems["www.cfg"])

    def test_names_that_cannot_be_right(self) -> None:
        """An invalid file name is found without knowing the frontends, and the problem suggests a similar name."""
        meant = {
            "fronted-www.cfg": "frontend-www.cfg", "Backend_my-shop.cfg": "backend-my-shop.cfg",
            "globals.cfg": "global.cfg", "frontends.www.cfg": "frontend-www.cfg",
        }  # fmt: skip
        found = parse_custom(dict.fromkeys((*meant, "zzz.cfg", "frontend-www.cfg", "global.cfg"), "a")).misnamed()
        self.assertEqual({*found}, {*meant, "zzz.cfg"})
        for file, other in meant.items():
            self.assertTrue(found[file].endswith(f"backend-NAME.cfg, did you mean {other}?"), found[file])
        self.assertTrue(found["zzz.cfg"].endswith("or backend-NAME.cfg"), found["zzz.cfg"])
        self.assertIn("NAME: must", parse_custom({"frontend-.cfg": "a"}).misnamed()["frontend-.cfg"])

    def test_a_section_where_there_is_one_already(self) -> None:
        """A line that begins a section is refused, because the driver's next lines would belong to that section."""
        for keyword in ("backend evil", "  listen x", "global", "userlist u"):
            self.assertIn(
                f"frontend-www.cfg line 2: {keyword.split()[0]} begins a section",
                self.problem("frontend-www.cfg", f"maxconn 5\n{keyword}\n"),
            )
        self.assertIsNone(parse_custom({"backend-a.cfg": "backend-keyword\nglobals"}).problem)

    def test_lines_before_any_section(self) -> None:
        """Lines before the first section of `sections.cfg` are refused, because they would belong to a frontend."""
        self.assertIn("sections.cfg line 3: is in no section", self.problem("sections.cfg", "# mine\n\nbind *:1"))
        self.assertIsNone(parse_custom({"sections.cfg": "# mine\n.if true\nlisten x\n  bind *:1\n.endif"}).problem)

    def test_the_names_of_rules(self) -> None:
        """Names of conditions such as `rule2` are reserved, because HAProxy joins conditions with equal names."""
        self.assertIn("line 1: rule2 is reserved", self.problem("frontend-www.cfg", "acl rule2 path /"))
        self.assertIsNone(parse_custom({"frontend-www.cfg": "acl rules path /"}).problem)

    def test_control_characters(self) -> None:
        r"""The problem of a control character names the file and the line; tabs and `\r\n` are accepted."""
        self.assertIn("global.cfg line 2: has a control character ('\\x00')", self.problem("global.cfg", "a\nb\0"))
        self.assertEqual(parse_custom({"global.cfg": "\ta\r\nb\r\n"}).files, {"global.cfg": ("\ta", "b")})

    def test_their_order_does_not_matter(self) -> None:
        """The order of the files does not change the configuration."""
        one, other = {"global.cfg": "a", "defaults.cfg": "b"}, {"defaults.cfg": "b\n", "global.cfg": "a"}
        self.assertEqual(
            (parse_custom(one), [*parse_custom(one).files]), (parse_custom(other), [*parse_custom(other).files])
        )


class Lines(SynchronousTestCase):
    def test_where_a_line_is_from(self) -> None:
        """A line number in a message of HAProxy becomes the file and line of the operator; other numbers stay."""
        lines = Custom({"frontend-www.cfg": ("one", "two")}).lines("frontend-www.cfg")
        text = "\n".join(["frontend www", *lines, "    default_backend shop", ""])
        self.assertEqual(
            with_files_and_lines("parsing [line 4] : unknown", text), "parsing [frontend-www.cfg line 2] : unknown"
        )
        for number in (1, 6, 7, 99):
            self.assertEqual(with_files_and_lines(f"[line {number}]", text), f"[line {number}]")

    def test_without_them(self) -> None:
        """Without the operator's lines, only the driver's lines are left."""
        lines = Custom({"sections.cfg": ("listen x", "  bind *:1")}).lines("sections.cfg")
        self.assertEqual(without_custom("\n".join(["global", *lines, "end", *lines, ""])), "global\nend\n")

    def test_a_file_that_is_not_there(self) -> None:
        """A missing file adds no lines."""
        self.assertEqual(Custom().lines("global.cfg"), ())
