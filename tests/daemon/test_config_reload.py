"""Changing the options of a node that runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.daemon.config_reload import AT_NEXT_START, NodeReloader
from bender.daemon.limit_options import LIMIT_OPTIONS
from bender.daemon.options import OPTIONS, NodeOptions, validate_options
from bender.node.limits import DEFAULTS, Limits, NodeLimits
from bender.process.log_options import LOG_OPTIONS
from bender.process.options import RawOption
from bender.process.signals import RereadResult


class Running:
    """Records the calls to a node, its exchange and its protection."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.protection: NodeOptions | None = None
        self.looked = 0
        self.limits = NodeLimits(DEFAULTS, lambda: 0.0)

    def set_guard_duration(self, guard_s: float) -> None:
        self.told.append(guard_s)

    def replace_seeds(self, seeds: Sequence[str]) -> None:
        self.told.append([*seeds])

    def replace(self, options: NodeOptions) -> None:
        self.protection = options

    def look(self) -> None:
        self.looked += 1


def node_options(**values: Any) -> NodeOptions:
    return validate_options({option: RawOption(f"--{option}", value) for option, value in values.items()}, "box")


class Reloading(SynchronousTestCase):
    def setUp(self) -> None:
        self.running = Running()
        self.reloader = NodeReloader(
            node_options(peers="a,b"), self.running, self.running, self.running, self.running.look
        )

    def test_peers(self) -> None:
        """New peers are used from now on, and removed peers are not; the result names both."""
        reread = self.reloader.apply(node_options(peers="b,c,d"))
        self.assertEqual(self.running.told, [["b:1730", "c:1730", "d:1730"]])
        self.assertEqual(reread, RereadResult(["--peers: c:1730, d:1730 added", "--peers: a:1730 removed"], []))

    def test_the_guard(self) -> None:
        self.assertEqual(
            self.reloader.apply(node_options(peers="a,b", guard=60)),
            RereadResult(["--guard: 60 instead of 0"], []),
        )
        self.assertEqual(self.running.told, [60.0])

    def test_limits(self) -> None:
        """All limits change at once, and the result names each changed limit."""
        options = {"max-rate": 2.5, "max-entry": 8192, "max-body": 100_000}
        reread = self.reloader.apply(node_options(peers="a,b", **options))
        changed = ["--max-rate: 2.5 instead of 0", "--max-body: 100000 instead of 65536"]
        self.assertEqual(reread, RereadResult([*changed, "--max-entry: 8192 instead of 4096"], []))
        self.assertEqual(self.running.limits.values, Limits(rate=2.5, body_bytes=100_000, entry_bytes=8192))

    def test_nothing_changed(self) -> None:
        """Nothing changes if the same peers are only written in another form."""
        self.assertEqual(self.reloader.apply(node_options(peers=["a:1730", "b"])), RereadResult([], []))
        self.assertEqual(self.running.told, [])

    def test_what_a_node_needs_a_start_for(self) -> None:
        """An option that needs a start is named after each reread, and the node continues with its old value."""
        other = node_options(
            peers="a,b",
            api="tcp:9:interface=127.0.0.1",
            exchange="tcp:10:interface=127.0.0.1",
            events="tcp:11:interface=127.0.0.1",
            agent="tcp:12:interface=127.0.0.1",
            thalassa="13:14",
            cluster="c",
            name="n",
            advertise="h",
            ttl=20,
            interval=2,
        )
        for _ in range(2):
            reread = self.reloader.apply(other)
            self.assertEqual(
                [each.partition(" ")[0] for each in reread.at_next_start],
                [
                    *("--api", "--exchange", "--events", "--agent", "--thalassa"),
                    *("--cluster", "--name", "--advertise", "--ttl", "--interval"),
                ],
            )
            self.assertIn("--agent tcp:12:interface=127.0.0.1 instead of off", reread.at_next_start)
            self.assertIn("--thalassa 13:14:interface=127.0.0.1 instead of off", reread.at_next_start)
            self.assertIn("--ttl 20 instead of 10", reread.at_next_start)
            self.assertEqual((reread.changed, self.running.told), ([], []))
        self.assertEqual(self.reloader.apply(node_options(peers="a,b")), RereadResult([], []))

    def test_dns(self) -> None:
        """A node opens the port of `--dns` only when it starts."""
        reread = self.reloader.apply(node_options(peers="a,b", dns="8600"))
        self.assertEqual(reread, RereadResult([], ["--dns 8600:interface=127.0.0.1 instead of off"]))

    def test_protocols_of_the_api(self) -> None:
        """The paths of protocols are set when the node starts."""
        reread = self.reloader.apply(node_options(peers="a,b", disable=["prometheus"]))
        self.assertEqual(reread, RereadResult([], ["--disable prometheus instead of nothing"]))

    def test_names_for_browsers(self) -> None:
        """New names of `--allow-host` are used from the next start on."""
        reread = self.reloader.apply(node_options(peers="a,b", **{"allow-host": ["b.example,a.example"]}))
        self.assertEqual(reread, RereadResult([], ["--allow-host a.example,b.example instead of none"]))

    def test_every_option_is_known(self) -> None:
        """A new option must be listed as changeable or not. --insecure only allows other options."""
        at_once, never = {"peers", "guard", "tokens", *LIMIT_OPTIONS, *LOG_OPTIONS}, {"insecure"}
        self.assertEqual({*OPTIONS} - at_once - never, {*AT_NEXT_START})
