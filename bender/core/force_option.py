"""How the API and the command line say that a refused change can be made all the same."""

from __future__ import annotations

#: The end of a refusal by the API. The command line shows the second text in its place.
FORCE_IN_API = "add ?force to do it anyway (bender: --force)"
FORCE_HERE = "add --force to do it anyway"
