"""`twistd bender-haproxy`: the options, and the only place that puts a driver together.

A mistake in the options ends the process with a message of one sentence.
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
from typing import IO

from attrs import evolve
from twisted.application import strports
from twisted.application.service import IService, MultiService
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IReactorCore
from twisted.logger import globalLogBeginner
from twisted.web.server import Site

from bender.client import Client
from bender.client.token_source import token_in_file
from bender.haproxy import core
from bender.haproxy.acknowledger import Acknowledger
from bender.haproxy.bind_check import bind_problem
from bender.haproxy.certificates import CertificateStore, copies_folder_of, find_certificates
from bender.haproxy.config_file import ConfigFiles, ConfigRefused, check, check_config_now, lock_output, states_file_of
from bender.haproxy.config_reload import DriverReloader
from bender.haproxy.core.actual_state import version_in
from bender.haproxy.core.custom import Custom, with_files_and_lines
from bender.haproxy.core.desired_state import DesiredState
from bender.haproxy.core.listening import ListeningPlace, listening_places_in
from bender.haproxy.core.rendering import DYNAMIC_SINCE, Renderer, Unrenderable
from bender.haproxy.core.topology import Topology
from bender.haproxy.driver import Driver
from bender.haproxy.machine_files import MachineFiles, read_custom
from bender.haproxy.name_resolution import AddressResolver
from bender.haproxy.options import FILE_OPTIONS, OPTIONS, DriverOptions, options_in_file, validate_options
from bender.haproxy.reloader import HaproxyReloader
from bender.haproxy.runtime import ANSWER_S_MAX, Runtime
from bender.haproxy.state_reader import StateReader, StateSource
from bender.haproxy.status import site
from bender.haproxy.supervisor import MASTER_SUFFIX, HaproxyControl, HaproxySupervisor, ReloadCommand
from bender.net.local_addresses import LocalAddresses
from bender.net.reactor import Reactor
from bender.process.base_options import BaseOptions
from bender.process.lifecycle import refuse_listen_errors, refuse_port_in_use, refuse_start
from bender.process.options import OptionError, from_toml
from bender.process.service_log import ServiceLog
from bender.process.signals import handle_signals
from bender.process.steady_clock import make_steady

#: Time limit for `haproxy -v`, which takes some hundredths of a second.
VERSION_S_MAX = 10.0


class DriverCommandLine(BaseOptions):
    """The command line of a driver."""

    program = "bender-haproxy"
    file_options = FILE_OPTIONS
    longdesc = (
        "Configures one HAProxy from bender: writes its configuration file, and changes its servers without a reload."
    )
    optParameters = [
        [option, None, None, f"{takes} {doc}"]
        for option, (takes, doc) in OPTIONS.items()
        if takes is not None and option != "bender"
    ]
    optFlags = [[option, None, doc] for option, (takes, doc) in OPTIONS.items() if takes is None]

    validated: DriverOptions

    def opt_bender(self, url: str) -> None:
        self.setdefault("bender", []).append(url)

    opt_bender.__doc__ = f"{OPTIONS['bender'][0]} {OPTIONS['bender'][1]}"

    def check_and_describe(self) -> str:
        return _check(self.validated)

    def validate(self) -> DriverOptions:
        """Return the options from the command line and the present files. Raises `OptionError`."""
        configured = {} if self["config"] is None else from_toml(self["config"], OPTIONS, self.program)
        texts, nodes, flags = options_in_file(configured)
        given = {option: self[option] for option in OPTIONS if isinstance(self.get(option), str)}
        printed = frozenset(option for option, (takes, _) in OPTIONS.items() if takes is None and self[option])
        return validate_options(
            texts | given,
            self.get("bender", nodes),
            flags | printed,
            host_name=socket.gethostname(),
            environment=os.environ,
        )


#: The name that Twisted looks for.
Options = DriverCommandLine


def makeService(options: DriverCommandLine) -> IService:
    """Return the service that `twistd` and `twist` run."""
    from twisted.internet import reactor  # noqa: PLC0415 - at the top, it would take --reactor out of twistd's hands

    log = ServiceLog(options.validated.log_settings)
    log.insert_before(globalLogBeginner)
    make_steady(reactor)
    if options.validated.status is not None:
        refuse_port_in_use("status", options.validated.status)
    version = _version(options.validated.haproxy)
    try:
        lock = lock_output(options.validated.output)
    except ConfigRefused as error:
        refuse_start(f"{error}.")
    try:
        service = build_driver(options.validated, version, reactor)
    except OptionError as error:
        refuse_start(str(error))
    service.lock = lock
    reactor.callWhenRunning(handle_signals, reactor, log, lambda: options.reread(log, service.option_reloader.apply))
    reactor.callWhenRunning(log.limit_repeats, reactor)
    return service


def build_driver(chosen: DriverOptions, version: tuple[int, ...], reactor: Reactor) -> DriverService:
    """Return a driver with its status server. It does nothing before it is started."""
    client = _client(chosen, reactor)
    addresses = AddressResolver(reactor)
    # An HAProxy that systemd runs may belong to another user, and then addresses cannot be shared.
    can_share_binds = chosen.runs and "noreuseport" not in (chosen.template or "")
    desired = DesiredState(
        addresses.address_of,
        bind_problem,
        can_share_binds=can_share_binds,
        uses_slots=version < DYNAMIC_SINCE,
        is_local=LocalAddresses(reactor).has,
        reserved_places=_own_places(chosen),
    )
    runtime = Runtime(reactor, UNIXClientEndpoint(reactor, str(chosen.socket), ANSWER_S_MAX))
    control = _control(chosen, reactor)
    reloader = HaproxyReloader(
        reactor,
        runtime=runtime,
        renderer=_renderer(chosen, version),
        files=ConfigFiles(chosen.output, partial(check, reactor, chosen.haproxy)),
        control=control,
        servers_in=lambda topology: desired.servers_in(topology, reactor.seconds()),
        wall_ms=lambda: time.time_ns() // 1_000_000,
    )
    watch = client.watch(name=chosen.name)
    driver = Driver(
        reactor,
        watch=watch,
        acknowledger=Acknowledger(client, chosen.name, watch.instance),
        desired=desired,
        addresses=addresses,
        runtime=runtime,
        reloader=reloader,
        reporting=chosen.report,
    )
    if isinstance(control, HaproxySupervisor):
        control.before_start, control.on_start = reloader.rewrite, driver.wake
    files = _machine_files(chosen, driver, reactor)
    use_machine = partial(_use_machine, files)
    use_machine(chosen)
    service = DriverService(
        [driver, StateReader(reactor, StateSource(client), driver), files], site(driver, reactor), chosen, reactor
    )
    service.option_reloader = DriverReloader(chosen, partial(_renderer, version=version), driver, use_machine)
    return service


def _machine_files(chosen: DriverOptions, driver: Driver, reactor: Reactor) -> MachineFiles:
    def in_use() -> str:
        written = driver.reloader.files.written
        return "" if written is None else written.text

    return MachineFiles(reactor, CertificateStore(copies_folder_of(chosen.output)), driver.use_machine, in_use)


def _use_machine(files: MachineFiles, chosen: DriverOptions) -> None:
    """Apply the options about the machine. Raises `OptionError`."""
    stats = chosen.machine.stats
    if stats is not None and stats not in files.in_use() and (why := bind_problem(stats, shared=False)) is not None:
        raise OptionError(f"--stats {stats} cannot be used, because {why}: choose another port or address.")
    exporter = stats is not None and _has_exporter(chosen.haproxy)
    files.use(evolve(chosen.machine, exporter=exporter), chosen.certificates, chosen.include)


class DriverService(MultiService):
    """A driver and its status server.

    `lock`, while it is open, keeps other drivers from the files of this one; `option_reloader` changes its options.
    """

    lock: IO[str]
    option_reloader: DriverReloader

    def __init__(self, services: Sequence[IService], page: Site, chosen: DriverOptions, reactor: Reactor) -> None:
        super().__init__()
        for service in services:
            service.setServiceParent(self)
        if chosen.status is not None:
            status_service = strports.service(chosen.status.listen_description, page, reactor=IReactorCore(reactor))
            status_service.setServiceParent(self)

    def privilegedStartService(self) -> None:
        with refuse_listen_errors("status"):
            super().privilegedStartService()


def _own_places(chosen: DriverOptions) -> frozenset[ListeningPlace]:
    """Return the places at which this driver itself listens, where no server may be."""
    if chosen.status is None or chosen.status.kind == "unix":
        return frozenset()
    bind = f"{chosen.status.interface or '*'}:{chosen.status.port}"
    return frozenset(
        evolve(each, owner="the driver serves its --status") for each in listening_places_in(f"bind {bind}")
    )


def _control(chosen: DriverOptions, reactor: Reactor) -> HaproxyControl:
    if not chosen.runs:
        return ReloadCommand(reactor, chosen.reload)
    master = Runtime(reactor, UNIXClientEndpoint(reactor, f"{chosen.socket}{MASTER_SUFFIX}", ANSWER_S_MAX))
    return HaproxySupervisor(reactor, chosen.haproxy, chosen.output, chosen.socket, master)


def _renderer(chosen: DriverOptions, version: tuple[int, ...]) -> Renderer:
    """Return a renderer of the operator's template or the built-in one. Raises `OptionError` if it is not valid."""
    template = chosen.template
    if template is None:
        template = resources.files(core).joinpath("haproxy.cfg.j2").read_text("utf-8")
    try:
        renderer = Renderer(template, str(chosen.socket), str(states_file_of(chosen.output)), version)
        renderer.description(Topology())
    except Unrenderable as error:
        raise OptionError(f"--template {error}.") from error
    return renderer


def _check(chosen: DriverOptions) -> str:
    """Check the options by running HAProxy, and return a summary of them. Ends the process if they are not valid."""
    for problem in () if chosen.certificates is None else find_certificates(chosen.certificates).problems.values():
        refuse_start(f"--certificates: {problem}.")
    custom = Custom() if chosen.include is None else read_custom(chosen.include)
    if custom.problem is not None:
        refuse_start(f"--include: {custom.problem}.")
    for file, why in custom.misnamed().items():
        refuse_start(f"--include: {file} {why}{'' if why.endswith('?') else '.'}")
    try:
        topology = Topology(machine=evolve(chosen.machine, custom=custom))
        rendered = _renderer(chosen, _version(chosen.haproxy)).render(topology, {})
    except (OptionError, Unrenderable) as error:
        refuse_start(str(error))
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".cfg") as draft:
        draft.write(rendered.text)
        draft.flush()
        try:
            check_config_now(chosen.haproxy, Path(draft.name))
        except ConfigRefused as error:
            why = with_files_and_lines(str(error), rendered.text)
            refuse_start(f"{chosen.haproxy} refuses the configuration for an empty registry: {why}.")
    return f"nodes {', '.join(chosen.nodes)}, output {chosen.output}, socket {chosen.socket}"


def _client(chosen: DriverOptions, reactor: Reactor) -> Client:
    try:
        file = chosen.token_file
        token = chosen.token if file is None else partial(token_in_file, Path(file))
        return Client(reactor, chosen.nodes, token=token, ca=chosen.ca, insecure=chosen.insecure)
    except ValueError as error:
        refuse_start(f"--ca {error}.")


def _has_exporter(haproxy: str) -> bool:
    """Return True if this HAProxy is built with its Prometheus exporter."""
    try:
        printed = subprocess.run(  # noqa: S603 - the operator names the program
            [haproxy, "-vv"], capture_output=True, timeout=VERSION_S_MAX, check=True, text=True
        ).stdout
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
    return "prometheus-exporter" in printed


def _version(haproxy: str) -> tuple[int, ...]:
    """Return the version of this HAProxy."""
    try:
        printed = subprocess.run(  # noqa: S603 - the operator names the program
            [haproxy, "-v"], capture_output=True, timeout=VERSION_S_MAX, check=True, text=True
        ).stdout
        return version_in(printed.partition(" version ")[2].partition(" ")[0])
    except (OSError, subprocess.SubprocessError, ValueError):
        refuse_start(f"{haproxy} -v prints no version of HAProxy: name HAProxy itself with --run or --check.")
