"""Tests mirror `bender/`; `simulation/` runs whole clusters without sockets, `e2e/` real processes."""

from hypothesis import HealthCheck, settings

# A busy machine must not fail a property test for being slow at making up examples.
settings.register_profile("bender", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("bender")
