"""The addresses at which a frontend is served when HAProxy cannot listen at some of its addresses."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from bender.haproxy.core.binds import problem_beside_listeners
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.topology import Door, Topology
from tests.haproxy.core.test_topology import places, shaped
from tests.haproxy.events import frontend

TAKEN = "another program listens there"
FOREIGN = "this machine has no such address"


class Asking(SynchronousTestCase):
    """A machine that has 127.0.0.1, 127.0.0.2 and `*`, on which another program listens at `taken`."""

    def setUp(self) -> None:
        self.requested_binds: list[str] = []
        self.used_binds = {"*:81"}

    def bind_problem(self, bind: str) -> str | None:
        self.requested_binds.append(bind)
        if bind.rpartition(":")[0] not in ("*", "127.0.0.1", "127.0.0.2", "[::]", "[::1]"):
            return FOREIGN
        return TAKEN if bind in self.used_binds else None

    def served(self, bind: str, before: str | None = "", **more: Any) -> tuple[dict[str, tuple[str, ...]], str | None]:
        """Return the addresses of a frontend `www` and its problem, if HAProxy served it at `before` until now."""
        shape_before = shaped(frontend("www", bind=before))[0] if before else None if before is None else Topology()
        found, problems = shaped(
            frontend("www", bind=bind, **more.pop("fields", {})),
            before=shape_before,
            bind_problem=self.bind_problem,
            **more,
        )
        return places(found), problems.get("frontend/www")


class Addresses(Asking):
    """If HAProxy cannot listen at an address, the frontend is served at its other addresses."""

    def test_one_that_another_program_has(self) -> None:
        """If another program uses one address, the frontend is served at the others, and the problem names both."""
        found, problem = self.served("127.0.0.1:80,*:81")
        self.assertEqual(found, {"www": ("127.0.0.1:80",)})
        self.assertEqual(problem, f"frontend/www is served at 127.0.0.1:80 only: cannot listen at *:81: {TAKEN}")

    def test_none_that_is_left(self) -> None:
        """A frontend without any usable address is left out, and the problem has the reason for each address."""
        found, problem = self.served("*:81,10.0.0.1:80")
        self.assertEqual(found, {})
        self.assertEqual(
            problem, f"bind: cannot listen at *:81: {TAKEN}; bind: cannot listen at 10.0.0.1:80: {FOREIGN}"
        )

    def test_what_haproxy_has_already(self) -> None:
        """An address at which HAProxy listens already is not checked, because HAProxy itself would be the conflict."""
        self.assertEqual(self.served("*:81,*:82", before="*:81"), ({"www": ("*:81", "*:82")}, None))
        self.assertEqual(self.requested_binds, ["*:82"])

    def test_a_foreign_address_with_a_port_of_haproxy_s(self) -> None:
        """An address that this machine does not have is found, even if HAProxy may already use its port."""
        for before in ("127.0.0.1:80", "*:80", "0.0.0.0:80", "[::]:80", None):
            found, problem = self.served("127.0.0.1:80,10.0.0.1:80", before=before)
            self.assertEqual(found, {"www": ("127.0.0.1:80",)}, before)
            self.assertIn(f"cannot listen at 10.0.0.1:80: {FOREIGN}", str(problem))
        self.assertIsNone(self.served("127.0.0.2:80,10.0.0.1:80", before="127.0.0.2:80,10.0.0.1:80")[1])

    def test_what_haproxy_s_own_addresses_hide(self) -> None:
        """The port is not checked (port 0 is used instead) only if HAProxy itself may be listening there."""
        self.used_binds |= {"127.0.0.2:80", "127.0.0.2:81"}
        self.assertEqual(self.served("127.0.0.2:80", before="*:80")[1], None)
        self.assertEqual(self.served("127.0.0.2:81", before="*:80")[0], {})
        self.assertEqual(self.served("127.0.0.2:80", before="127.0.0.1:80")[0], {})
        self.requested_binds.clear()
        held = ("127.0.0.1:80", "[::]:81")
        for bind in ("[::ffff:127.0.0.1]:80", "*:80", "127.0.0.1:81", "127.0.0.2:80"):
            problem_beside_listeners(held, self.bind_problem)(bind)
        self.assertEqual(self.requested_binds, ["[::ffff:127.0.0.1]:0", "*:0", "127.0.0.1:0", "127.0.0.2:80"])

    def test_what_the_file_has(self) -> None:
        """If HAProxy's addresses are unknown, the addresses in its configuration file are not checked."""
        found, problem = self.served("10.0.0.1:80", before=None, is_in_file=lambda bind: bind == "10.0.0.1:80")
        self.assertEqual((found, problem, self.requested_binds), ({"www": ("10.0.0.1:80",)}, None, []))

    def test_that_of_the_statistics(self) -> None:
        """A frontend loses only the address that --stats uses."""
        found, problem = self.served("*:80,127.0.0.1:9", machine=Machine(stats="127.0.0.1:9"))
        self.assertEqual(found, {"www": ("*:80",)})
        self.assertEqual(problem, "frontend/www is served at *:80 only: 127.0.0.1:9 is used by --stats")

    def test_many(self) -> None:
        """A problem names at most five of the remaining addresses."""
        _, problem = self.served(",".join(["*:81", *(f"*:{port}" for port in range(90, 100))]))
        self.assertIn("is served at *:90, *:91, *:92, *:93, *:94, 5 more only: cannot", str(problem))


class Encrypted(Asking):
    """An address with declared TLS is never served without TLS, and the other addresses of the frontend are served."""

    def door(self, bind: str, **fields: Any) -> tuple[Door, str]:
        found, problems = shaped(
            frontend("www", bind=bind, **fields), before=Topology(), bind_problem=self.bind_problem
        )
        (door,) = found.doors
        return door, problems["frontend/www"]

    def test_without_a_certificate(self) -> None:
        """The plain addresses are served; the missing TLS address stays in `door.tls`."""
        door, problem = self.door("*:80,*:443", tls="*:443")
        self.assertEqual((door.binds, door.tls), (("*:80",), ("*:443",)))
        why = "there is no certificate for *:443: name its file or folder with --certificates"
        self.assertEqual(problem, f"frontend/www is served at *:80 only: {why}")

    def test_a_redirect_that_would_lead_nowhere(self) -> None:
        """A redirect is left out if the TLS address of the frontend is not served, and the problem mentions this."""
        door, problem = self.door("*:80,*:443", tls="*:443", redirect_https=True)
        self.assertEqual((door.binds, door.redirect_port), (("*:80",), None))
        self.assertIn("is served at *:80 only, without its redirect to HTTPS: there is no certificate", problem)
        found, problems = shaped(
            frontend("www", bind="*:80,*:81", tls="*:81", redirect_https=True),
            before=Topology(), bind_problem=self.bind_problem, machine=Machine(certificates="/c"),
        )  # fmt: skip
        self.assertEqual(([each.redirect_port for each in found.doors], places(found)), ([None], {"www": ("*:80",)}))
        self.assertIn("without its redirect", problems["frontend/www"])

    def test_a_redirect_that_leads_elsewhere(self) -> None:
        """A redirect stays if it leads to a port that is not this frontend's TLS port, or that is still served."""
        door, problem = self.door("*:80,*:8443", tls="*:8443", redirect_https=443)
        self.assertEqual(door.redirect_port, 443)
        self.assertNotIn("redirect", problem)
        found, _ = shaped(
            frontend("www", bind="*:80,*:443,10.0.0.1:443", tls="*:443,10.0.0.1:443", redirect_https=True),
            before=Topology(), bind_problem=self.bind_problem, machine=Machine(certificates="/c"),
        )  # fmt: skip
        self.assertEqual([(each.redirect_port, each.binds) for each in found.doors], [(443, ("*:80", "*:443"))])
