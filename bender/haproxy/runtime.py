"""HAProxy's Runtime API, with a connection for each conversation.

A connection is not kept open, because it would stay with a process that has been replaced. Commands are sent in
portions that fit into HAProxy's buffer, and every wait for answers has a time limit. Failures raise `NoAnswer`, with a
clause about HAProxy. A text that is not exactly one command is never sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, Self

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from bender.haproxy.core.safe_text import is_command
from bender.net.endpoints import wait_for_answer

#: Time limit for the connection, and for the answers to one portion of commands. HAProxy takes milliseconds.
ANSWER_S_MAX = 3.0

#: The largest portion of commands in bytes. HAProxy's buffer has 16 KiB.
PORTION_BYTES_MAX = 8 * 1024

#: The largest answer in bytes. `show stat` returns about 500 bytes for each server.
ANSWER_BYTES_MAX = 256 * 1024 * 1024

#: The end of each answer: HAProxy's prompt for the next command.
PROMPT = b"\n> "

#: Returned instead of an answer for a text that is not one command.
NOT_SENT = "Not sent: this is not exactly one command."


class Runtime:
    """The Runtime API at an endpoint."""

    def __init__(self, reactor: IReactorTime, endpoint: IStreamClientEndpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint

    def conversation(self) -> Conversation:
        """Return a conversation with the process that listens at the socket now. Use it in an `async with` block."""
        return Conversation(self._reactor, self._endpoint)

    async def ask(self, command: str) -> str:
        """Return the answer to one command on a connection of its own, as HAProxy's master process requires it."""
        if not is_command(command):
            return NOT_SENT
        factory = Factory.forProtocol(_SingleAnswer)
        factory.noisy = False
        connection: Any = await wait_for_answer(self._reactor, self._endpoint.connect(factory), ANSWER_S_MAX)
        connection.transport.write(f"{command}\n".encode())
        connection.transport.loseWriteConnection()
        try:
            answer: bytes = await wait_for_answer(self._reactor, connection.answer, ANSWER_S_MAX)
        finally:
            connection.transport.abortConnection()
        return answer.decode("utf-8", "replace")


class Conversation:
    """Sends commands and receives answers on one connection."""

    def __init__(self, reactor: IReactorTime, endpoint: IStreamClientEndpoint) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._channel: Any = None

    async def __aenter__(self) -> Self:
        factory = Factory.forProtocol(_CommandChannel)
        factory.noisy = False
        self._channel = await wait_for_answer(self._reactor, self._endpoint.connect(factory), ANSWER_S_MAX)
        self._channel.send(["prompt"]).addErrback(lambda _: None)  # the next command fails in the same way
        return self

    async def __aexit__(self, *_: object) -> None:
        self._channel.transport.loseConnection()

    async def ask(self, commands: Sequence[str]) -> list[str]:
        """Return the answer to each command, in their order; `NOT_SENT` for a text that is not one command."""
        sent = [command for command in commands if is_command(command)]
        answers: list[str] = []
        for portion in portions(sent):
            answered = self._channel.send(portion)
            answers += await wait_for_answer(self._reactor, answered, ANSWER_S_MAX)
        if len(sent) == len(commands):
            return answers
        in_turn = iter(answers)
        return [next(in_turn) if is_command(command) else NOT_SENT for command in commands]


def portions(commands: Sequence[str]) -> Iterator[list[str]]:
    """Yield the commands in portions that may be sent at once."""
    portion: list[str] = []
    size = 0
    for command in commands:
        size += len(command) + 1
        if portion and size > PORTION_BYTES_MAX:
            yield portion
            portion, size = [], len(command) + 1
        portion.append(command)
    if portion:
        yield portion


class _CommandChannel(Protocol):
    """Splits HAProxy's output into answers, each of which ends with the prompt."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._answers: list[str] = []
        self._awaited: deque[tuple[int, Deferred[list[str]]]] = deque()
        self._lost = False

    def send(self, commands: Sequence[str]) -> Deferred[list[str]]:
        answered: Deferred[list[str]] = Deferred()
        if self._lost:
            answered.errback(ConnectionDone())
            return answered
        self._awaited.append((len(commands), answered))
        self.transport.write("".join(f"{command}\n" for command in commands).encode())  # type: ignore[union-attr]
        return answered

    def dataReceived(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > ANSWER_BYTES_MAX:
            self.transport.abortConnection()  # type: ignore[union-attr]
            return
        while (end := self._buffer.find(PROMPT, self._searched)) >= 0:
            self._answers.append(self._buffer[:end].decode("utf-8", "replace"))
            del self._buffer[: end + len(PROMPT)]
            self._searched = 0
            self._hand_out()
        self._searched = max(0, len(self._buffer) - len(PROMPT))

    def _hand_out(self) -> None:
        while self._awaited and len(self._answers) >= self._awaited[0][0]:
            count, answered = self._awaited.popleft()
            answers, self._answers = self._answers[:count], self._answers[count:]
            if not answered.called:
                answered.callback(answers)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._lost = True
        while self._awaited:
            _, answered = self._awaited.popleft()
            if not answered.called:  # else its time limit is over
                answered.errback(reason)


class _SingleAnswer(Protocol):
    """Collects all output until the connection ends."""

    def __init__(self) -> None:
        self.answer: Deferred[bytes] = Deferred()
        self._received = b""

    def dataReceived(self, data: bytes) -> None:
        self._received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            if reason.check(ConnectionDone):
                self.answer.callback(self._received)
            else:
                self.answer.errback(reason)
