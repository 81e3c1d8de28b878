"""Plants a defect in a node. Python runs this file at its start if this folder is in its path."""

import os

if name := os.environ.get("BENDER_TEST_DEFECT"):
    from tests.faults.planted import plant

    plant(name)
