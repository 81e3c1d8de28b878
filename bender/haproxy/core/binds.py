"""The addresses at which HAProxy serves frontends.

If HAProxy cannot use an address of a frontend, it serves the frontend at the other addresses. A frontend without a
usable address is left out. An address with TLS is never served without TLS.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_address

from attrs import evolve, frozen

from bender.haproxy.core.listening import plain
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.settings import FrontendSettings

#: The largest number of addresses that a problem names.
NAMED_MAX = 5

BindProblem = Callable[[str], str | None]


@frozen
class _Issue:
    """The reason why some addresses of a frontend cannot be used, as a clause, and the field with these addresses."""

    field: str
    why: str


def served_frontends(
    frontends: Mapping[str, FrontendSettings],
    problems: dict[str, str],
    holders: Mapping[str, str],
    bind_problem: BindProblem,
    machine: Machine,
) -> Iterator[FrontendSettings]:
    """Yield the usable frontends, each with its usable addresses, and add the problems of others to `problems` by id.

    `holders` has, by address, the name of the frontend that HAProxy serves there now; a frontend keeps these addresses.
    `bind_problem` returns why HAProxy cannot listen at an address. It is not called for addresses in `holders`.
    """
    usable = {name: frontend for name, frontend in sorted(frontends.items()) if frontend.problem is None}
    possible = {name: _on_machine(frontend, machine) for name, frontend in usable.items()}
    taken = {bind: name for bind, name in holders.items() if name in possible and bind in possible[name][0]}
    for name, frontend in sorted(frontends.items()):
        if frontend.problem is not None:
            problems[f"frontend/{name}"] = frontend.problem
            continue
        binds, issues = possible[name]
        had = []
        for bind in binds:
            why = _why_unusable(name, bind, taken, holders, bind_problem)
            if why is None:
                had.append(bind)
            else:
                issues.append(_Issue("bind", why))
        left = _without_lost_redirect(evolve(frontend, binds=(*had,)), frontend)
        found_problems = [*frontend.problems, *_issue_texts(left, frontend, issues)]
        if found_problems:
            problems[f"frontend/{name}"] = "; ".join(found_problems)
        if had:
            taken |= dict.fromkeys(had, name)
            yield left


def problem_beside_listeners(held: Collection[str], bind_problem: BindProblem) -> BindProblem:
    """Return a `bind_problem` for new addresses, while HAProxy listens at the addresses in `held`.

    If HAProxy's own listening may change the result for an address, the function calls `bind_problem` with port 0, and
    so only checks that this machine has the address.
    """

    def why(bind: str) -> str | None:
        hidden = any(_overlap(bind, each) for each in held)
        return bind_problem(_without_port(bind) if hidden else bind)

    return why


def problem_beside_unknown(may_be_held: Callable[[str], bool], bind_problem: BindProblem) -> BindProblem:
    """Return a `bind_problem` for new addresses, while not all of HAProxy's addresses are known.

    `may_be_held` returns True if HAProxy may listen at an address; then the address has no problem.
    """

    def why(bind: str) -> str | None:
        return None if may_be_held(bind) else bind_problem(_without_port(bind))

    return why


def _without_port(bind: str) -> str:
    """Return an address with port 0, at which a program can always listen if this machine has the address."""
    return f"{bind.rpartition(':')[0]}:0"


def _on_machine(frontend: FrontendSettings, machine: Machine) -> tuple[list[str], list[_Issue]]:
    """Return the addresses that the machine's options allow, and the reasons against the other addresses."""
    binds, issues = [*frontend.binds], []
    if frontend.tls and machine.certificates is None:
        where = _listed(frontend.tls)
        why = f"there is no certificate for {where}: name its file or folder with --certificates"
        issues.append(_Issue("tls", why))
        binds = [bind for bind in binds if bind not in frontend.tls]
    if machine.stats in binds:
        issues.append(_Issue("bind", f"{machine.stats} is used by --stats"))
        binds.remove(machine.stats)
    return binds, issues


def _why_unusable(
    name: str, bind: str, taken: Mapping[str, str], holders: Mapping[str, str], bind_problem: BindProblem
) -> str | None:
    if taken.get(bind, name) != name:
        return f"{bind} is used by frontend/{taken[bind]}"
    why = None if bind in holders else bind_problem(bind)
    return None if why is None else f"cannot listen at {bind}: {why}"


def _without_lost_redirect(left: FrontendSettings, frontend: FrontendSettings) -> FrontendSettings:
    """Remove the redirect if it leads to an address of the frontend that is left out."""
    declared, had = ({_port(bind) for bind in tls} for tls in (frontend.tls, {*frontend.tls} & {*left.binds}))
    lost = {str(frontend.redirect_port)} & declared - had
    return evolve(left, redirect_port=None) if lost else left


def _issue_texts(left: FrontendSettings, frontend: FrontendSettings, issues: list[_Issue]) -> Iterator[str]:
    if not issues:
        return
    if not left.binds:
        yield from (f"{each.field}: {each.why}" for each in issues)
        return
    redirect = ", without its redirect to HTTPS" if left.redirect_port != frontend.redirect_port else ""
    whys = "; ".join(each.why for each in issues)
    yield f"frontend/{frontend.name} is served at {_listed(left.binds)} only{redirect}: {whys}"


def _listed(binds: Collection[str]) -> str:
    named = [*binds][:NAMED_MAX]
    more = len(binds) - len(named)
    return ", ".join([*named, *([f"{more} more"] if more else [])])


def _overlap(one: str, other: str) -> bool:
    """Return True if a listener at one address may keep others from the other address."""
    if _port(one) != _port(other):
        return False
    hosts = {_host(one), _host(other)}
    return len(hosts) == 1 or None in hosts


def _host(bind: str) -> str | None:
    """Return the address without its port; None for all addresses."""
    host = bind.rpartition(":")[0].strip("[]")
    address = None if host == "*" else plain(ip_address(host))
    return None if address is None or address.is_unspecified else str(address)


def _port(bind: str) -> str:
    return bind.rpartition(":")[2]
