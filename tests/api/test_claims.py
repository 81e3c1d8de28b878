"""`POST /claims`: the nodes that hold claims of given registrations, and the time that each claim has left."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred

from bender.core.claim_leases import KEYS_ASKED_MAX, ClaimLease
from bender.node.node import Node
from tests.api.conversation import WEB, WEB_ID, ApiCase, carrier_of
from tests.api.test_explain import PairCase

OTHER_ID = "registration/web/1.2.0/10.0.0.6/8080"


class OfTwoNodes(PairCase):
    def setUp(self) -> None:
        super().setUp()
        self.asked: list[Sequence[str]] = []
        carrier_of(self.network.first).ask_claims = partial(self.claims_of, self.network.second)

    async def claims_of(self, node: Node, address: str, keys: Sequence[str]) -> list[ClaimLease | None] | None:
        self.asked.append(keys)
        return node.claim_leases(keys) if self.network.connected else None

    def claims(self, *ids: str) -> dict[str, Any]:
        response = self.ask("POST", "/claims", {"ids": ids})
        self.assertEqual((response.status, [*response.json]), (200, ["claims", "missing"]))
        answer: dict[str, Any] = response.json
        return answer

    def test_claims_of_both(self) -> None:
        """The claim with the longest time left is first; an id without claims has an empty list."""
        self.ask("POST", "/registrations", WEB)
        self.pass_time(3)
        self.ask("POST", "/registrations", WEB, to=self.network.second)
        self.pass_time(1)
        first = {"node": "first", "address": "first:1730", "ttl": 10.0, "left": 6.0, "speaks": True}
        second = {"node": "second", "address": "second:1730", "ttl": 10.0, "left": 9.0, "speaks": True}
        self.assertEqual(
            self.claims(OTHER_ID, WEB_ID), {"claims": {OTHER_ID: [], WEB_ID: [second, first]}, "missing": []}
        )
        self.ask("PUT", "/registrations/web/1.2.0/10.0.0.5/8080")
        self.assertEqual([each["node"] for each in self.claims(WEB_ID)["claims"][WEB_ID]], ["first", "second"])

    def test_every_peer_is_asked_once(self) -> None:
        """A peer gets one request with all ids, each of them once."""
        self.ask("POST", "/registrations", {**WEB, "host": "host.example"})
        ids = [f"registration/web/1.2.0/{host}/8080" for host in ("HOST.example.", "host.example")]
        claims = self.claims(*ids, OTHER_ID, OTHER_ID)["claims"]
        self.assertEqual(self.asked, [[ids[1], OTHER_ID]])
        self.assertEqual([*claims], [*ids, OTHER_ID])
        self.assertEqual([len(claims[id_]) for id_ in ids], [1, 1])

    def test_a_peer_that_does_not_answer(self) -> None:
        """A peer that does not answer is missing; the claims of the other nodes are listed."""
        self.ask("POST", "/registrations", WEB)
        self.network.connected = False
        answer = self.claims(WEB_ID)
        self.assertEqual(
            ([each["node"] for each in answer["claims"][WEB_ID]], answer["missing"]), (["first"], ["second"])
        )
        self.assertEqual(len(self.asked), 1)

    def test_a_silent_peer(self) -> None:
        """A silent peer is missing, and is not asked."""
        self.network.connected = False
        self.pass_time(4)
        self.assertEqual((self.claims(WEB_ID)["missing"], self.asked), (["second"], []))

    def test_a_peer_that_was_never_found(self) -> None:
        """A peer that has never answered is missing under its address."""
        self.network.first.set_seed_addresses("third:1730", ["third:1730"])
        self.assertEqual(self.claims(WEB_ID)["missing"], ["third:1730"])

    def test_a_peer_that_left(self) -> None:
        """A peer that left is not missing."""
        self.network.second.leave()
        self.assertEqual(self.claims(WEB_ID)["missing"], [])

    def test_a_peer_with_the_same_name(self) -> None:
        """A missing peer with the same name as this node is listed with its address."""
        self.network.connected = False
        (peer,) = self.network.first.replica.peers
        peer.name = "first"
        self.assertEqual(self.claims(WEB_ID)["missing"], ["first (second:1730)"])

    def test_a_client_that_goes(self) -> None:
        """The question to the peer is cancelled when the client closes its connection."""
        cancelled: list[Deferred[None]] = []

        async def hanging(_address: str, _keys: Sequence[str]) -> None:
            await Deferred(cancelled.append)

        carrier_of(self.network.first).ask_claims = hanging
        connection = self.send("POST", "/claims", {"ids": [WEB_ID]})
        self.assertEqual((connection.received(), cancelled), (b"", []))
        connection.lose()
        self.assertEqual(len(cancelled), 1)


class Invalid(ApiCase):
    def test_ids_that_are_none(self) -> None:
        """The message names the field, and an invalid id."""
        for ids in ([1], ["a", None], WEB_ID, {"a": 1}, None, 1):
            self.invalid("ids", self.ask("POST", "/claims", {"ids": ids}))
        self.invalid("ids", self.ask("POST", "/claims", {}))
        self.invalid("body", self.ask("POST", "/claims"))
        for id_ in ("", "backend/x", "registration/a/b", WEB_ID + "0000", "registration/a/../h/80", WEB_ID + "\n"):
            message = self.refused("INVALID", self.ask("POST", "/claims", {"ids": [WEB_ID, id_]}))
            self.assertTrue(message.startswith("ids: "), message)
            self.assertIn("is not the id of a registration: ", message)
        message = self.refused("INVALID", self.ask("POST", "/claims", {"id": [WEB_ID]}))
        self.assertEqual(message, "id: is not a field of a request for claims, did you mean ids?")

    def test_largest(self) -> None:
        """A request with a hundred long ids is answered; one more id gets 413."""
        ids = [f"registration/{'x' * 230}/{'y' * 230}/h/{port}" for port in range(1, KEYS_ASKED_MAX + 2)]
        self.assertEqual([*self.ask("POST", "/claims", {"ids": ids[:-1]}).json["claims"]], ids[:-1])
        self.refused("TOO_LARGE", self.ask("POST", "/claims", {"ids": ids}))

    def test_none(self) -> None:
        """An empty list of ids is valid."""
        self.assertEqual(self.ask("POST", "/claims", {"ids": []}).json, {"claims": {}, "missing": []})
