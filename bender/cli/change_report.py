"""Report the effect of a change: the fields that differ, and the drivers that have not applied it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bender.cli.session import Session
from bender.client import Backend, BenderError, Consumer, Frontend
from bender.client.drivers import APPLIED_S_MAX, drivers_unable_to_drain, wait_until_applied
from bender.client.objects import current_object
from bender.core.change_description import differences
from bender.core.consumers import digest_of


def settings_of(found: Backend | Frontend | None) -> dict[str, Any] | None:
    """Return all fields of a backend or frontend, or None if it does not exist."""
    return None if found is None else found.settings


def print_differences(session: Session, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print the differences between two settings, a line for each field."""
    for each in differences(before, after):
        session.screen.say(f"  {each}")


async def unapplied_sentences(
    session: Session, id_: str, settings: dict[str, Any] | None, *, changed: bool = True
) -> list[str]:
    """Return a sentence for each driver that has not applied the settings, with the reason if it is known.

    `settings` are None for a removal. Drivers have some seconds to apply a change. If `changed` is False, only drivers
    with a known reason are included.
    """
    try:
        within_s = APPLIED_S_MAX if changed else 0.0
        lacking = await wait_until_applied(session.client.consumers, session.pause, id_, settings, within_s)
        if (
            lacking
            and changed
            and digest_of(settings_of(await current_object(session.client, id_))) != digest_of(settings)
        ):
            return []  # the object was changed again, and drivers may have the later change
    except BenderError as error:  # the change was made nevertheless
        return [f"cannot find out whether load balancers have applied the change: {error}; see bender status"]
    return [each.text for each in lacking]


async def last_member_effect(session: Session, id_: str) -> str | None:
    """Return the effect of removing an instance that is the last member of a backend to take traffic, or None.

    The rule is that of a drain. Nodes accept such a deregistration, because a program deregisters when it stops.
    """
    from bender.declared.apply import rehearse  # noqa: PLC0415 - other commands that use this module do not need it
    from bender.declared.config_diff import ConfigChange, Contents  # noqa: PLC0415
    from bender.declared.document import DeclaredState, declared_fields  # noqa: PLC0415

    backends = {each.name: declared_fields(each.settings) for each in await session.client.backends()}
    drain = ConfigChange("state", id_, None, {"state": "drain"}, DeclaredState("drain", 60.0))
    refusals, _ = await rehearse(session.client, [drain], Contents(backends, {}, {}, 0))
    return refusals[0].reason if refusals else None


async def consumers_of(session: Session) -> Sequence[Consumer]:
    """Return the drivers and other consumers. If no node answers, print a warning and return none."""
    try:
        return await session.client.consumers()
    except BenderError as error:
        session.screen.warn(f"cannot list the load balancers: {error}")
        return []


async def warn_of_unable_drivers(session: Session) -> None:
    """Print a warning for each driver that cannot change the members of its load balancer now."""
    for text in drivers_unable_to_drain(await consumers_of(session)):
        session.screen.warn(text)
