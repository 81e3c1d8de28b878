"""Keeping instances registered while nodes fail and return."""

from __future__ import annotations

from typing import Any

from msgspec.json import decode
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from bender.client import Refused, Registrar, Succeeded, Unavailable
from bender.client.registrar import CONCURRENT_MAX, IDS_BYTES_MAX, IDS_MAX, STOP_S_MAX, request_batches
from bender.node.limits import Limits
from tests.client.cluster import ALL, ONE, THREE, TWO, ClientCase, Page

WEB_ID = "registration/web/1/10.9.9.9/80"


class RegistrarCase(ClientCase):
    def setUp(self) -> None:
        super().setUp()
        self.asking = self.client(*ALL)
        self.registrar = Registrar(self.asking, chance=lambda: 0.5)
        self.registrar.startService()
        self.addCleanup(self.stop)

    def stop(self) -> None:
        if self.registrar.running:
            self.registrar.stopService()
            self.network.pass_time(1)

    def add(self, port: int = 80, **wanted: Any) -> str:
        id_ = self.registrar.add("web", "1", "10.9.9.9", port, **wanted)
        self.network.settle()
        return id_

    def listed(self, host: str = THREE) -> list[int]:
        return [int(claim.key.rpartition("/")[2]) for claim in self.node(host).claims()]

    def offlines(self, host: str = THREE) -> int:
        journal = self.node(host).journal
        entries = [journal.entry(number) for number in range(1, journal.last_number + 1)]
        return sum(entry is not None and b'"offline"' in entry.line for entry in entries)


class Keeping(RegistrarCase):
    def test_what_is_added(self) -> None:
        """An added instance is registered at once, and renewed every third of its ttl."""
        id_ = self.add(ttl_s=12, weight=3, meta={"zone": "a"})
        made = self.result(self.registrar.registered(id_))
        self.assertEqual((made.ttl_s, made.weight, made.meta), (12.0, 3, {"zone": "a"}))
        before = self.asking.requests
        self.network.pass_time(40)
        self.assertEqual((self.listed(), self.asking.requests - before), ([80], 10))
        self.assertEqual(self.registrar.ids, [id_])

    def test_many(self) -> None:
        """Many instances are renewed in one request."""
        for port in range(1, 201):
            self.add(port)
        self.network.pass_time(5)
        before = self.asking.requests
        self.network.pass_time(20)
        self.assertEqual((len(self.listed()), self.offlines()), (200, 0))
        self.assertLessEqual(self.asking.requests - before, 7)

    def test_several_ttls(self) -> None:
        """Instances that are due at about the same time are renewed together, and others are not."""
        for port, ttl_s in ((1, 4), (2, 4), (3, 400)):
            self.add(port, ttl_s=ttl_s)
        before = self.asking.requests
        self.network.pass_time(12)
        self.assertIn(self.asking.requests - before, (8, 9))
        self.assertEqual(self.listed(), [1, 2, 3])

    def test_what_is_not_known_any_more(self) -> None:
        """An instance that another client deregistered is registered again."""
        id_ = self.add()
        self.node(TWO).deregister(id_)
        self.network.pass_time(4)
        self.assertEqual(self.listed(), [80])

    def test_what_is_removed(self) -> None:
        """A removed instance is deregistered, and not renewed any more."""
        id_ = self.add()
        applied = self.result(self.registrar.remove(id_, wait_s=2))
        assert applied is not None
        self.assertEqual((len(applied.applied), self.listed(), self.registrar.ids), (3, [], []))
        self.network.pass_time(15)
        self.assertEqual(self.listed(), [])
        self.assertIsNone(self.result(self.registrar.remove(id_)))

    def test_removed_because_a_check_failed(self) -> None:
        """A removal after a failed check has this reason at the nodes."""
        id_ = self.add()
        self.result(self.registrar.remove(id_, reason="check-failed"))
        journal = self.node(THREE).journal
        last = journal.entry(journal.last_number)
        assert last is not None
        self.assertIn(b'"offline"', last.line)
        self.assertIn(b'"reason":"check-failed"', last.line)

    def test_removed_after_another_took_its_place(self) -> None:
        """If a new process has registered the same id, the removal of the old process keeps this registration."""
        id_ = self.add()
        other = Registrar(self.client(TWO), chance=lambda: 0.5)
        other.startService()
        other.add("web", "1", "10.9.9.9", 80)
        self.network.pass_time(8)
        self.failure(self.registrar.remove(id_), Succeeded)
        self.network.pass_time(8)
        self.assertEqual((self.listed(), self.offlines()), ([80], 0))
        self.result(other.remove(id_))
        self.assertEqual(self.listed(), [])
        other.stopService()
        self.network.settle()

    def test_a_removal_that_is_repeated(self) -> None:
        """A repeated removal still uses the token of its instance, so a later registration of the id stays."""
        id_ = self.add()
        self.network.cut = {*ALL}
        removing = Deferred.fromCoroutine(self.registrar.remove(id_))
        removing.addErrback(lambda failure: failure.trap(CancelledError))
        removing.cancel()
        self.network.cut = set()
        other = Registrar(self.client(TWO), chance=lambda: 0.5)
        other.startService()
        other.add("web", "1", "10.9.9.9", 80)
        self.network.pass_time(8)
        self.failure(self.registrar.remove(id_), Succeeded)
        self.assertEqual(self.listed(), [80])
        other.stopService()
        self.network.settle()

    def test_a_refused_one_is_removed(self) -> None:
        """Removing a refused instance does not remove the registration of another process under its id."""
        refused = self.registrar.add("web", "1", "10.9.9.9", 80, ttl_s=1)
        self.network.pass_time(2)
        other = Registrar(self.client(TWO), chance=lambda: 0.5)
        other.startService()
        other.add("web", "1", "10.9.9.9", 80)
        self.network.pass_time(8)
        self.failure(self.registrar.remove(refused), Succeeded)
        self.assertEqual(self.listed(), [80])
        other.stopService()
        self.network.settle()

    def test_stopped_after_another_took_its_place(self) -> None:
        """When the service stops, the registration of another process under the same id stays."""
        self.add()
        self.result(self.client(TWO).register("web", "1", "10.9.9.9", 80, instance="another"))
        stopped = self.registrar.stopService()
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual((self.listed(), self.offlines()), ([80], 0))

    def test_added_again_while_it_is_kept(self) -> None:
        """An instance that is added again keeps its token, and does not begin another registration."""
        self.add(weight=1)
        before = self.node(THREE).registration(WEB_ID)
        self.network.pass_time(1)
        self.add(weight=2)
        after = self.node(THREE).registration(WEB_ID)
        assert before and after
        self.assertEqual(decode(after), {**decode(before), "weight": 2})

    def test_what_can_be_none(self) -> None:
        """If a node refuses an instance, `registered` raises the refusal, and the instance is not kept."""
        id_ = self.registrar.add("a/b", "1", "h", 80)
        waiting = Deferred.fromCoroutine(self.registrar.registered(id_))
        self.network.settle()
        self.assertEqual(self.failureResultOf(waiting, Refused).value.status, 400)
        self.assertEqual(self.registrar.ids, [])
        self.assertEqual(self.failure(self.registrar.registered(id_), KeyError).args, (id_,))

    def test_added_twice(self) -> None:
        """If an instance is added twice, the terms of the last `add` are used."""
        self.add(weight=1)
        id_ = self.add(weight=2)
        self.assertEqual(self.result(self.registrar.registered(id_)).weight, 2)
        self.assertEqual(self.registrar.ids, [id_])

    def test_what_cannot_even_be_sent(self) -> None:
        """An instance that cannot be sent is logged, and does not disturb the others."""
        self.add(80, ttl_s=4)
        self.network.pass_time(4)
        self.add(81, meta={"what": object()})
        self.add(82, ttl_s=4)
        self.network.pass_time(12)
        self.assertTrue(self.flushLoggedErrors(TypeError))
        self.assertEqual((self.listed(), self.offlines()), ([80, 82], 0))

    def test_added_again_as_it_should_have_been(self) -> None:
        """The refusal of the first terms does not affect the second ones."""
        self.registrar.add("web", "1", "10.9.9.9", 80, weight=1000)
        id_ = self.add(weight=10)
        self.network.pass_time(1)
        self.assertEqual(self.result(self.registrar.registered(id_)).weight, 10)

    def test_stopped(self) -> None:
        """When the service stops, all instances are deregistered."""
        for port in range(1, 30):
            self.add(port)
        stopped = self.registrar.stopService()
        self.network.settle()
        self.successResultOf(stopped)
        self.assertEqual(self.listed(), [])


class Away(RegistrarCase):
    """Nodes that fail and return."""

    def test_one_after_the_other(self) -> None:
        """Instances stay registered when one node after the other fails."""
        for port in range(1, 21):
            self.add(port)
        for i in range(9):
            host = ALL[i % 3]
            self.machines[host].leave() if i % 2 else self.machines[host].kill()
            self.network.pass_time(3)
            self.start(host)
            self.network.pass_time(4)
            self.assertEqual([len(self.listed(each)) for each in ALL], [20, 20, 20])
        self.assertEqual([self.offlines(host) for host in ALL], [0, 0, 0])

    def test_why_none_answers(self) -> None:
        """The registrar has the reason as long as no node answers."""
        self.add()
        self.assertIsNone(self.registrar.problem)
        for host in ALL:
            self.machines[host].kill()
        self.network.pass_time(5)
        self.assertIn("10.0.0.2:1729 does not answer (", self.registrar.problem or "")
        self.start(TWO)
        self.network.pass_time(14)
        self.assertIsNone(self.registrar.problem)

    def test_two_that_hang(self) -> None:
        """Two nodes that hang cost so little time that the third node is asked within the ttl."""
        self.add(ttl_s=4)
        self.network.pass_time(5)
        self.network.cut = {ONE, TWO}
        for _ in range(10):
            self.network.pass_time(2)
            self.assertEqual(self.listed(), [80])
        self.assertEqual(self.offlines(), 0)

    def test_one_that_hangs_while_there_is_one_to_be_registered(self) -> None:
        """Registered instances are renewed in time although the registration of another instance hangs."""
        self.add(80, ttl_s=4)
        self.network.pass_time(5.5)  # the instance was just renewed
        self.network.cut = {ONE}
        self.add(81, ttl_s=4)
        self.network.pass_time(10)
        self.assertEqual((self.listed(), self.offlines()), ([80, 81], 0))

    def test_all_of_them(self) -> None:
        """The registrar retries less and less often, and registers the instance when a node answers."""
        id_ = self.add()
        for host in ALL:
            self.machines[host].kill()
        before = self.asking.requests
        self.network.pass_time(60)
        self.assertLess(self.asking.requests - before, 120)
        self.start(TWO)
        self.network.pass_time(12)
        self.assertEqual(self.listed(TWO), [80])
        self.assertEqual(self.registrar.ids, [id_])

    def test_what_is_removed_while_it_is_registered(self) -> None:
        """A removal waits for the registration, also if its caller does not wait for it."""
        self.network.cut = {ONE}
        for given_up_after_s in (10, 1):
            self.asking.nodes.note_answer(f"{ONE}:1729")
            id_ = self.add(ttl_s=60)
            self.network.pass_time(0.5)
            removing = Deferred.fromCoroutine(self.registrar.remove(id_)).addTimeout(given_up_after_s, self.network)
            removing.addErrback(lambda failure: failure.trap(TimedOut))
            self.network.pass_time(12)
            self.assertEqual(self.listed(), [])

    def test_what_is_added_twice_and_removed_while_it_is_registered(self) -> None:
        """An instance that was added twice and removed during its registration does not come back."""
        self.add(79)
        (connection,) = [end for end in self.network.ends if end.peerAddress.port == 1729 and not end.disconnected]
        connection.paused = True  # so that only the registration is slow, and requests on other connections are not
        self.add(80)
        id_ = self.add(80)
        removing = Deferred.fromCoroutine(self.registrar.remove(id_))
        self.network.pass_time(0.5)
        connection.paused = False
        self.network.pass_time(0.5)
        self.successResultOf(removing)
        self.assertEqual(self.listed(), [79])

    def test_one_that_answers_what_no_node_does(self) -> None:
        """An invalid answer counts as no answer: another node renews the instances in time."""
        self.add(ttl_s=12)
        self.machines[ONE].kill()
        self.machines[TWO].kill()
        self.network.pass_time(8)
        for body in (b"[]", b'{"unknown": {}}', b"<html>", b'{"id": 1}'):
            self.asking.nodes.note_answer(f"{ONE}:1729")
            self.network.listening[ONE, 1729] = Site(Page(200, body), reactor=self.network)
            self.network.pass_time(20)
            self.assertEqual((self.listed(), self.offlines()), ([80], 0))
            self.assertEqual(self.asking.nodes.last, f"{THREE}:1729")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_full_ones(self) -> None:
        """Instances for which nodes have no room are tried again until there is room."""
        for host in ALL:
            self.node(host).limits.change(Limits(registrations=0))
        self.add()
        self.network.pass_time(5)
        self.assertEqual(self.listed(), [])
        self.node(TWO).limits.change(Limits(registrations=1))
        self.network.pass_time(7)
        self.assertEqual(self.listed(), [80])

    def test_many_from_the_beginning(self) -> None:
        """Few requests are sent at the same time, and each instance is registered once."""
        self.network.cut = {*ALL}
        for port in range(1, 101):
            self.add(port)
        for _ in range(10):
            self.network.pass_time(5)
            asking = [end for end in self.network.ends if end.peerAddress.port == 1729 and not end.disconnected]
            self.assertLessEqual(len(asking) + len(self.network._reaching), CONCURRENT_MAX)
        self.network.cut = set()
        before = self.asking.requests
        self.network.pass_time(5)
        self.assertEqual(len(self.listed()), 100)
        self.assertLess(self.asking.requests - before, 110)

    def test_from_the_beginning(self) -> None:
        """An instance that was added before any node answers is registered later, and then `registered` returns."""
        for host in ALL:
            self.machines[host].kill()
        id_ = self.add()
        waiting = Deferred.fromCoroutine(self.registrar.registered(id_))
        self.network.pass_time(10)
        self.assertNoResult(waiting)
        self.start(ONE)
        self.network.pass_time(12)
        self.assertEqual(self.successResultOf(waiting).id, id_)

    def test_what_is_removed_before_it_was_registered(self) -> None:
        """If an instance is removed while no node answers, `remove` raises `Unavailable`, and `registered` ends."""
        for host in ALL:
            self.machines[host].kill()
        id_ = self.add()
        waiting = Deferred.fromCoroutine(self.registrar.registered(id_))
        self.failure(self.registrar.remove(id_), Unavailable)
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.registrar.ids, [])

    def test_stopped(self) -> None:
        """The service stops in time although no node answers."""
        self.add()
        self.network.cut = {*ALL}
        stopped = self.registrar.stopService()
        self.network.pass_time(STOP_S_MAX + 0.5)
        self.successResultOf(stopped)

    def test_stopped_while_one_hangs(self) -> None:
        """If a node hangs, the instances are deregistered at another node in time."""
        for port in range(1, 20):
            self.add(port, ttl_s=60)
        self.network.cut = {ONE, TWO}
        stopped = self.registrar.stopService()
        self.network.pass_time(STOP_S_MAX - 1)
        self.successResultOf(stopped)
        self.assertEqual(self.listed(), [])

    def test_stopped_while_somebody_waits(self) -> None:
        """`registered` raises an error for an instance that was never registered."""
        self.network.cut = {*ALL}
        waiting = Deferred.fromCoroutine(self.registrar.registered(self.add()))
        self.network.pass_time(1)
        self.assertNoResult(waiting)
        self.registrar.stopService()
        self.failureResultOf(waiting, CancelledError)
        self.network.pass_time(STOP_S_MAX + 0.5)

    def test_one_node_is_enough(self) -> None:
        """A registrar that was given one node learns the others."""
        registrar = Registrar(self.client(ONE), chance=lambda: 0.5)
        registrar.add("web", "1", "10.9.9.9", 81)
        registrar.startService()
        self.network.pass_time(1)
        self.machines[ONE].kill()
        self.network.pass_time(20)
        self.assertEqual((self.listed(), self.offlines()), ([81], 0))
        registrar.stopService()
        self.network.pass_time(1)


class Batches(SynchronousTestCase):
    def test_they_fit_a_request(self) -> None:
        """Batches are limited in number and bytes, and contain all ids."""
        for ids in ([f"registration/{i}" for i in range(2500)], [f"{i:0800}" for i in range(2500)]):
            batches = [*request_batches(ids)]
            self.assertEqual([id_ for batch in batches for id_ in batch], ids)
            for batch in batches:
                self.assertLessEqual(len(batch), IDS_MAX)
                self.assertLessEqual(sum(len(id_) + 3 for id_ in batch), IDS_BYTES_MAX)
        self.assertEqual([*request_batches([])], [])
