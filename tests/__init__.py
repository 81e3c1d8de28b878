"""Tests mirror `bender/`; `simulation/` runs whole clusters without sockets, `e2e/` real processes."""

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # the measurements and `make run` import some of these modules without what only tests need
    pass
else:
    # A busy machine must not fail a property test for being slow at making up examples.
    settings.register_profile("bender", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("bender")
