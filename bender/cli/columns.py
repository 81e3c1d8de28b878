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
    "HOST": "The address or hostname of the instance.",
    "PORT": "The port of the instance.",
}

INSTANCES = Columns(
    {
        **_INSTANCE,
        "STATE": "up; drain or maint if an operator has set it; suspect if no node hears from the instance.",
        "WEIGHT": "The share of the traffic, relative to other instances, 0 to 256.",
        "TTL": "The number of seconds without a renewal after which it expires.",
        "SINCE": "How long ago it was registered.",
        "NODE": "The node at which it was registered.",
        "META": "The fields of your own that are stored with it, as JSON.",
    }
)

EVENTS = Columns(
    {
        "TIME": "By the clock of the node that sent the event, in the time zone of this machine.",
        "EVENT": "online, offline, changed, created or removed. A line with synced has no other columns.",
        "ID": "The instance, backend or frontend.",
        "REASON": "Why, such as registered, expired, deregistered, check-failed, node-lost or configured.",
        "CHANGE": "The fields that differ, each with its value before.",
    },
    "A line (there is no header)",
)

ACCOUNTS = Columns(
    {
        "NODE": "The node.",
        "LISTS IT": "yes; no; hidden if all nodes at which it renewed are silent; unreachable (no answer).",
        "HEARD IT": "How long ago the instance renewed at this node.",
        "LEFT": "How much of the ttl remains, counted from HEARD IT.",
        "HELD FOR": "How long this node has held a claim of the instance.",
        "SEES AT OTHERS": "Other nodes: which hold a claim, are silent, or know that the registration ended.",
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
        "HOST": "The address or hostname of the member.",
        "PORT": "The port of the member.",
        "WEIGHT": "The share of the traffic, after canary and state are taken into account; 0 is none.",
        "APP": "The app.",
        "VERSION": "The version of the app: that of the backend, or of its canary.",
    },
    "Members of one backend",
)

_CHANGED = {"CHANGED": "The difference from the setting in the line below."}

_SET = {
    "WHEN": "When it was set, by the clock of the node.",
    "BY": "The client that set it: its name, if it gave one, and its address.",
}

BACKEND_HISTORY = Columns({**_SET, "APP": "The app.", "VERSION": "The version that served.", **_CHANGED})

FRONTEND_HISTORY = Columns({**_SET, "BACKEND": "The backend behind the frontend.", **_CHANGED})

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
        "REQUESTS": "The requests that match this rule; the first rule that matches counts.",
        "BACKEND": "The backend to which they go.",
        "SERVED BY": "The app and version that serve this backend.",
    },
    "Rules of one frontend",
)

GUARDED = Columns(
    {
        "APP": "The app.",
        "SUSPECTS": "How many of its members are listed although no node hears from them.",
        "LEFT": "How long they stay listed at most.",
    }
)

NODES = Columns(
    {
        "NODE": "The name of the node.",
        "API": "The address for clients.",
        "STATE": "ready; not ready; silent (the asked node does not hear it); left (stopped); unreachable (no answer).",
        "LAG": "How long ago the asked node heard from it.",
        "DIGEST": "A checksum of its state: nodes with the same state have the same digest.",
        "LISTED": "How many registrations it lists.",
        "CLAIMS": "How many claims it holds, of instances that renewed there.",
        "UP FOR": "How long it has been running.",
        "VERSION": "The version of bender that it runs.",
    },
    "Nodes",
)

CONSUMERS = Columns(
    {
        "CONSUMER": "The name of the consumer: a driver of a load balancer, or a watcher.",
        "NODE": "The node whose events it follows.",
        "STATE": "connected, or gone; or the problem with the configuration that it drives.",
        "BEHIND": "How many events it has not confirmed yet.",
        "CONFIRMED": "How long ago it last confirmed or reported something.",
        "FINDS DOWN": "The instances that its own checks find down.",
    },
    "Consumers",
)

DIFFERENCES = Columns(
    {
        "ID": "The object that differs.",
        "a node": "yes: as at the first node that has it; -: this node does not have it; or the fields that differ.",
    }
)

_LAST_CHANGE = {"LAST CHANGE": "The reason of the last change that was seen, and how long ago."}

TOP_APPS = Columns(
    {
        "APP": "The app.",
        "VERSION": "The version of the app.",
        "LISTED": "How many instances are listed.",
        "UP": "How many of them are up.",
        "DRAIN": "How many an operator has set to drain.",
        "MAINT": "How many an operator has set to maint.",
        "SUSPECT": "How many are listed although no node hears from them.",
        "WEIGHT": "The sum of the weights of those that take traffic.",
        "BACKENDS": "The backends that send to this version, also as a canary.",
        **_LAST_CHANGE,
    },
    "Apps",
)

TOP_INSTANCES = Columns(
    {
        **{name: meaning for name, meaning in INSTANCES.meanings.items() if name != "META"},
        "STATE": "up; drain or maint if an operator has set it; suspect if no node hears from it; gone, for a moment.",
        **_LAST_CHANGE,
        "META": INSTANCES.meanings["META"],
    },
    "Instances",
)

TOP_BACKENDS = Columns(
    {
        "NAME": "The name of the backend.",
        "APP": "The app.",
        "VERSION": "The version that serves.",
        "MEMBERS": "How many instances and fixed servers take traffic.",
        "CANARY": "The version of the canary, and its share of the traffic.",
        "FRONTENDS": "The frontends that send to the backend.",
        **_LAST_CHANGE,
    },
    "Backends",
)

TOP_NODES = Columns({**NODES.meanings, "LAG": "How long ago the followed node heard from it."}, "Nodes")

TOP_EVENTS = Columns(
    {
        "TIME": "By the clock of the node that sent the event, in the time zone of this machine.",
        "EVENT": EVENTS.meanings["EVENT"].partition(". ")[0] + ".",
        "ID": "The instance, backend or frontend.",
        "REASON": EVENTS.meanings["REASON"],
        "SEEN": "How long ago it arrived here.",
        "AT NODE": "The address of the node that sent it.",
    },
    "Events",
)
