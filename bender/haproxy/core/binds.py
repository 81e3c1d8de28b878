"""The addresses at which frontends are served.

A frontend loses only an address that HAProxy cannot use: it is served at its others, and left out only if none is left.
An address with TLS is never served without it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from ipaddress import ip_address

from attrs import evolve, frozen

from bender.haproxy.core.listening import plain
from bender.haproxy.core.machine_settings import Machine
from bender.haproxy.core.settings import FrontendSettings

#: How many addresses a problem names. A frontend may have more.
NAMED_MAX = 5

WhyNot = Callable[[str], str | None]


@frozen
class _Lack:
    """Why some addresses of a frontend cannot be used, as a clause, and the field that has them."""

    field: str
    why: str


def served_frontends(
    frontends: Mapping[str, FrontendSettings],
    problems: dict[str, str],
    holders: Mapping[str, str],
    why_not: WhyNot,
    machine: Machine,
) -> Iterator[FrontendSettings]:
    """Yield the usable frontends, each with its usable addresses, and add the problems of others by id.

    `holders` are the names of frontends by the addresses that they have in HAProxy now, which they keep. `why_not`
    returns why an address cannot be listened on; it is not asked about those.
    """
    usable = {name: frontend for name, frontend in sorted(frontends.items()) if frontend.problem is None}
    possible = {name: _on_machine(frontend, machine) for name, frontend in usable.items()}
    taken = {bind: name for bind, name in holders.items() if name in possible and bind in possible[name][0]}
    for name, frontend in sorted(frontends.items()):
        if frontend.problem is not None:
            problems[f"frontend/{name}"] = frontend.problem
            continue
        binds, lacks = possible[name]
        had = []
        for bind in binds:
            why = _why_lacking(name, bind, taken, holders, why_not)
            if why is None:
                had.append(bind)
            else:
                lacks.append(_Lack("bind", why))
        left = _without_lost_redirect(evolve(frontend, binds=(*had,)), frontend)
        found_problems = [*frontend.problems, *_problems_of(left, frontend, lacks)]
        if found_problems:
            problems[f"frontend/{name}"] = "; ".join(found_problems)
        if had:
            taken |= dict.fromkeys(had, name)
            yield left


def beside(held: Collection[str], why_not: WhyNot) -> WhyNot:
    """Return a `why_not` for addresses beside those in `held`, at which HAProxy listens.

    If HAProxy's listening may affect the answer for an address, `why_not` is asked without the port: then it only
    checks that the address is one of this machine.
    """

    def why(bind: str) -> str | None:
        hidden = any(_overlap(bind, each) for each in held)
        return why_not(_without_port(bind) if hidden else bind)

    return why


def beside_unknown(may_be_held: Callable[[str], bool], why_not: WhyNot) -> WhyNot:
    """Return the same for the case that HAProxy's addresses are not all known."""

    def why(bind: str) -> str | None:
        return None if may_be_held(bind) else why_not(_without_port(bind))

    return why


def _without_port(bind: str) -> str:
    """Return an address with the port 0, which is always free if the address is one of this machine."""
    return f"{bind.rpartition(':')[0]}:0"


def _on_machine(frontend: FrontendSettings, machine: Machine) -> tuple[list[str], list[_Lack]]:
    """Return the addresses that the machine's options allow, and why others are not among them."""
    binds, lacks = [*frontend.binds], []
    if frontend.tls and machine.certificates is None:
        where = _listed(frontend.tls)
        why = f"there is no certificate for {where}: name its file or folder with --certificates"
        lacks.append(_Lack("tls", why))
        binds = [bind for bind in binds if bind not in frontend.tls]
    if machine.stats in binds:
        lacks.append(_Lack("bind", f"{machine.stats} is used by --stats"))
        binds.remove(machine.stats)
    return binds, lacks


def _why_lacking(
    name: str, bind: str, taken: Mapping[str, str], holders: Mapping[str, str], why_not: WhyNot
) -> str | None:
    if taken.get(bind, name) != name:
        return f"{bind} is used by frontend/{taken[bind]}"
    why = None if bind in holders else why_not(bind)
    return None if why is None else f"cannot listen at {bind}: {why}"


def _without_lost_redirect(left: FrontendSettings, frontend: FrontendSettings) -> FrontendSettings:
    """Remove a redirect to an address of the frontend that is left out, because it would lead nowhere."""
    declared, had = ({_port(bind) for bind in tls} for tls in (frontend.tls, {*frontend.tls} & {*left.binds}))
    lost = {str(frontend.redirect_port)} & declared - had
    return evolve(left, redirect_port=None) if lost else left


def _problems_of(left: FrontendSettings, frontend: FrontendSettings, lacks: list[_Lack]) -> Iterator[str]:
    if not lacks:
        return
    if not left.binds:
        yield from (f"{each.field}: {each.why}" for each in lacks)
        return
    redirect = ", without its redirect to HTTPS" if left.redirect_port != frontend.redirect_port else ""
    whys = "; ".join(each.why for each in lacks)
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
