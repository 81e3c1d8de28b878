"""The columns of all tables that commands print, with their meanings, for the tables, `--help` and the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Columns(NamedTuple):
    """The columns of a table in their order, with their meanings. `of` names the lines of the table if necessary."""

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
        "STATE": "up; drain or maint if an operator has set this; suspect if only a guard keeps the instance listed "
        "(see bender guard).",
        "WEIGHT": "The share of the traffic, relative to other instances, 0 to 256.",
        "TTL": "The number of seconds without a renewal after which the instance expires.",
        "SINCE": "How long ago it was registered.",
        "NODE": "The node at which it was registered.",
        "META": "The fields of your own that are stored with it, as JSON.",
    }
)

EVENTS = Columns(
    {
        "TIME": "The time by the clock of the node that sent the event, in the time zone of this machine.",
        "EVENT": "online, offline, changed, created or removed. The line for the event synced has no other columns.",
        "ID": "The instance, backend or frontend.",
        "REASON": "The reason, such as registered, expired, deregistered, check-failed, node-lost or configured.",
        "CHANGE": "The fields that differ, each with its former value.",
    },
    "each line (no header is printed)",
)

DIAGNOSES = Columns(
    {
        "NODE": "The node.",
        "LISTS IT": "yes; no; hidden if this node does not hear the nodes at which the instance renewed; unreachable "
        "(no answer).",
        "HEARD IT": "How long ago the instance renewed at this node.",
        "LEFT": "The time that is left of the ttl, which began with that renewal.",
        "HELD FOR": "How long this node has held a claim, that is, its own record that the instance registered or "
        "renewed at this node.",
        "SEES AT OTHERS": "What this node knows about other nodes: which of them hold a claim, are silent, or know "
        "that the registration ended.",
    },
    "nodes",
)

LAST_EVENTS = Columns(
    {
        "WHEN": "When the node reported the event.",
        "NODE": "The node.",
        "EVENT": "online, offline or changed.",
        "REASON": "The reason.",
    },
    "last events",
)

BACKENDS = Columns(
    {
        "NAME": "The name of the backend.",
        "APP": "The app.",
        "VERSION": "The version that serves.",
        "MEMBERS": "How many members receive traffic.",
        "MORE": "All other fields that are set.",
    },
    "backends",
)

MEMBERS = Columns(
    {
        "HOST": "The address or hostname of the member.",
        "PORT": "The port of the member.",
        "WEIGHT": "The share of the traffic, after canary and state are taken into account; 0 is none.",
        "APP": "The app.",
        "VERSION": "The version of the app: that of the backend, or of its canary.",
    },
    "members of one backend",
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
    "frontends",
)

RULES = Columns(
    {
        "REQUESTS": "The requests that match this rule; if several rules match, the first is used.",
        "BACKEND": "The backend to which they go.",
        "SERVED BY": "The app and version that serve this backend.",
    },
    "rules of one frontend",
)

GUARDED = Columns(
    {
        "APP": "The app.",
        "SUSPECTS": "How many of its instances are suspect: only a guard keeps them listed.",
        "LEFT": "How long the suspect instances stay listed at most.",
    }
)

NODES = Columns(
    {
        "NODE": "The name of the node.",
        "API": "The address for clients.",
        "STATE": "ready; not ready; silent (the asked node does not hear it); left (stopped); unreachable (no answer).",
        "LAG": "How long ago the asked node last heard from the node in this row.",
        "DIGEST": "A checksum of the state of the node: nodes with the same state have the same digest.",
        "LISTED": "How many registrations the node lists.",
        "CLAIMS": "The number of instances that registered or renewed at this node itself (its claims).",
        "UP FOR": "How long the node has been running.",
        "VERSION": "The version of bender that the node runs.",
    },
    "nodes",
)

CONSUMERS = Columns(
    {
        "CONSUMER": "The name of the consumer: a driver of a load balancer, or a watcher.",
        "NODE": "The node whose events it follows.",
        "STATE": "connected, or gone; or the kind of problem that the driver has with its load balancer.",
        "BEHIND": "How many events the consumer has not confirmed yet.",
        "CONFIRMED": "How long ago the consumer last confirmed or reported something.",
        "FINDS DOWN": "The instances that are down according to the load balancer's own checks.",
    },
    "consumers",
)

DIFFERENCES = Columns(
    {
        "ID": "The object that differs.",
        "NODE…": 'One column for each node: "yes" if the object is the same as at the first node that has the object; '
        '"-" if the node does not have the object; otherwise the fields that differ.',
    }
)

_LAST_CHANGE = {"LAST CHANGE": "The reason of the last change that this command saw, and how long ago it was."}

TOP_APPS = Columns(
    {
        "APP": "The app.",
        "VERSION": "The version of the app.",
        "LISTED": "How many instances are listed.",
        "UP": "How many of these are up.",
        "DRAIN": "The number of instances that an operator has set to drain.",
        "MAINT": "The number of instances that an operator has set to maint.",
        "SUSPECT": "The number of instances that only a guard keeps listed (see bender guard).",
        "WEIGHT": "The sum of the weights of the instances that take traffic.",
        "BACKENDS": "The backends that send traffic to this version, including backends that use it as their canary "
        "(see below).",
        **_LAST_CHANGE,
    },
    "apps",
)

TOP_INSTANCES = Columns(
    {
        **{name: meaning for name, meaning in INSTANCES.meanings.items() if name != "META"},
        "STATE": "up; drain or maint if an operator has set this; suspect if only a guard keeps the instance listed; "
        "gone, which is shown for five seconds after its removal.",
        **_LAST_CHANGE,
        "META": INSTANCES.meanings["META"],
    },
    "instances",
)

TOP_BACKENDS = Columns(
    {
        "NAME": "The name of the backend.",
        "APP": "The app.",
        "VERSION": "The version that serves.",
        "MEMBERS": "How many instances and fixed servers take traffic.",
        "CANARY": "The version that is tried with a share of the traffic, and this share.",
        "FRONTENDS": "The frontends that send to the backend.",
        **_LAST_CHANGE,
    },
    "backends",
)

TOP_NODES = Columns(
    {
        **NODES.meanings,
        "STATE": "ready; not ready; silent (the followed node, which sends the changes to this command, does not hear "
        "it); left (stopped); unreachable (no answer).",
        "LAG": "How long ago the followed node last heard from the node in this row.",
    },
    "nodes",
)

TOP_EVENTS = Columns(
    {
        "TIME": "The time by the clock of the node that sent the event, in the time zone of this machine.",
        "EVENT": EVENTS.meanings["EVENT"].partition(". ")[0] + ".",
        "ID": "The instance, backend or frontend.",
        "REASON": EVENTS.meanings["REASON"],
        "SEEN": "How long ago the event arrived here.",
        "AT NODE": "The address of the node that sent it.",
    },
    "events",
)
