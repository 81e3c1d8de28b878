"""`twistd bender` as a process: refused starts, starts, and ends."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
import twisted.test
from pytest_twisted import ensureDeferred
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from bender import __version__
from tests.e2e.forking import forks
from tests.e2e.nodes import PATIENCE_S, Cluster, Node, until
from tests.twistd_command import ROOT, environment, twistd
from tests.waiting import holds_within

TWIST = [sys.executable, str(Path(sys.executable).with_name("twist"))]


def ended(
    *arguments: str, runner: list[str] | None = None, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Return the result of a command that ends by itself. It is forked, unless a runner is given."""
    if runner is None:
        with forks().start(
            "twistd",
            ["--nodaemon", "--pidfile=", "bender", *arguments],
            environment(),
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as forked:
            out, err = forked.communicate()
        return subprocess.CompletedProcess(arguments, forked.wait(), out, err)
    return subprocess.run(
        [*runner, "bender", *arguments],
        cwd=folder,
        env=environment(),
        timeout=PATIENCE_S,
        text=True,
        capture_output=True,
        check=False,
    )


def is_sentence(text: str) -> bool:
    """Return True if the text is one line, and a sentence of bender."""
    return text.startswith("bender: ") and text.endswith(".\n") and text.count("\n") == 1


def test_check_config_starts_nothing(tmp_path: Path) -> None:
    """`--check-config` reports a fault of the configuration; it does not listen, and writes no file."""
    with socket.create_server(("127.0.0.1", 0)) as taken:  # as if a node were running
        place = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        (tmp_path / "n.toml").write_text(f'api = "{place}"\n')
        runner = [twistd()[0], twistd()[1]]  # without --nodaemon and --pidfile
        for program in (runner, TWIST):
            checked = ended("--check-config", f"--config={tmp_path / 'n.toml'}", runner=program, folder=tmp_path)
            assert (checked.returncode, checked.stderr) == (0, "")
            assert checked.stdout.startswith(f"The configuration is valid: --api {place}, ")
    (tmp_path / "n.toml").write_text("tll = 10\n")
    checked = ended("--check-config", f"--config={tmp_path / 'n.toml'}", runner=runner, folder=tmp_path)
    assert (checked.returncode, checked.stdout) == (1, "")
    assert "did you mean ttl?" in checked.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["n.toml"]


# Refused starts. tests/daemon/test_options.py and tests/process cover all messages.


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--api=1729"], "--api"),
        (["--ttl=3", "--interval=1"], "--ttl 3"),
        (["--events=tcp:1731"], "--insecure"),
        (["--peers=a:b"], "--peers"),
        (["--config=/nowhere.toml"], "/nowhere.toml"),
        (["--bogus"], "--bogus"),
        (["now"], "'now'"),
        (["--ttl"], "--ttl"),
    ],
)
def test_a_bad_option_ends_the_process_with_one_sentence(arguments: list[str], word: str) -> None:
    end = ended(*arguments)
    assert end.returncode == 1
    assert is_sentence(end.stderr), end.stderr
    assert word in end.stderr
    assert end.stdout == ""


def test_twist_refuses_in_the_same_way() -> None:
    end = ended("--ttl=3", runner=TWIST)
    assert end.returncode == 1
    assert is_sentence(end.stderr), end.stderr


@pytest.mark.parametrize("option", ["api", "exchange", "events"])
@pytest.mark.parametrize("runner", [twistd(), TWIST], ids=["twistd", "twist"])
def test_a_port_in_use_ends_the_process_with_one_sentence(cluster: Cluster, option: str, runner: list[str]) -> None:
    node = cluster.node()
    places = {"api": node.api_port, "exchange": node.exchange_port, "events": node.events_port}
    endpoints = [f"--{each}=tcp:{port}:interface=127.0.0.1" for each, port in places.items()]
    with socket.create_server(("127.0.0.1", places[option])):
        end = ended(*endpoints, runner=runner)
    assert end.returncode == 1
    assert is_sentence(end.stderr), end.stderr
    assert f"--{option} cannot listen on 127.0.0.1:{places[option]} (Address already in use)" in end.stderr
    assert "Traceback" not in end.stdout


def test_a_daemon_that_cannot_listen_leaves_no_pid_file(cluster: Cluster) -> None:
    node = cluster.node()
    pid_file = cluster.folder / "pid"
    with socket.create_server(("127.0.0.1", node.api_port)):
        end = ended(
            f"--api=tcp:{node.api_port}:interface=127.0.0.1",
            runner=[*twistd()[:2], f"--pidfile={pid_file}", f"--logfile={cluster.folder}/log"],
        )
    assert end.returncode == 1
    assert "--api cannot listen" in end.stderr
    # The daemon prints the error and then cleans up; its parent does not wait for it.
    assert holds_within(PATIENCE_S, lambda: not pid_file.exists())


def test_the_help_lists_all_options_and_the_version_is_bender_s() -> None:
    text = ended("--help").stdout
    for option in (
        *("--api", "--exchange", "--events", "--peers", "--cluster", "--name", "--advertise"),
        *("--ttl", "--interval", "--insecure", "--config"),
    ):
        assert option in text
    assert ended("--version").stdout == f"bender {__version__}\n"


# Starting.


@ensureDeferred
async def test_a_file_has_the_options_and_the_command_line_wins(cluster: Cluster) -> None:
    node = cluster.node(ttl=None, name=None, config=str(cluster.folder / "bender.toml"))
    (cluster.folder / "bender.toml").write_text('name = "filed"\nttl = 20\ninterval = 0.5\n')
    node.options["interval"] = 0.25
    node.start()
    await node.ready()
    status = (await node.call("GET", "/status")).body
    assert (status["node"], status["ttl"], status["interval"]) == ("filed", 20, 0.25)


@ensureDeferred
async def test_a_protocol_can_be_switched_off(cluster: Cluster) -> None:
    """The path of a disabled protocol does not exist."""
    on, off = cluster.node(), cluster.node(disable="prometheus")
    for node in (on, off):
        node.start()
        await node.ready()
    assert (await on.call("GET", "/sd/prometheus")).body == []
    assert (await off.call("GET", "/sd/prometheus")).status == 404
    assert (await off.call("GET", "/registrations")).status == 200


@ensureDeferred
async def test_peers_may_be_given_in_several_options(cluster: Cluster) -> None:
    (first,) = await cluster(1, interval=0.25, ttl=2)
    (second,) = await cluster(1, interval=0.25, ttl=2)
    third = cluster.node(interval=0.25, ttl=2)
    third.more += [f"--peers={first.exchange}", f"--peers={second.exchange}"]
    third.start()
    await third.ready()
    peers = (await third.call("GET", "/status")).body["peers"]
    assert {peer["node"] for peer in peers} == {"n1", "n2"}


@ensureDeferred
async def test_clients_may_come_through_a_unix_socket(cluster: Cluster) -> None:
    path = cluster.folder / "api"
    node = cluster.node(api=f"unix:{path}")
    node.start()
    # The file exists a moment before the node listens.
    await until("the node listens", lambda: "--events starting" in node.log)
    client = http.client.HTTPConnection("unix", timeout=PATIENCE_S)
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(str(path))
    client.request("GET", "/registrations")
    assert client.getresponse().status in (200, 503)
    client.close()


@ensureDeferred
async def test_clients_may_speak_https(cluster: Cluster) -> None:
    certificate = Path(twisted.test.__file__).with_name("server.pem")
    node = cluster.node()
    node.options["api"] = f"ssl:{node.api_port}:interface=127.0.0.1:privateKey={certificate}"
    node.start()
    await until("the node listens", lambda: "--events starting" in node.log)
    context = ssl._create_unverified_context()
    context.set_alpn_protocols(["h2", "http/1.1"])  # as curl and browsers do
    client = http.client.HTTPSConnection("127.0.0.1", node.api_port, timeout=PATIENCE_S, context=context)
    client.request("GET", "/")
    assert json.loads(client.getresponse().read())["version"] == __version__
    client.close()


@ensureDeferred
async def test_a_node_logs_nothing_of_single_requests(cluster: Cluster) -> None:
    (node,) = await cluster(1)
    await node.call("POST", "/registrations/web/1.0.0/127.0.0.1/80")
    before = node.log
    for _ in range(20):
        assert (await node.call("PUT", "/registrations/web/1.0.0/127.0.0.1/80")).status == 200
    assert node.log == before
    assert node.stderr == ""


def test_timers_run_on_a_clock_that_does_not_jump() -> None:
    script = """if True:
        import resource
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard - 1, hard))
        from bender.daemon import tap
        options = tap.Options()
        # At ports of the system's choice: others may be taken, and this starts nothing.
        options.parseOptions([f"--{each}=tcp:0:interface=127.0.0.1" for each in ("api", "exchange", "events")])
        tap.makeService(options)
        from twisted.internet import reactor
        from twisted.python import runtime
        print(reactor.seconds is runtime.seconds)  # which is the wall clock
        print(len(set(resource.getrlimit(resource.RLIMIT_NOFILE))))
    """
    end = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        timeout=PATIENCE_S,
        text=True,
        capture_output=True,
        check=True,
    )
    follows_the_wall_clock, limits = end.stdout.split()
    assert follows_the_wall_clock == "False"
    assert limits == "1"  # the soft limit on open files equals the hard limit


# Clients.


class Piped(Protocol):
    """Sends bytes, closes its half of the connection, and reads to the end, as `printf … | nc` does."""

    transport: ITCPTransport

    def __init__(self, sent: bytes) -> None:
        self._sent = sent
        self._received = b""
        self.done: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(self._sent)
        self.transport.loseWriteConnection()

    def dataReceived(self, data: bytes) -> None:
        self._received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.done.callback(self._received)


@ensureDeferred
async def test_a_client_that_has_said_all_is_answered(cluster: Cluster) -> None:
    (node,) = await cluster(1)
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", node.api_port)
    sent = b"POST /registrations/web/1/10.0.0.1/80 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
    client = await connectProtocol(endpoint, Piped(sent))
    assert (await client.done.addTimeout(PATIENCE_S, reactor)).startswith(b"HTTP/1.1 200 ")


# Ending.


@ensureDeferred
async def test_a_node_told_to_stop_tells_its_peers(cluster: Cluster) -> None:
    """A node that gets SIGTERM informs its peers at once, which otherwise need three intervals of silence."""
    first, second = nodes = [cluster.node(interval=2, ttl=8) for _ in range(2)]
    first.command = [*twistd(), "bender"]
    await cluster.start(nodes)
    assert await first.stop() == -signal.SIGTERM
    (peer,) = (await second.call("GET", "/status")).body["peers"]
    assert (peer["node"], peer["state"]) == ("n1", "left")


@ensureDeferred
async def test_ctrl_c_is_taken_the_same_way(cluster: Cluster) -> None:
    first, second = await cluster(2, interval=2, ttl=8)
    first.kill(signal.SIGINT)
    assert await first.ended() == -signal.SIGINT
    (peer,) = (await second.call("GET", "/status")).body["peers"]
    assert peer["state"] == "left"


@ensureDeferred
async def test_a_closed_terminal_is_taken_the_same_way(cluster: Cluster) -> None:
    """If its terminal is closed, a node leaves, because it gets SIGHUP."""
    (second,) = await cluster(1, interval=2, ttl=8)
    first = cluster.node(peers=second.exchange, interval=2, ttl=8)
    first.command = [sys.executable, str(ROOT / "tests/e2e/in_terminal.py"), *twistd(), "bender"]
    first.start()
    await first.ready()
    first.kill(signal.SIGUSR1)  # the program closes the terminal on this signal
    assert await first.ended() == 128 + signal.SIGHUP
    (peer,) = (await second.call("GET", "/status")).body["peers"]
    assert peer["state"] == "left"


@ensureDeferred
async def test_sighup_reopens_the_log_and_rereads_the_configuration(cluster: Cluster, tmp_path: Path) -> None:
    """Options that cannot change are named, and an invalid file changes nothing; the node continues to run."""
    (second,) = await cluster(1)
    config, log = tmp_path / "n.toml", tmp_path / "node.log"
    config.write_text("")
    first = cluster.node(config="n.toml", peers=None)
    first.command = [*twistd(), f"--logfile={log}", "bender"]
    first.start()
    await first.ready()

    log.rename(tmp_path / "node.log.1")
    config.write_text(f'peers = "{second.exchange}"\nttl = 20\n')
    first.kill(signal.SIGHUP)
    await until("the new log is there", lambda: log.exists() and "--ttl 20 instead of 10" in log.read_text())
    assert f"--peers: {second.exchange} added" in log.read_text()
    assert "SIGHUP" not in (tmp_path / "node.log.1").read_text()

    async def has_peers() -> bool:
        return bool((await first.call("GET", "/status")).body["peers"])

    await until("it has peers", has_peers)
    assert (await first.call("GET", "/status")).body["ttl"] == 10

    config.write_text("ttl = \n")
    first.kill(signal.SIGHUP)
    await until("it is said", lambda: "Configuration not changed after SIGHUP" in log.read_text())
    assert "n.toml is not TOML" in log.read_text()
    assert (await first.call("GET", "/ready")).status == 200


@ensureDeferred
async def test_being_told_to_stop_twice_at_once_changes_nothing(cluster: Cluster) -> None:
    """Two signals at once are normal: from a terminal to the whole group, and from a supervisor to the process."""
    (node,) = await cluster(1)
    node.kill(signal.SIGINT)
    node.kill(signal.SIGTERM)
    assert await node.ended() in (-signal.SIGINT, -signal.SIGTERM)  # the system decides which signal comes first
    assert "Traceback" not in node.log, node.log


@ensureDeferred
async def test_being_told_to_stop_again_changes_nothing(cluster: Cluster) -> None:
    first, second = await cluster(2, interval=1, ttl=4)
    second.kill(signal.SIGSTOP)  # so that the first has to wait for its answer
    first.kill(signal.SIGTERM)
    await until("the node leaves", lambda: "is leaving" in first.log)
    first.kill(signal.SIGTERM)
    first.kill(signal.SIGINT)
    second.kill(signal.SIGCONT)
    assert await first.ended() == -signal.SIGTERM
    await until_left(second)


async def until_left(node: Node) -> None:
    for _ in range(100):
        (peer,) = (await node.call("GET", "/status")).body["peers"]
        if peer["state"] == "left":
            return
    raise AssertionError(f"never heard that its peer left: {peer}")


@ensureDeferred
async def test_leaving_takes_a_few_seconds_whatever_peers_and_clients_do(cluster: Cluster) -> None:
    first, second = await cluster(2, interval=1, ttl=4)
    second.kill(signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", first.api_port)) as client:
        client.sendall(b"POST /registrations HTTP/1.1\r\nHost: n1\r\nContent-Length: 9\r\n\r\nhalf")
        assert (await first.call("GET", "/ready")).status == 200  # so the half request has also been read
        first.kill(signal.SIGTERM)
        assert await first.ended(within_s=30) == -signal.SIGTERM


@ensureDeferred
async def test_what_was_read_is_answered_and_nobody_else_gets_in(cluster: Cluster) -> None:
    """A long poll gets its answer, an idle connection is closed, and new connections are refused."""
    (node,) = await cluster(1)
    cursor = (await node.call("GET", "/events")).body["cursor"]
    poll = Deferred.fromCoroutine(node.call("GET", f"/events?since={cursor}&wait=30"))
    with socket.create_connection(("127.0.0.1", node.api_port), timeout=PATIENCE_S) as idle:
        assert (await node.call("GET", "/ready")).status == 200  # so the poll has also been read
        node.kill(signal.SIGTERM)
        answer = await poll
        assert (answer.status, answer.body["events"]) == (200, [])
        assert await node.ended() == -signal.SIGTERM
        assert idle.recv(1) == b""
    with pytest.raises(ConnectError):
        await node.call("GET", "/ready")


@ensureDeferred
async def test_requests_on_open_connections_are_answered_or_not_read(cluster: Cluster) -> None:
    """Clients with open connections get a whole answer or a closed connection, and never a part of an answer."""
    (node,) = await cluster(1)
    whole = 0
    client = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=PATIENCE_S)
    for i in range(2000):
        if i == 100:
            node.kill(signal.SIGTERM)
        try:
            client.request("POST", f"/registrations/web/1.0.0/127.0.0.1/{i + 1}")
            response = client.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            break
        assert response.status == 200
        assert json.loads(response.read())["port"] == i + 1
        whole += 1
    client.close()
    assert 100 <= whole < 2000
    assert await node.ended() == -signal.SIGTERM


@ensureDeferred
async def test_an_answer_that_a_client_is_reading_is_not_cut(cluster: Cluster) -> None:
    """A slow reader gets its whole answer, also if it is far larger than the system's buffers."""
    (node,) = await cluster(1)
    client = http.client.HTTPConnection("127.0.0.1", node.api_port, timeout=PATIENCE_S)
    for i in range(400):
        client.request("POST", f"/registrations/web/1.0.0/127.0.0.1/{i + 1}", json.dumps({"meta": {"x": "y" * 3500}}))
        client.getresponse().read()
    client.close()
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.settimeout(PATIENCE_S)
        slow.connect(("127.0.0.1", node.api_port))
        slow.sendall(b"GET /registrations HTTP/1.1\r\nHost: n1\r\n\r\n")
        received = slow.recv(1)
        node.kill(signal.SIGTERM)
        await until("the node leaves", lambda: "is leaving" in node.log)
        while more := slow.recv(65536):
            received += more
    assert len(json.loads(received.partition(b"\r\n\r\n")[2])) == 400
    assert await node.ended() == -signal.SIGTERM
