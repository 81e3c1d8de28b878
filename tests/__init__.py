"""Tests mirror `bender/`; `simulation/` runs whole clusters without sockets, `e2e/` real processes."""

try:
    from hypothesis import HealthCheck, settings
except ImportError:  # for measurements and `make run`, which do not install the packages of tests
    pass
else:
    # A busy machine must not fail a property test because its examples are generated slowly.
    settings.register_profile("bender", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("bender")
