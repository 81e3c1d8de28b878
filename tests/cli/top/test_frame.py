"""Pictures of the registry at several sizes, also with hostile names."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.columns import TOP_APPS, TOP_BACKENDS, TOP_EVENTS, TOP_INSTANCES, TOP_NODES
from bender.cli.styled_text import cell_width, styled
from bender.cli.top.controls import Place, TopControls
from bender.cli.top.fitting import age, fitted, width_of
from bender.cli.top.frame import Size, frame, widths_in
from bender.cli.top.live_registry import RECENT_S, LiveRegistry
from bender.cli.top.views import APPS, BACKENDS, EVENTS, INSTANCES, NODES, VIEWS, TopState
from bender.client.responses import PeerStatus
from tests.cli.top.shown import backend, frontend, instance, link_of, picture, registry_of, shown_at, status

#: Names that would disturb a terminal: sequences, control characters, wide, combining and invisible characters.
HOSTILE = (
    "\x1b[2J\x1b[31m\x1b]0;title\x07",
    "\x9b2J\x00\r\n\t\x08\x7f",
    "\u202eright to left\u2066\u200b\ufeff",
    "漢字" * 30,
    "e" + "\u0301" * 50,
    "[bold]rich[/bold] {braces} %s",
    "x" * 500,
)

STYLES = frozenset({"bold", "dim", "reverse", "red", "green", "yellow"})

#: Escape sequences that the lines of a picture may have.
SEQUENCE = re.compile(r"\x1b\[[0-9;]+m")


def places() -> list[Place]:
    return [Place(), *(Place(view) for view in (INSTANCES, BACKENDS, NODES, EVENTS))]


class Pictures(SynchronousTestCase):
    def setUp(self) -> None:
        self.registry = registry_of(
            instance(weight=2, meta={"zone": "a"}),
            instance("web/1.2.0/10.0.0.6/8080", state="drain"),
            instance("pay/2/10.0.1.5/9000"),
            backend(canary={"version": "1.3.0", "percent": 5}),
            frontend("public", "shop"),
        )
        self.registry.apply(instance("web/1.2.0/10.0.0.7/8080", reason="registered"), 7.0)
        peers = [PeerStatus("n2", "heard", "127.0.0.1:1739", 0.25), PeerStatus("n3", "silent", None, 9.0)]
        self.shown = shown_at(10.0, self.registry, link_of(peers=peers))

    def test_apps(self) -> None:
        self.assertEqual(
            picture(self.shown)[:8],
            [
                "bender top  n1 (127.0.0.1:1729)  ready  nodes: 2 of 3 heard  up 60 min",
                "registrations: 4  apps: 2  backends: 1  events: 0.1/s",
                "no problems",
                "[a]pps  [i]nstances  [b]ackends  [n]odes  [e]vents    by APP",
                "  APP  VERSION  LISTED  UP  DRAIN  MAINT  BACKENDS  LAST CHANGE",
                "  pay  2             1   1",
                "+ web  1.2.0         3   2      1         shop      registered 3 s ago",
                "",
            ],
        )

    def test_instances(self) -> None:
        """Columns that identify an instance are never left out."""
        controls = TopControls(place=Place(INSTANCES))
        names, first = picture(self.shown, controls, 140)[4:6]
        self.assertEqual(names.split(), " ".join(TOP_INSTANCES.names).split())
        self.assertEqual(first.split(), ["pay", "2", "10.0.1.5", "9000", "up", "1", "10", "60", "s", "n1"])
        lines = picture(self.shown, controls, 140)
        self.assertEqual(lines[6].split()[-1], '{"zone":"a"}')
        self.assertEqual(picture(self.shown, controls, 60)[4].split()[:5], ["APP", "VERSION", "HOST", "PORT", "STATE"])

    def test_backends(self) -> None:
        lines = picture(self.shown, TopControls(place=Place(BACKENDS)))
        self.assertEqual(lines[4].split(), " ".join(TOP_BACKENDS.names).split())
        self.assertEqual(lines[5].split(), ["shop", "web", "1.2.0", "2", "1.3.0", "5", "%", "public"])

    def test_nodes(self) -> None:
        """Rows are the nodes that the followed node knows, with the status of each node that answered."""
        link = self.shown.link
        link.others = {"127.0.0.1:1739": status("n2", ready=False), "127.0.0.1:1": "refused the connection"}
        rows = [line.split() for line in picture(self.shown, TopControls(place=Place(NODES)))[5:9]]
        self.assertEqual(rows[0], ["127.0.0.1:1", "unreachable"])
        self.assertEqual(rows[1][:4], ["n1", "127.0.0.1:1729", "ready", "01234567"])
        self.assertEqual(rows[2][:5], ["n2", "127.0.0.1:1739", "not", "ready", "0.2"])
        self.assertEqual(rows[3], ["n3", "silent", "9.0", "s"])

    def test_events_newest_first(self) -> None:
        self.registry.apply(instance("pay/2/10.0.1.5/9000", "offline", "expired"), 9.0)
        lines = picture(self.shown, TopControls(place=Place(EVENTS)), 120)
        self.assertEqual(lines[5].split()[0::2][:2], ["-", "offline"])
        self.assertIn("registration/pay/2/10.0.1.5/9000      expired     1 s ago", lines[5])
        self.assertIn("registered  3 s ago", lines[6])
        self.assertEqual(lines[7], "")

    def test_a_narrow_screen_drops_columns_and_a_wide_one_has_all(self) -> None:
        for columns, names in (
            (30, ["APP", "VERSION", "LISTED", "UP"]),
            (200, [field.name for field in TopControls().view.fields]),
        ):
            self.assertEqual(picture(self.shown, columns=columns)[4].split(), " ".join(names).split())

    def test_every_line_fits_every_size(self) -> None:
        """No line is too long and no picture is too high, in any view and help, and at any size."""
        for columns in (1, 5, 19, 20, 33, 80, 200):
            for lines in (1, 7, 8, 24, 60):
                for place in places():
                    for is_help in (False, True):
                        controls = TopControls(place=place, is_help=is_help, filter="e" * 50, is_typing=lines % 2 == 0)
                        made = picture(self.shown, controls, columns, lines)
                        self.assertLessEqual(len(made), lines)
                        self.assertLessEqual(max(map(cell_width, made)), columns)

    def test_a_screen_shows_as_many_rows_as_fit(self) -> None:
        registry = registry_of(*(instance(f"app{number:03}/1/h/80") for number in range(100)))
        lines = picture(shown_at(0.0, registry))
        self.assertEqual(len(lines), 24)
        self.assertEqual([line[2:8] for line in lines[5:23]], [f"app{number:03}" for number in range(18)])
        self.assertTrue(lines[-1].endswith(" 1-18 of 100"))

    def test_the_filter_is_seen_while_it_is_typed(self) -> None:
        """While a long filter is typed, its end is shown."""
        self.assertTrue(picture(self.shown, TopControls(filter="we", is_typing=True))[-1].startswith("/we_"))
        self.assertIn("xyz_", picture(self.shown, TopControls(filter="a" * 90 + "xyz", is_typing=True))[-1])
        self.assertIn("filter: we", picture(self.shown, TopControls(filter="we"))[3])

    def test_an_explanation_has_the_place_of_the_table(self) -> None:
        controls = TopControls(place=Place(INSTANCES, explained="registration/web/1/h/80"))
        text = [styled(f"line {number}") for number in range(30)]
        lines = [line.plain for line in frame(self.shown, self.shown, controls, Size(80, 24), text)]
        self.assertIn("registration/web/1/h/80", lines[3])
        self.assertEqual((lines[4], lines[22]), ("line 0", "line 18"))
        self.assertTrue(lines[-1].endswith(" 1-19 of 30"))

    def test_help_fits_a_small_screen(self) -> None:
        lines = picture(self.shown, TopControls(is_help=True))
        self.assertNotIn("…", "".join(lines))
        self.assertIn("reverse the order", "\n".join(lines))

    def test_all_columns_are_documented(self) -> None:
        """The columns of each view are those of `bender top --help` and the reference, in the same order."""
        documented = {
            APPS: TOP_APPS,
            INSTANCES: TOP_INSTANCES,
            BACKENDS: TOP_BACKENDS,
            NODES: TOP_NODES,
            EVENTS: TOP_EVENTS,
        }
        self.assertEqual(
            {name: [field.name for field in view.fields] for name, view in VIEWS.items()},
            {name: columns.names for name, columns in documented.items()},
        )


class Colours(SynchronousTestCase):
    def lines(self, shown: TopState, controls: TopControls | None = None) -> list[str]:
        controls = controls or TopControls(place=Place(INSTANCES), selected="none")
        controls.index = 5
        made = frame(shown, shown, controls, Size(100, 24), controls.rows(shown))
        return [line.for_terminal(STYLES) for line in made]

    def test_recent_changes_stand_out(self) -> None:
        """Recent changes have colours and a sign for five seconds."""
        registry = registry_of(*(instance(f"web/1/{host}/80") for host in "abcd"))
        registry.apply(instance("web/1/a/80", "online", "registered"), 10.0)
        registry.apply(instance("web/1/b/80", "offline", "node-lost"), 10.0)
        registry.apply(instance("web/1/c/80", "changed", "state", state="drain"), 10.0)
        lines = self.lines(shown_at(12.0, registry))[5:9]
        for line, sign, code in zip(lines, "+-~", ("32", "31", "33"), strict=False):
            self.assertTrue(line.startswith(f"\x1b[{code}m{sign} "), line)
        self.assertIn("node-lost 2 s ago", lines[1])
        self.assertIn("gone", lines[1])
        later = self.lines(shown_at(10.0 + RECENT_S, registry))
        self.assertTrue(later[5].startswith("  web"), later[5])

    def test_the_selected_row_is_reversed(self) -> None:
        registry = registry_of(instance("web/1/a/80"), instance("web/1/b/80"))
        controls = TopControls(place=Place(INSTANCES))
        controls.press("down", controls.rows(shown_at(0.0, registry)), 10)
        made = self.lines(shown_at(0.0, registry), controls)
        self.assertNotIn("\x1b[7m", made[5])
        self.assertIn("\x1b[7mweb", made[6])

    def test_old_state_looks_old(self) -> None:
        """If the state is old, all rows are dim, and the header has the age and the reason."""
        link = link_of()
        link.follow_problem = "127.0.0.1:1729 refused the connection"
        lines = self.lines(shown_at(65.0, registry_of(instance()), link))
        self.assertIn("\x1b[31m  unreachable", lines[0])
        self.assertTrue(lines[2].startswith("\x1b[7mSTALE, as of 65 s ago, retrying: 127.0.0.1:1729 refused"), lines[2])
        self.assertTrue(lines[5].startswith("\x1b[2"), lines[5])


class Headers(SynchronousTestCase):
    def test_problems_of_the_node(self) -> None:
        """The header has the beginning of the first problem, and the key that shows the others."""
        link = link_of(problems={"10.0.0.2:1730": "has another protocol" + "!" * 100, "node/x": "two"})
        line = picture(shown_at(0.0, registry_of(), link))[2]
        self.assertTrue(line.startswith("10.0.0.2:1730: has another protocol!!"), line)
        self.assertTrue(line.endswith("!… (1 more: n)"), line)
        self.assertEqual(len(line), 80)
        self.assertEqual(picture(shown_at(0.0, registry_of(), link_of(problems={"x": "y."})))[2], "x: y")

    def test_all_problems_are_below_the_nodes(self) -> None:
        """The view of nodes has all problems in full, and the reason why the state is old."""
        link = link_of(problems={"10.0.0.2:1730": "has another protocol " + "and goes on " * 10, "node/x": "two"})
        link.follow_problem = "127.0.0.1:1729 denies access (" + "this node requires a token, " * 5 + ")"
        lines = picture(shown_at(0.0, registry_of(), link), TopControls(place=Place(NODES)))
        self.assertTrue(lines[2].endswith("… (n: all)"), lines[2])
        text = " ".join(" ".join(lines[7:-1]).split())
        self.assertEqual(
            text,
            f"{link.follow_problem}. 10.0.0.2:1730: has another protocol {'and goes on ' * 10}node/x: two".replace(
                ", )", ", )"
            ),
        )

    def test_before_a_node_is_reached(self) -> None:
        link = link_of()
        link.address = link.status = link.heard_at = None
        link.follow_problem = "127.0.0.1:1729 refused the connection"
        lines = picture(shown_at(5.0, registry_of(), link))
        self.assertEqual(lines[0], "bender top  asking 127.0.0.1:1729")
        self.assertTrue(lines[2].startswith("nothing received yet, retrying: 127.0.0.1:1729 refused the connection"))

    def test_until_everything_is_received(self) -> None:
        """Until the full state has arrived, the header does not show counts."""
        registry = LiveRegistry()
        registry.apply(instance(), 0.0)
        self.assertEqual(picture(shown_at(0.0, registry))[2], "receiving the registrations")

    def test_pause_and_order(self) -> None:
        live = shown_at(70.0, registry_of())
        paused = shown_at(10.0, registry_of())
        controls = TopControls(is_paused=True)
        for key in "sr":
            controls.press(key, [], 10)
        line = frame(live, paused, controls, Size(100, 24), [])[3].plain
        self.assertTrue(line.endswith("PAUSED 60 s  by VERSION, reversed"), line)


class Hostile(SynchronousTestCase):
    def test_no_name_reaches_the_terminal_as_it_is(self) -> None:
        """A hostile name causes no control character and no line that is too long, in any view."""
        for name in HOSTILE:
            link = link_of(problems={name: name}, peers=[PeerStatus(name, name, name, 1.0)])
            link.others = {name: name}
            link.follow_problem = name if "x" in name else ""
            link.notice = name
            registry = registry_of(
                instance(app=name, version=name, host=name, meta={name: name}, node=name, id=f"registration/{name}"),
                backend(name, app=name, version=name, canary={"version": name, "percent": name}),
                frontend(name, name),
            )
            registry.apply(instance("a/1/h/1", "changed", name, id=f"registration/{name}", state=name), 1.0)
            for place in [*places(), Place(explained=name)]:
                controls = TopControls(place=place, filter=name, is_typing=True)
                for typing in (True, False):
                    controls.is_typing, controls.filter = typing, name if typing else ""
                    shown = shown_at(2.0, registry, link)
                    rows = [styled(name)] if place.explained else controls.rows(shown)
                    for line in frame(shown, shown, controls, Size(80, 24), rows):
                        self.assertLessEqual(cell_width(line.plain), 80, line.plain)
                        self.check(line.for_terminal(STYLES))

    def check(self, written: str) -> None:
        plain = SEQUENCE.sub("", written)
        self.assertTrue(plain.isprintable() or "\u0301" in plain, ascii(plain))
        self.assertIsNone(re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff]", plain), ascii(plain))


class Fitting(SynchronousTestCase):
    def test_text_is_cut_and_filled_up_by_its_width(self) -> None:
        for text, width, right, wanted in (
            ("abc", 5, False, "abc  "),
            ("abc", 5, True, "  abc"),
            ("abcdef", 5, False, "abcd…"),
            ("漢字", 5, False, "漢字 "),
            ("漢字", 6, True, "  漢字"),
            ("漢字漢", 5, False, "漢字…"),
            ("漢字漢", 4, False, "漢 …"),
            ("\x1b[2J", 20, False, "\\x1b[2J             "),
            ("abc", 0, False, ""),
            ("abc", 1, False, "…"),
        ):
            self.assertEqual(fitted(text, width, right=right), wanted)

    def test_the_width_of_a_text_is_that_of_what_is_shown(self) -> None:
        for text, width in (("abc", 3), ("漢字", 4), ("\x1b", 4), ("", 0)):
            self.assertEqual(width_of(text), width)

    def test_ages_are_short(self) -> None:
        for duration_s, text in (
            (-1, "0 s"),
            (0.9, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7200, "2 h"),
            (200_000, "2 d"),
        ):
            self.assertEqual(age(duration_s), text)

    def test_columns_are_cut_or_leave_by_rank(self) -> None:
        """Columns are cut and left out by rank, the last one first; if all must stay, the widest is cut first."""
        for width, wanted in (
            (100, [10, 5, 5, 8]),
            (33, [10, 5, 5, 7]),
            (32, [10, 5, 5, 6]),
            (31, [10, 5, 5, 0]),
            (20, [10, 5, 0, 0]),
            (10, [4, 4, 0, 0]),
            (2, [1, 0, 0, 0]),
        ):
            self.assertEqual(widths_in([10, 5, 5, 8], [3, 3, 4, 6], [0, 0, 1, 2], width), wanted, width)
