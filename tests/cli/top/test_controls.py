"""The effects of keys on the view."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bender.cli.top.controls import Place, TopControls
from bender.cli.top.live_registry import LiveRegistry
from bender.cli.top.views import APPS, BACKENDS, EVENTS, INSTANCES, NODES, Scope
from bender.client.responses import PeerStatus
from tests.cli.top.shown import backend, instance, link_of, registry_of, shown_at

HEIGHT = 3


class KeysCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.controls = TopControls()
        self.registry = registry_of(
            *(instance(f"app{number}/1/10.0.0.{number}/80", weight=number) for number in range(6)),
            instance("app0/2/10.0.0.9/80"),
            backend("shop", app="app3", version="1"),
        )

    def press(self, *keys: str) -> None:
        for key in keys:
            self.controls.press(key, self.rows(), HEIGHT)

    def rows(self) -> list[object]:
        return self.controls.rows(shown_at(10.0, self.registry))

    def keys(self) -> list[str]:
        return [self.controls.view.key(row) for row in self.rows()]

    def selected(self) -> str:
        """Return the key of the selected row."""
        self.controls.find(self.rows(), HEIGHT)
        return self.keys()[self.controls.index]


class Nodes(KeysCase):
    def test_two_nodes_of_one_name_are_two_rows(self) -> None:
        """Two nodes with the same name, after a move or by mistake, have two rows."""
        peers = [PeerStatus("n2", state, f"10.0.0.{number}:1729") for number, state in enumerate(("silent", "heard"))]
        shown = shown_at(10.0, self.registry, link_of(peers=peers))
        self.controls.place = Place(NODES)
        rows = self.controls.rows(shown)
        self.assertEqual(len(rows), 3)
        for index in (1, 2):
            self.controls.press("down", rows, HEIGHT)
            self.controls.find(rows, HEIGHT)
            self.assertEqual(self.controls.index, index)


class Views(KeysCase):
    def test_each_view_has_a_key(self) -> None:
        for key, view in (("i", INSTANCES), ("b", BACKENDS), ("n", NODES), ("e", EVENTS), ("a", APPS)):
            self.press(key)
            self.assertEqual(self.controls.place, Place(view))

    def test_enter_opens_what_is_selected_and_escape_goes_back(self) -> None:
        """Enter opens the selected row, and Escape returns to it."""
        self.press("down", "down", "enter")
        self.assertEqual(self.controls.place, Place(INSTANCES, Scope("app1", "1")))
        self.assertEqual(self.keys(), ["registration/app1/1/10.0.0.1/80"])
        self.press("enter")
        self.assertEqual(self.controls.place.explained, "registration/app1/1/10.0.0.1/80")
        self.press("escape")
        self.assertEqual(self.controls.place, Place(INSTANCES, Scope("app1", "1")))
        self.press("escape")
        self.assertEqual((self.controls.place, self.selected()), (Place(APPS), "app1/1"))
        self.press("escape")
        self.assertEqual(self.controls.place, Place(APPS))

    def test_a_backend_opens_its_instances(self) -> None:
        """Enter on a backend shows its instances, including those of a canary."""
        self.press("b", "enter")
        self.assertEqual(self.controls.place, Place(INSTANCES, Scope("app3", "1")))
        self.registry.apply(
            backend("shop", "changed", "x", app="app0", version="1", canary={"version": "2", "percent": 5}), 1.0
        )
        self.press("escape", "enter")
        self.assertEqual(self.keys(), ["registration/app0/1/10.0.0.0/80", "registration/app0/2/10.0.0.9/80"])

    def test_an_event_opens_its_instance(self) -> None:
        self.registry.apply(instance("app2/1/10.0.0.2/80", "offline", "expired"), 1.0)
        self.press("e", "enter")
        self.assertEqual(self.controls.place.explained, "registration/app2/1/10.0.0.2/80")

    def test_nothing_opens_where_there_is_nothing(self) -> None:
        self.registry = LiveRegistry()
        self.press("enter", "down", "up", "end", "page-down", "n", "enter")
        self.assertEqual(self.controls.place, Place(NODES))

    def test_no_view_shows_more_than_was_asked_for(self) -> None:
        scope = Scope("app0")
        self.controls = TopControls(place=Place(INSTANCES, scope), scope=scope)
        self.press("b", "a")
        self.assertEqual(self.keys(), ["app0/1", "app0/2"])

    def test_help_is_left_by_any_key(self) -> None:
        """Any key closes the help and has its usual effect, and `q` quits."""
        self.press("?")
        self.assertTrue(self.controls.is_help)
        self.press("down")
        self.assertEqual((self.controls.is_help, self.selected()), (False, "app0/1"))
        self.press("?", "n")
        self.assertEqual((self.controls.is_help, self.controls.place.view), (False, NODES))
        self.press("?", "q")
        self.assertTrue(self.controls.is_quit_requested)

    def test_other_keys_do_nothing(self) -> None:
        before = self.controls.place
        self.press("x", "Z", "tab", "delete", "0")
        self.assertEqual((self.controls.place, self.controls.is_quit_requested), (before, False))


class Selecting(KeysCase):
    def test_arrows_and_pages_move(self) -> None:
        for keys, row in (
            (["down"], "app0/2"),
            (["j", "j"], "app2/1"),
            (["k"], "app1/1"),
            (["page-down"], "app3/1"),
            (["end"], "app5/1"),
            (["down"], "app5/1"),
            (["page-up"], "app3/1"),
            (["home", "up"], "app0/1"),
        ):
            self.press(*keys)
            self.assertEqual(self.selected(), row, keys)

    def test_the_selected_row_is_on_the_screen(self) -> None:
        for key in [*["down"] * 7, *["up"] * 7, "end", "page-up", "home", "page-down", "end"]:
            self.press(key)
            first = self.controls.find(self.rows(), HEIGHT)
            self.assertIn(self.controls.index, range(first, first + HEIGHT))
            self.assertLessEqual(first, len(self.rows()) - HEIGHT)

    def test_it_stays_selected_while_others_come_and_go(self) -> None:
        self.press("down", "down", "down")
        self.assertEqual(self.selected(), "app2/1")
        self.registry.apply(instance("aaa/1/h/80", reason="registered"), 1.0)
        self.assertEqual(self.selected(), "app2/1")
        del self.registry.versions["app0", "1"]
        self.assertEqual(self.selected(), "app2/1")

    def test_the_row_in_its_place_is_selected_when_it_is_gone(self) -> None:
        self.press("down", "down")
        self.assertEqual(self.selected(), "app1/1")
        del self.registry.versions["app1", "1"]
        self.assertEqual(self.selected(), "app2/1")
        self.registry.apply(instance("aaa/1/h/80", reason="registered"), 1.0)
        self.assertEqual(self.selected(), "app2/1")
        self.press("end")
        del self.registry.versions["app5", "1"]
        self.assertEqual(self.selected(), "app4/1")

    def test_at_the_top_the_newest_is_selected(self) -> None:
        """The top row stays selected while new events arrive; another selected row keeps its line."""
        self.press("e")
        for number in range(8):
            self.registry.apply(instance(f"new/1/h/{number + 1}", reason="registered"), float(number))
        self.assertEqual(self.selected(), "8")
        self.press("down", "down")
        self.assertEqual(self.selected(), "6")
        self.registry.apply(instance("new/1/h/9", reason="registered"), 9.0)
        first = self.controls.find(self.rows(), HEIGHT)
        self.assertEqual((self.selected(), self.controls.index - first), ("6", 2))
        self.press("up", "up", "up", "up")
        self.registry.apply(instance("new/1/h/10", reason="registered"), 10.0)
        self.assertEqual(self.selected(), "10")


class Filtering(KeysCase):
    def test_rows_have_all_words(self) -> None:
        self.press("/", *"APP0 /2")
        self.assertEqual((self.controls.filter, self.keys()), ("APP0 /2", ["app0/2"]))
        self.press("enter")
        self.assertEqual((self.controls.is_typing, self.keys()), (False, ["app0/2"]))

    def test_keys_are_text_while_it_is_typed(self) -> None:
        """While a filter is typed, all keys are text, including `q`."""
        self.press("/", "q", "é", " ", "?")
        self.assertEqual(
            (self.controls.filter, self.controls.is_quit_requested, self.controls.is_help), ("qé ?", False, False)
        )

    def test_it_can_be_corrected_and_cleared(self) -> None:
        self.press("/", *"app1", "backspace", "2")
        self.assertEqual(self.keys(), ["app2/1"])
        self.press("ctrl-u")
        self.assertEqual((self.controls.filter, self.controls.is_typing), ("", True))
        self.press("x", "escape")
        self.assertEqual((self.controls.filter, self.controls.is_typing), ("", False))
        self.press("/", "x", "enter", "escape")
        self.assertEqual(self.controls.filter, "")
        self.press("/", "backspace")
        self.assertFalse(self.controls.is_typing)

    def test_it_is_bounded(self) -> None:
        self.press("/", *"x" * 1000)
        self.assertEqual(len(self.controls.filter), 100)

    def test_it_returns_with_the_view(self) -> None:
        self.press("/", *"app0", "enter", "down", "enter")
        self.assertEqual((self.controls.filter, self.controls.place.scope), ("", Scope("app0", "2")))
        self.press("left")
        self.assertEqual((self.controls.filter, self.selected()), ("app0", "app0/2"))

    def test_instances_are_found_by_all_that_they_have(self) -> None:
        self.registry.apply(instance("x/1/h/1", meta={"zone": "b7"}, state="drain", node="n9"), 0.0)
        self.controls.place = Place(INSTANCES)
        for text in ("b7", "drain", "n9", "x/1/h"):
            self.controls.filter = text
            self.assertEqual(self.keys(), ["registration/x/1/h/1"])


class Sorting(KeysCase):
    def test_each_column_and_back(self) -> None:
        """Columns with numbers are sorted from the largest, and others by text."""
        columns = [field.name for field in self.controls.view.fields]
        for _ in columns.index("WEIGHT") * "s":
            self.press("s")
        self.assertEqual(self.keys()[:3], ["app5/1", "app4/1", "app3/1"])
        self.press("r")
        self.assertEqual(self.keys()[:3], ["app0/1", "app0/2", "app1/1"])
        self.press("S")
        self.assertEqual(columns[self.controls.order.column], "SUSPECT")
        for _ in range(columns.index("SUSPECT")):
            self.press("S")
        self.assertEqual((self.controls.order.column, self.keys()[0]), (0, "app0/1"))
        self.press("S")
        self.assertEqual(self.controls.order.column, len(columns) - 1)

    def test_the_latest_change_comes_first(self) -> None:
        self.registry.apply(instance("app4/1/10.0.0.4/80", "changed", "state", state="drain"), 7.0)
        self.press("S")
        self.assertEqual(self.keys()[0], "app4/1")

    def test_every_column_of_every_view_can_be_sorted_by(self) -> None:
        self.registry.apply(instance("app4/1/10.0.0.4/80", "changed", "state", state="drain"), 7.0)
        for place in (Place(), Place(INSTANCES), Place(BACKENDS), Place(NODES), Place(EVENTS)):
            self.controls.place = place
            known = {*self.keys()}
            for _ in self.controls.view.fields:
                self.press("s", "r")
                self.assertEqual({*self.keys()}, known)

    def test_views_have_orders_of_their_own(self) -> None:
        self.press("s", "b")
        self.assertEqual(self.controls.order.column, 0)
        self.press("a")
        self.assertEqual(self.controls.order.column, 1)


class Switches(KeysCase):
    def test_pause_quit_and_redraw(self) -> None:
        self.press("p")
        self.assertTrue(self.controls.is_paused)
        self.press(" ")
        self.assertFalse(self.controls.is_paused)
        self.press("ctrl-l")
        self.assertTrue(self.controls.is_redraw_requested)
        self.press("q")
        self.assertTrue(self.controls.is_quit_requested)

    def test_an_explanation_is_scrolled(self) -> None:
        """An explanation is scrolled as far as its last line."""
        self.press("enter", "enter")
        self.assertIsNotNone(self.controls.place.explained)
        lines = [*range(10)]
        for key, first in (("down", 1), ("up", 0), ("up", 0), ("page-down", 2), ("end", 7), ("down", 7), ("home", 0)):
            self.controls.press(key, lines, HEIGHT)
            self.assertEqual(self.controls.index, first, key)
        for key in ("s", "/", "enter"):
            self.controls.press(key, lines, HEIGHT)
        self.assertEqual((self.controls.is_typing, self.controls.order.column), (False, 0))
