"""How a change that would take traffic away is done all the same, in the words of the API and of the command line."""

from __future__ import annotations

#: The end of a refusal by the API. The command line puts the other in its place.
FORCE_IN_API = "add ?force to do it anyway (bender: --force)"
FORCE_HERE = "add --force to do it anyway"
