"""Entries and settings as peers send them."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from bender.core.admin_state import key_of_state
from bender.core.entry_validation import problem_of_entry
from bender.core.ledger import Claim
from bender.core.messages import ConfigSetting

KEY = "registration/web/1.0/10.0.0.5/80"
TERMS = b'{"ttl":10.0,"weight":1,"meta":{},"registered":5,"node":"n1"}'
BACKEND_BODY = b'{"id":"backend/web","resource":"Backend","name":"web","app":"web","version":"1.0"}'
FRONTEND_BODY = b'{"id":"frontend/f","resource":"Frontend","name":"f","backend":"web"}'


def claim(body: bytes = TERMS, key: str = KEY, ttl_s: float = 10.0) -> Claim:
    return Claim(2, 1, key, body, ttl_s, 1, 2, 1)


def terms(**changes: Any) -> bytes:
    """Return terms with these fields changed, or removed if they are None."""
    said = {**json.loads(TERMS), **changes}
    return msgspec.json.encode({field: value for field, value in said.items() if value is not None})


def backend(body: bytes | None = BACKEND_BODY, key: str = "backend/web", rev: int = 1) -> ConfigSetting:
    return ConfigSetting(key, rev, 2, 0, "ops", body)


def frontend(body: bytes) -> ConfigSetting:
    return ConfigSetting("frontend/f", 1, 2, 0, "ops", body)


def word(body: bytes | None = b"drain", key: str = "", lasts_s: float | None = 60.0) -> ConfigSetting:
    return ConfigSetting(key or key_of_state(KEY), 1, 2, 0, "ops", body, lasts_s)


def nested(levels: int) -> Any:
    """Return a value with this number of nested lists and objects."""
    value: Any = 1
    for level in range(levels):
        value = [value] if level % 2 else {"a": value}
    return value


def said(key: str, ttl_s: float, body: bytes) -> str | None:
    return problem_of_entry(Claim(2, 1, key, body, ttl_s, 1, 2, 1))
