"""How Sphinx makes these pages into HTML: `make docs`. They are written to be read as plain Markdown as well."""

import sys
from pathlib import Path

import bender

sys.path.insert(0, str(Path(__file__).parent))  # openapi_page is in this folder

project = "bender"
author = "The bender authors"
version = release = bender.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "openapi_page"]

# A link to a heading is made from its text, as GitHub does it, so that it leads there in both.
myst_heading_anchors = 6
# A block that names no language is none: Sphinx would take it for Python.
highlight_language = "none"

html_theme = "furo"
html_title = "bender"
html_copy_source = False  # the sources are in the repository

# Types as one would write them, an argument to a line where they are many; and members in the order of the source.
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
autodoc_preserve_defaults = True
# Whatever module they are written in, users import them from bender.client.
add_module_names = False
maximum_signature_line_length = 100
# What docstrings put between backticks is code.
default_role = "literal"
# A reference to the client has to lead somewhere. The rest of bender has no page, and that of others is in the network.
# Nor have type variables.
nitpick_ignore_regex = [("py:.*", r"(?!bender\.client\b).*"), ("py:class", r".*\._T")]

# What `sphinx-build -b man` makes: the page, name, description, authors and section.
man_pages = [("cli", "bender", "command line of the bender service registry", [author], 1)]
