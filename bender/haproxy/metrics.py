"""The metrics of a driver, for `GET /metrics` of `--status`; `docs/monitoring/metrics.md` explains each of them.

They show the state at the last check of HAProxy, at most two seconds ago, and no servers while it does not answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import chain

from prometheus_client.metrics_core import Metric

from bender.client import Stand
from bender.haproxy.core.registry import kept_ids
from bender.haproxy.driver import Driver
from bender.metrics.exposition import OTHERS, build_info, counter, gauge, gauges, names_with_series, process_metrics

#: HAProxy's statuses of servers. HAProxy may add a count or a reason after them.
_STATUSES = ("up", "down", "maint", "drain", "nolb", "no check")
_OTHER_STATUS = "other"


def driver_families(driver: Driver, problems: int, *, ready: bool) -> Iterator[Metric]:
    """Yield all metrics of a driver; `problems` is the number of objects that cannot be used, in whole or in part."""
    return chain(
        (build_info("bender-haproxy"),),
        _of_bender(driver, ready=ready),
        _of_haproxy(driver),
        _of_configuration(driver, problems),
        _of_servers(driver),
        process_metrics(),
    )


def _of_bender(driver: Driver, *, ready: bool) -> Iterator[Metric]:
    yield gauge("haproxy_ready", "1 if HAProxy answers and has had the desired state, as /ready says.", ready)
    yield gauge("haproxy_synced", "1 if a node has sent its full state since the start.", driver.synced)
    follows = driver.watch.node is not None and not driver.unreachable_nodes
    yield gauge("haproxy_bender_reachable", "1 while the driver follows the events of a node.", follows)
    yield gauge("haproxy_working", "0 after a defect that has stopped the driver: restart it.", not driver.has_stopped)
    about = "Events and turns of the driver that failed because of a defect in bender."
    yield counter("haproxy_failures", about, driver.failures)
    about = "The node that is followed, or was followed last; the value is always 1."
    node = [] if driver.watch.node is None else [((driver.watch.node,), 1)]
    yield gauges("haproxy_followed_node_info", about, ("node",), node)
    behind = driver.behind_since
    about = "Time since the first event came that HAProxy does not have yet, 0 if it has all."
    yield gauge("haproxy_behind_seconds", about, 0.0 if behind is None else driver.now() - behind)
    events = _events_between(driver.acknowledger.acknowledged, driver.watch.taken)
    about = "Events that came and are not confirmed to the followed node yet; none where that is not known."
    yield gauges("haproxy_events_behind", about, (), [] if events is None else [((), events)])
    about = "When the last event of a node came, in seconds since the epoch; 0 before the first one."
    yield gauge("haproxy_last_event_timestamp_seconds", about, driver.last_event_ms / 1000)
    about = "1 while nodes do not accept the confirmations, or accept them with a warning."
    yield gauge("haproxy_confirmation_problem", about, driver.acknowledger.problem is not None)


def _events_between(confirmed: Stand | None, taken: Stand | None) -> int | None:
    """Return the number of events between two positions; None if they are not of the same start of a node."""
    if confirmed is None or taken is None or confirmed.node != taken.node:
        return None
    began, _, first = confirmed.cursor.rpartition("-")
    began_of_taken, _, last = taken.cursor.rpartition("-")
    if began != began_of_taken or not (first.isdecimal() and last.isdecimal()):
        return None
    return max(0, int(last) - int(first))


def _of_haproxy(driver: Driver) -> Iterator[Metric]:
    reloader = driver.reloader
    yield gauge("haproxy_up", "1 while HAProxy answers at its socket.", driver.process is not None)
    settled = reloader.is_settled(driver.process)
    yield gauge("haproxy_settled", "1 while HAProxy runs with the desired frontends and backends.", settled)
    yield counter("haproxy_starts", "How often this driver has started HAProxy.", reloader.control.start_count)
    yield counter("haproxy_reloads", "How often this driver has reloaded HAProxy.", reloader.reload_count)
    yield counter("haproxy_commands_refused", "Commands that HAProxy did not carry out.", driver.refused_count)


def _of_configuration(driver: Driver, problems: int) -> Iterator[Metric]:
    reloader = driver.reloader
    refusal = reloader.refusal
    about = "How often HAProxy refused a configuration, or could not be started or reloaded with it."
    yield counter("haproxy_configurations_refused", about, reloader.refusal_count)
    about = "1 while HAProxy keeps an older configuration, because it refused the desired one."
    yield gauge("haproxy_configuration_refused", about, refusal is not None and not refusal.unwritten)
    about = "1 if the files of the driver could be written the last time."
    yield gauge("haproxy_files_writable", about, reloader.file_problem is None)
    about = "1 while HAProxy is not changed, because bender has lost its frontends or gets them back."
    yield gauge("haproxy_held", about, driver.hold_reason is not None)
    about = "Frontends, backends and registrations that cannot be used, in whole or in part."
    yield gauge("haproxy_problems", about, problems)


def _of_servers(driver: Driver) -> Iterator[Metric]:
    titles = {pool.name: pool.title for pool in driver.reloader.topology.pools}
    backends = {*titles.values()}
    shown = {*names_with_series(backends)}
    counts: Counter[tuple[str, str]] = Counter()
    for row in driver.rows if driver.process is not None else ():
        if row.pool in titles:
            title = titles[row.pool]
            counts[title if title in shown else OTHERS, _status(row.status)] += 1
    yield gauge("haproxy_backends", "Backends of bender that HAProxy has.", len(backends))
    about = "Servers of a backend in HAProxy, by HAProxy's status."
    yield gauges("haproxy_servers", about, ("backend", "status"), sorted(counts.items()))
    about = "Servers that stay in HAProxy although bender does not list them, because their nodes are silent."
    yield gauge("haproxy_servers_kept", about, len([*kept_ids(driver.desired.registry)]))


def _status(status: str) -> str:
    """Return a status in lower case, without a count or reason after it: `down` for `DOWN 1/3`."""
    lower = status.lower()
    return next((each for each in _STATUSES if lower.startswith(each)), _OTHER_STATUS)
