"""`twistd bender-haproxy`: the options, and the one place where a driver is put together.

Every mistake of the operator's ends the process here with one sentence.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from importlib import resources
from pathlib import Path
from typing import IO, Any

from attrs import evolve
from twisted.application import strports
from twisted.application.service import IService, MultiService
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.web.server import Site

from bender.client import Client
from bender.haproxy import core
from bender.haproxy.acknowledger import Acknowledger
from bender.haproxy.bind_check import why_not
from bender.haproxy.certificates import CertificateStore, certificates_beside, find
from bender.haproxy.config_file import ConfigRefused, Files, check, check_now, held, states_beside
from bender.haproxy.config_reload import DriverReloader
from bender.haproxy.core.actual_state import version_in
from bender.haproxy.core.custom import Custom, located
from bender.haproxy.core.desired_state import DesiredState
from bender.haproxy.core.listening import ListeningPlace, listened_in
from bender.haproxy.core.rendering import DYNAMIC_SINCE, Renderer, Unrenderable
from bender.haproxy.core.topology import Topology
from bender.haproxy.driver import Driver
from bender.haproxy.local_addresses import LocalAddresses
from bender.haproxy.machine_files import MachineFiles, custom_in
from bender.haproxy.name_resolution import AddressResolver
from bender.haproxy.options import FILES_READ, OPTIONS, DriverOptions, choose, from_file
from bender.haproxy.reloader import HaproxyReloader
from bender.haproxy.runtime import ANSWER_S_MAX, Runtime
from bender.haproxy.state_reader import StateReader, StateSource
from bender.haproxy.status import site
from bender.haproxy.supervisor import MASTER, HaproxyControl, HaproxySupervisor, ReloadCommand
from bender.process.base_options import BaseOptions
from bender.process.lifecycle import refuse, refuse_taken, refusing
from bender.process.log_limit import limit_log
from bender.process.options import OptionError, from_toml
from bender.process.signals import handle_signals
from bender.process.steady_clock import make_steady

#: For `haproxy -v`, which takes some hundredths of a second.
VERSION_S_MAX = 10.0


class DriverCommandLine(BaseOptions):
    """The options of a driver."""

    program = "bender-haproxy"
    files_read = FILES_READ
    longdesc = "Configures one HAProxy from bender: its configuration file, and its servers without a reload."
    optParameters = [
        [option, None, None, f"{takes} {doc}"]
        for option, (takes, doc) in OPTIONS.items()
        if takes is not None and option != "bender"
    ]
    optFlags = [[option, None, doc] for option, (takes, doc) in OPTIONS.items() if takes is None]

    chosen: DriverOptions

    def opt_bender(self, url: str) -> None:
        self.setdefault("bender", []).append(url)

    opt_bender.__doc__ = f"{OPTIONS['bender'][0]} {OPTIONS['bender'][1]}"

    def checked(self) -> str:
        return _check(self.chosen)

    def choose(self) -> DriverOptions:
        """Return what the command line and the files amount to at present. Raises `OptionError`."""
        filed = {} if self["config"] is None else from_toml(self["config"], OPTIONS, self.program)
        texts, nodes, flags = from_file(filed)
        given = {option: self[option] for option in OPTIONS if isinstance(self.get(option), str)}
        said = frozenset(option for option, (takes, _) in OPTIONS.items() if takes is None and self[option])
        return choose(
            texts | given,
            self.get("bender", nodes),
            flags | said,
            host_name=socket.gethostname(),
            environment=os.environ,
        )


#: The name that Twisted looks for.
Options = DriverCommandLine


def makeService(options: DriverCommandLine) -> IService:
    """The service that `twistd` and `twist` run."""
    from twisted.internet import reactor  # noqa: PLC0415 - at the top, it would take --reactor out of twistd's hands

    make_steady(reactor)
    if options.chosen.status is not None:
        refuse_taken("status", options.chosen.status)
    version = _version(options.chosen.haproxy)
    try:
        lock = held(options.chosen.output)
    except ConfigRefused as error:
        refuse(f"{error}.")
    try:
        service = put_together(options.chosen, version, reactor)
    except OptionError as error:
        refuse(str(error))
    service.lock = lock
    reactor.callWhenRunning(handle_signals, reactor, lambda: service.reloader.apply(options.choose()))
    reactor.callWhenRunning(limit_log, reactor)
    return service


def put_together(choices: DriverOptions, version: tuple[int, ...], reactor: Any) -> DriverService:
    """A driver with its status, which does nothing before it is started."""
    client = _client(choices, reactor)
    addresses = AddressResolver(reactor)
    # One that others run may be another user's, with whom addresses cannot be shared.
    shares = choices.runs and "noreuseport" not in (choices.template or "")
    wanted = DesiredState(
        addresses.address_of,
        why_not,
        shares=shares,
        with_slots=version < DYNAMIC_SINCE,
        is_local=LocalAddresses(reactor).has,
        beside=_beside(choices),
    )
    runtime = Runtime(reactor, UNIXClientEndpoint(reactor, str(choices.socket), ANSWER_S_MAX))
    reloading = _reloading(choices, reactor)
    loader = HaproxyReloader(
        reactor,
        runtime=runtime,
        renderer=_renderer(choices, version),
        files=Files(choices.output, partial(check, reactor, choices.haproxy)),
        reloading=reloading,
        servers_in=lambda shape: wanted.servers_in(shape, reactor.seconds()),
        wall_ms=lambda: time.time_ns() // 1_000_000,
    )
    watch = client.watch(name=choices.name)
    driver = Driver(
        reactor,
        watch=watch,
        consumer=Acknowledger(client, choices.name, watch.instance),
        wanted=wanted,
        addresses=addresses,
        runtime=runtime,
        loader=loader,
        reporting=choices.report,
    )
    if isinstance(reloading, HaproxySupervisor):
        reloading.before_start, reloading.on_start = loader.rewrite, driver.poke
    files = _machine_files(choices, driver, reactor)
    use_machine = partial(_use_machine, files)
    use_machine(choices)
    together = DriverService(
        [driver, StateReader(reactor, StateSource(client), driver), files], site(driver, reactor), choices, reactor
    )
    together.reloader = DriverReloader(choices, partial(_renderer, version=version), driver, use_machine)
    return together


def _machine_files(choices: DriverOptions, driver: Driver, reactor: Any) -> MachineFiles:
    def in_use() -> str:
        written = driver.loader.files.written
        return "" if written is None else written.text

    return MachineFiles(reactor, CertificateStore(certificates_beside(choices.output)), driver.use_machine, in_use)


def _use_machine(files: MachineFiles, choices: DriverOptions) -> None:
    """Have a driver take what these options say of the machine. Raises `OptionError`."""
    stats = choices.machine.stats
    if stats is not None and stats not in files.in_use() and (why := why_not(stats, shared=False)) is not None:
        raise OptionError(f"--stats {stats} cannot be used, because {why}: choose another port or address.")
    exporter = stats is not None and _has_exporter(choices.haproxy)
    files.use(evolve(choices.machine, exporter=exporter), choices.certificates, choices.include)


class DriverService(MultiService):
    """A driver, and where it is told how things are. `lock` keeps others from its files for as long as it is there.

    `reloader` changes the options of the driver.
    """

    lock: IO[str]
    reloader: DriverReloader

    def __init__(self, services: Sequence[IService], page: Site, choices: DriverOptions, reactor: Any) -> None:
        super().__init__()
        for service in services:
            service.setServiceParent(self)
        if choices.status is not None:
            told = strports.service(choices.status.listened, page, reactor=reactor)
            told.setServiceParent(self)

    def privilegedStartService(self) -> None:
        with refusing("status"):
            super().privilegedStartService()


def _beside(choices: DriverOptions) -> frozenset[ListeningPlace]:
    """Where this driver listens, which is for operators alone."""
    if choices.status is None or choices.status.kind == "unix":
        return frozenset()
    bind = f"{choices.status.interface or '*'}:{choices.status.port}"
    return frozenset(evolve(each, owner="the driver serves its --status") for each in listened_in(f"bind {bind}"))


def _reloading(choices: DriverOptions, reactor: Any) -> HaproxyControl:
    if not choices.runs:
        return ReloadCommand(reactor, choices.reload)
    master = Runtime(reactor, UNIXClientEndpoint(reactor, f"{choices.socket}{MASTER}", ANSWER_S_MAX))
    return HaproxySupervisor(reactor, choices.haproxy, choices.output, choices.socket, master)


def _renderer(choices: DriverOptions, version: tuple[int, ...]) -> Renderer:
    """By the operator's template, or by ours. Raises `OptionError` for one that cannot be rendered at all."""
    template = choices.template
    if template is None:
        template = resources.files(core).joinpath("haproxy.cfg.j2").read_text("utf-8")
    try:
        renderer = Renderer(template, str(choices.socket), str(states_beside(choices.output)), version)
        renderer.description(Topology())
    except Unrenderable as error:
        raise OptionError(f"--template {error}.") from error
    return renderer


def _check(choices: DriverOptions) -> str:
    """Check what is not checked without running HAProxy, and return what the configuration is."""
    for problem in () if choices.certificates is None else find(choices.certificates).problems.values():
        refuse(f"--certificates: {problem}.")
    custom = Custom() if choices.include is None else custom_in(choices.include)
    if custom.problem is not None:
        refuse(f"--include: {custom.problem}.")
    for file, why in custom.misnamed().items():
        refuse(f"--include: {file} {why}{'' if why.endswith('?') else '.'}")
    try:
        shape = Topology(machine=evolve(choices.machine, custom=custom))
        rendered = _renderer(choices, _version(choices.haproxy)).render(shape, {})
    except (OptionError, Unrenderable) as error:
        refuse(str(error))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".cfg") as draft:
        draft.write(rendered.text)
        draft.flush()
        try:
            check_now(choices.haproxy, Path(draft.name))
        except ConfigRefused as error:
            why = located(str(error), rendered.text)
            refuse(f"{choices.haproxy} refuses the configuration for an empty registry: {why}.")
    return f"nodes {', '.join(choices.nodes)}, output {choices.output}, socket {choices.socket}"


def _client(choices: DriverOptions, reactor: Any) -> Client:
    try:
        return Client(reactor, choices.nodes, token=choices.token, ca=choices.ca)
    except ValueError as error:
        refuse(f"--ca {error}.")


def _has_exporter(haproxy: str) -> bool:
    """Whether this HAProxy is built with what serves metrics to Prometheus."""
    try:
        said = subprocess.run(  # noqa: S603 - the operator names the program
            [haproxy, "-vv"], capture_output=True, timeout=VERSION_S_MAX, check=True, text=True
        ).stdout
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
    return "prometheus-exporter" in said


def _version(haproxy: str) -> tuple[int, ...]:
    """Which HAProxy this is."""
    try:
        said = subprocess.run(  # noqa: S603 - the operator names the program
            [haproxy, "-v"], capture_output=True, timeout=VERSION_S_MAX, check=True, text=True
        ).stdout
        return version_in(said.partition(" version ")[2].partition(" ")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        refuse(f"{haproxy} -v prints no version of HAProxy: name HAProxy itself with --run or --check.")
