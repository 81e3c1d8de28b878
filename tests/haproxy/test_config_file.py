"""The configuration that HAProxy loads."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.config_file import ConfigFiles, ConfigRefused, states_file_of
from bender.haproxy.core.rendering import RenderedConfig


class Writing(SynchronousTestCase):
    def setUp(self) -> None:
        self.output = Path(self.mktemp()).absolute()
        self.checked: list[Path] = []
        self.waiting: Deferred[None] | None = None
        self.files = ConfigFiles(self.output, self.check)

    async def check(self, draft: Path) -> None:
        self.checked.append(draft)
        if self.waiting is not None:
            await self.waiting
        if "bad" in draft.read_text():  # noqa: ASYNC240 - it is small
            raise ConfigRefused("bad")

    def replace(self, text: str) -> Deferred[object]:
        return Deferred.fromCoroutine(self.files.replace(RenderedConfig(text, f"shape of {text}")))

    def test_what_is_good_is_there(self) -> None:
        """A valid configuration is written with a heading and its description; no draft is left behind."""
        self.assertIsNone(self.successResultOf(self.replace("one")))
        heading, text = self.output.read_text().splitlines()
        self.assertEqual(text, "one")
        self.assertIn("twistd bender-haproxy", heading)
        self.assertEqual(getattr(self.files.written, "description", ""), "shape of one")
        self.assertEqual([*self.output.parent.glob(f".{self.output.name}*")], [])

    def test_the_states_of_servers(self) -> None:
        """The states are in a file beside the configuration, also for the next driver; equal states are not written."""
        self.assertIsNone(self.files.states)
        self.files.save_states("one")
        file = states_file_of(self.output)
        self.assertEqual((file.name, file.read_text()), (f"{self.output.name}.states", "one"))
        self.assertEqual(ConfigFiles(self.output, self.check).states, "one")
        file.unlink()
        self.files.save_states("one")
        self.assertFalse(file.exists())
        states_file_of(self.output).mkdir()
        self.assertRaises(ConfigRefused, self.files.save_states, "two")
        self.assertEqual((self.files.states, [*self.output.parent.glob(".*.draft")]), ("one", []))

    def test_what_is_bad_is_not(self) -> None:
        """After a refused configuration, the old file stays, and no draft is left behind."""
        self.successResultOf(self.replace("one"))
        good = self.output.read_text()
        self.failureResultOf(self.replace("bad"), ConfigRefused)
        self.assertEqual((self.output.read_text(), getattr(self.files.written, "text", "")), (good, good))
        self.assertEqual([*self.output.parent.glob(f".{self.output.name}*")], [])

    def test_what_is_there_already(self) -> None:
        """A configuration that is in the file already is not checked again."""
        self.successResultOf(self.replace("one"))
        self.successResultOf(self.replace("one"))
        self.assertEqual(len(self.checked), 1)

    def test_it_was_there_before(self) -> None:
        """The description of an earlier file of the driver is known, and that of any other file is not."""
        self.successResultOf(self.replace("one"))
        again = ConfigFiles(self.output, self.check)
        self.assertEqual(again.written, self.files.written)
        self.output.write_text("# somebody's own\n")
        self.assertEqual(getattr(ConfigFiles(self.output, self.check).written, "description", ""), None)

    def test_back_to_what_was_before(self) -> None:
        """`restore` writes the earlier configuration, or does nothing if there was none."""
        self.successResultOf(self.replace("one"))
        before = self.files.written
        self.successResultOf(self.replace("two"))
        self.files.restore(None)
        self.assertIn("two", self.output.read_text())
        self.files.restore(before)
        self.assertIn("one", self.output.read_text())
        self.assertEqual(self.files.written, before)

    def test_one_at_a_time(self) -> None:
        """The second replacement waits until the first one is checked."""
        self.waiting = Deferred()
        one, two = self.replace("one"), self.replace("two")
        self.assertEqual(len(self.checked), 1)
        waiting, self.waiting = self.waiting, None
        waiting.callback(None)
        self.successResultOf(one)
        self.successResultOf(two)
        self.assertIn("two", self.output.read_text())

    def test_where_nothing_can_be_written(self) -> None:
        """A file that cannot be written is a refusal, with the reason."""
        files = ConfigFiles(self.output / "none" / "cfg", self.check)
        error = self.failureResultOf(Deferred.fromCoroutine(files.replace(RenderedConfig("a", "b"))), ConfigRefused)
        self.assertIn("cannot be written", str(error.value))
