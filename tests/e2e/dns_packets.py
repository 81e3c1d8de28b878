"""`python -m tests.e2e.dns_packets --packets 1000000`: sends damaged DNS messages to a node, over UDP.

The node is a real process. Each answer must be valid, and not longer than the packet; queries between the packets must
get the right answer. At the end the node is ready, has counted every packet, and has logged no exception.
"""

from __future__ import annotations

import random
import re
import socket
import sys
import time
from argparse import ArgumentParser
from collections import Counter, deque
from collections.abc import Iterator

import dns.exception
import dns.message
import dns.rcode

from bench.nodes import LOOPBACK, Connection, Node, cluster, free_ports, post

NAMES = ("web.app.bender.", "_web._tcp.app.bender.", "0a000005.addr.bender.", "bender.", "example.")
KINDS = ("A", "AAAA", "SRV", "SOA", "ANY", "AXFR")

#: Packets that are sent before their answers are read.
AT_ONCE = 50

#: The number of rounds whose answers may still arrive; the node drops messages that have waited for a second.
REMEMBERED = 20

#: The number of packets between two queries, and the time limit for their answers.
ASKED_APART = 5000
ANSWER_S_MAX = 10.0

#: The longest answer to an undamaged query: the node has one instance.
WHOLE_BYTES_MAX = 512


def damaged(drawn: random.Random) -> Iterator[bytes]:
    """Yield messages, most of which are damaged."""
    whole = [
        dns.message.make_query(name, kind, use_edns=edns, payload=4096).to_wire()
        for name in NAMES
        for kind in KINDS
        for edns in (-1, 0)
    ]
    while True:
        message = bytearray(drawn.choice(whole))
        for _ in range(drawn.randint(1, 4)):
            at = drawn.randrange(len(message) or 1)
            match drawn.randrange(5):
                case 0 | 1 if message:
                    message[at] = drawn.choice((0, 1, 63, 64, 0xC0, 0xFF, drawn.randrange(256)))
                case 2:
                    del message[at:]
                case 3:
                    message[at:at] = drawn.randbytes(drawn.randint(1, 30))
                case _ if message:
                    del message[at]
        yield bytes(message)


class Attack:
    """Sends packets to a node and judges the answers."""

    def __init__(self, node: Node, port: int, seed: int) -> None:
        self.sent = 0
        self.outcomes: Counter[str] = Counter()
        self._node = node
        self._port = port
        self._packets = damaged(random.Random(seed))
        # The lengths of the last sent packets by their ids, one dict for each round.
        self._lengths: deque[dict[bytes, int]] = deque(maxlen=REMEMBERED)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect((LOOPBACK, port))
        self._socket.settimeout(ANSWER_S_MAX)

    def run(self, packets: int) -> None:
        while self.sent < packets:
            self._send(min(AT_ONCE, packets - self.sent))
            if self.sent % ASKED_APART < AT_ONCE:
                self._ask()

    def _send(self, count: int) -> None:
        """Send packets and then a query, and read answers until the query's."""
        now: dict[bytes, int] = {}
        for _ in range(count):
            packet = next(self._packets)
            self._socket.send(packet)
            now[packet[:2]] = max(len(packet), now.get(packet[:2], 0))
        # The answer to the query may come before others, for which the node needs more time.
        self._lengths.append(now)
        lengths: dict[bytes, int] = {}
        for each in self._lengths:
            lengths |= {id_: max(length, lengths.get(id_, 0)) for id_, length in each.items()}
        self.sent += count
        last = dns.message.make_query("web.app.bender.", "A")
        while last.id.to_bytes(2, "big") in lengths:
            last.id = dns.message.make_query(".", "A").id
        self._socket.send(last.to_wire())
        while (answer := self._socket.recv(65_535))[:2] != last.id.to_bytes(2, "big"):
            self._judge(answer, lengths)

    def _judge(self, answer: bytes, lengths: dict[bytes, int]) -> None:
        if answer[:2] not in lengths:
            raise SystemExit(f"An answer to no packet: {answer!r}")
        try:
            read = dns.message.from_wire(answer)
        except (dns.exception.DNSException, ValueError) as error:
            raise SystemExit(f"Not an answer ({error!r}): {answer!r}") from None
        longest = WHOLE_BYTES_MAX if read.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN) else lengths[answer[:2]]
        if len(answer) > longest:
            raise SystemExit(f"An answer of {len(answer)} bytes to a packet of {lengths[answer[:2]]}: {answer!r}")
        self.outcomes[dns.rcode.to_text(read.rcode())] += 1

    def _ask(self) -> None:
        query = dns.message.make_query("web.app.bender.", "A")
        answer = dns.message.from_wire(_exchange(self._port, query.to_wire()))
        if [record.to_text() for rrset in answer.answer for record in rrset] != ["10.0.0.5"]:
            raise SystemExit(f"A query is not answered well any more: {answer}")

    def close(self) -> None:
        self._socket.close()


def _exchange(port: int, message: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_S_MAX)
        client.connect((LOOPBACK, port))
        client.send(message)
        return client.recv(65_535)


def main(arguments: list[str]) -> None:
    parser = ArgumentParser(prog="python -m tests.e2e.dns_packets", description="Damaged DNS messages to a node.")
    parser.add_argument("--packets", type=int, default=1_000_000, metavar="N", help="packets to send (1000000)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of all that is drawn at random (1)")
    options = parser.parse_args(arguments)
    (port,) = free_ports(1)
    began = time.monotonic()
    with cluster(1, options=[f"--dns={port}"]) as (node,):
        with Connection(node.api) as connection:
            connection.ask_all([post("/registrations/web/1/10.0.0.5/8080", {"ttl": 3600})])
        attack = Attack(node, port, options.seed)
        try:
            attack.run(options.packets)
        finally:
            attack.close()
        status = node.status()
        log = node.log.read_text()
    counts = status["since_start"]
    if not status["ready"] or re.search(r"Traceback|Unhandled|#error|#critical", log):
        raise SystemExit(f"The node has failed:\n{log}")
    if counts["dns_queries"] < attack.sent:
        raise SystemExit(f"The node has received {counts['dns_queries']} of {attack.sent} packets.")
    outcomes = ", ".join(f"{count:,} {rcode}" for rcode, count in attack.outcomes.most_common())
    silent = attack.sent - attack.outcomes.total()
    print(
        f"{attack.sent:,} damaged packets in {time.monotonic() - began:.0f} s without an exception: {outcomes}, and "
        f"{silent:,} without an answer, of which the node counted {counts['dns_dropped']:,}."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
