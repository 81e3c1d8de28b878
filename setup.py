"""The packages that bender consists of. Everything else is in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    # The plugins are modules of Twisted's package twisted.plugins. Listed here, they are installed beside Twisted's
    # own. Without an __init__.py in twisted/plugins, Twisted finds them in a checkout too. The explicit "." makes an
    # editable install put the checkout itself on the path, where Twisted looks, and not a finder for bender alone.
    package_dir={"": "."},
    packages=[*find_packages(include=["bender", "bender.*"]), "twisted.plugins"],
)
