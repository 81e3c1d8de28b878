"""Which packages bender consists of. Everything else about the project is said in pyproject.toml."""

from setuptools import find_packages, setup

setup(
    # The plugin is a module of a package of Twisted's. Listed here, it is installed beside Twisted's own; without
    # an __init__.py in twisted/plugins it is found from a checkout too; and because of the explicit "." an editable
    # install puts the checkout itself on the path, where Twisted looks, and not a finder for bender alone.
    package_dir={"": "."},
    packages=[*find_packages(include=["bender", "bender.*"]), "twisted.plugins"],
)
