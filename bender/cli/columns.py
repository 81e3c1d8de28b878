"""The columns of all tables that commands print, with what each means: for the tables, `--help` and the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Columns(NamedTuple):
    """The columns of a table in their order, each with its meaning; `of` says which table, where there are several."""

    meanings: Mapping[str, str]
    of: str = ""

    @property
    def names(self) -> list[str]:
        return [*self.meanings]


_INSTANCE = {
    "APP": "The app.",
    "VERSION": "The version of the app.",
    "HOST": "The address of the instance, or the name of its host.",
    "PORT": "The port at which it serves.",
}

INSTANCES = Columns(
    {
        **_INSTANCE,
        "STATE": "up; drain or maint if an operator has set that; suspect if no node hears from it.",
        "WEIGHT": "Its share of the traffic beside other instances, 0 to 256.",
        "TTL": "After how many seconds without a renewal it is gone.",
        "SINCE": "How long ago it was registered.",
        "NODE": "The node at which it was registered.",
        "META": "What else was registered with it, as JSON.",
    }
)

EVENTS = Columns(
    {
        "TIME": "When the node reported it, by the clock of this machine.",
        "EVENT": "online, offline, changed, created or removed; synced stands on a line of its own.",
        "ID": "The instance, backend or frontend.",
        "REASON": "Why, such as registered, expired, deregistered, check-failed, node-lost or configured.",
        "CHANGE": "The fields that differ, each with its value before.",
    },
    "A line (without a head)",
)

ACCOUNTS = Columns(
    {
        "NODE": "The node.",
        "LISTS IT": "yes; no; hidden if its nodes are not heard; away if the node did not answer.",
        "HEARD IT": "How long ago the instance renewed at this node.",
        "LEFT": "What is left of the ttl since then.",
        "HELD FOR": "How long this node has held a claim of the instance.",
        "SEES AT OTHERS": "Other nodes: whether they hold a claim, are silent, or know that it has ended.",
    },
    "Nodes",
)

LAST_EVENTS = Columns(
    {
        "WHEN": "When the node reported it.",
        "NODE": "The node.",
        "EVENT": "online, offline or changed.",
        "REASON": "Why.",
    },
    "Last events",
)

BACKENDS = Columns(
    {
        "NAME": "The name of the backend.",
        "APP": "The app.",
        "VERSION": "The version that serves.",
        "MEMBERS": "How many members receive traffic.",
        "MORE": "All other fields that are set.",
    },
    "Backends",
)

MEMBERS = Columns(
    {
        "HOST": "The address of the member, or the name of its host.",
        "PORT": "The port at which it serves.",
        "WEIGHT": "Its share of the traffic, with the canary and the state taken into account; 0 is none.",
        "APP": "The app.",
        "VERSION": "The version of the app: that of the backend, or of its canary.",
    },
    "Members of one backend",
)

_CHANGED = {"CHANGED": "What this setting changed of the one in the line below."}

_SET = {
    "WHEN": "When it was set, by the clock of the node.",
    "BY": "Who has set it: the name that the client gave, if any, and its address.",
}

BACKEND_HISTORY = Columns({**_SET, "APP": "The app.", "VERSION": "The version that served.", **_CHANGED})

FRONTEND_HISTORY = Columns({**_SET, "BACKEND": "The backend behind it.", **_CHANGED})

FRONTENDS = Columns(
    {
        "NAME": "The name of the frontend.",
        "BACKEND": "The backend for requests that match no rule.",
        "MORE": "All other fields that are set.",
    },
    "Frontends",
)

RULES = Columns(
    {
        "REQUESTS": "The requests that match; the first line that does counts.",
        "BACKEND": "The backend to which they go.",
        "SERVED BY": "The app and version that serve this backend.",
    },
    "Rules of one frontend",
)

GUARDED = Columns(
    {
        "APP": "The app.",
        "SUSPECTS": "How many of its members are listed although no node hears from them.",
        "LEFT": "For how long they are listed at most.",
    }
)

NODES = Columns(
    {
        "NODE": "The name of the node.",
        "API": "Where clients reach it.",
        "STATE": "ready; not ready; silent or left, as the asked node sees it; away if it did not answer this command.",
        "LAG": "How long ago the asked node has heard from it.",
        "DIGEST": "A sum of its state: nodes with the same state have the same.",
        "LISTED": "How many registrations it lists.",
        "CLAIMS": "How many claims it holds, of instances that renewed there.",
        "UP FOR": "How long it has been running.",
        "VERSION": "The version of bender that it runs.",
    },
    "Nodes",
)

CONSUMERS = Columns(
    {
        "CONSUMER": "The name of a driver or watcher that acts on events.",
        "NODE": "The node whose events it follows.",
        "STATE": "connected, or gone; or what is wrong with the configuration that it drives.",
        "BEHIND": "How many events it has not confirmed yet.",
        "CONFIRMED": "How long ago it has confirmed or reported something.",
        "FINDS DOWN": "The instances that its own checks find down.",
    },
    "Consumers",
)

DIFFERENCES = Columns(
    {
        "ID": "What nodes disagree on.",
        "a node": "yes: it has the same as the first that has it; -: it does not have it; or the fields that differ.",
    }
)
