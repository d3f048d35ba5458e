# Everything a contributor runs. Needs make, git and Python 3.11 or newer; the rest goes to .venv.
#   make demo [SECONDS=30]   a three-node cluster with a market in it
#   make test                the whole suite
#   make check               lint, format, types, layers
#   make bench               what is measured of the goals, and which are met (ten minutes)
#   make sim [SEEDS=1000]    the simulator, seeds 0 to SEEDS - 1; FIRST=n begins at n, JOBS=n at once
#   make chaos [MINUTES=10] [SEED=1] [NODES=3]   break a cluster of real processes, and judge it
#   make mutants [SEED=1] [COUNT=320]   do the tests notice a small change of the core?
#   make compiled            the core compiled (needs a C compiler), in an environment of its own
#   make test COMPILED=1     test, bench, sim, chaos and demo there
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
COMPILED ?=
PLAIN_VENV := .venv
COMPILED_VENV := .venv-compiled
# A copy of the checkout with the compiled core in it: where the sources are edited there is none.
STAGE := $(COMPILED_VENV)/checkout
VENV := $(if $(COMPILED),$(COMPILED_VENV),$(PLAIN_VENV))
INSTALLED := $(if $(COMPILED),compiled,$(PLAIN_VENV)/.installed)
RUNS := $(if $(COMPILED),compiled,$(PLAIN_VENV)/.runs)
BIN := $(CURDIR)/$(VENV)/bin
ENTER := $(if $(COMPILED),cd $(STAGE) && )
RUN := $(ENTER)$(BIN)/python
# What the stage cannot find beside itself.
export RAFTBOOK_TEST_DATA ?= $(abspath ../shared/data)

# Test files run side by side, one process each; WORKERS=0 runs all in one.
WORKERS ?= 2

.PHONY: demo test check bench sim chaos mutants compiled clean

demo: $(RUNS)
	@$(ENTER)$(BIN)/raftbook demo $(if $(SECONDS),--seconds $(SECONDS))

test: $(INSTALLED)
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 15

check: $(PLAIN_VENV)/.installed
	@$(PLAIN_VENV)/bin/python -m ruff check .
	@$(PLAIN_VENV)/bin/python -m ruff format --check .
	@$(PLAIN_VENV)/bin/python -m mypy
	@$(PLAIN_VENV)/bin/python -m pytest -q tests/test_architecture.py

bench: $(INSTALLED)
	@$(RUN) -m benchmarks

chaos: $(INSTALLED)
	@$(RUN) -m tests.chaos --minutes $(or $(MINUTES),10) --seed $(or $(SEED),1) \
		--nodes $(or $(NODES),3) $(if $(JSON),--json $(JSON))

SEEDS ?= 1000
FIRST ?= 0
JOBS ?= 2
sim: $(INSTALLED)
	@$(RUN) -m tests.sim --jobs $(JOBS) --seeds $(FIRST)..$$(($(FIRST) + $(SEEDS) - 1))

mutants: $(PLAIN_VENV)/.installed
	@$(PLAIN_VENV)/bin/python -m pip install $(QUIET) -e '.[mutants]'
	@$(PLAIN_VENV)/bin/python -m tests.mutants --seed $(or $(SEED),1) --count $(or $(COUNT),320)

clean:
	@rm -rf $(PLAIN_VENV) $(COMPILED_VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamps are written last, so that an interrupted installation starts again from nothing.
$(PLAIN_VENV)/.runs: pyproject.toml setup.py
	$(build-venv)
	@$(PLAIN_VENV)/bin/python -m pip install $(QUIET) -e '.[gateway]'
	@touch $@

# python-binance again, as binance-connector writes an empty binance/__init__.py over its own.
$(PLAIN_VENV)/.installed: $(PLAIN_VENV)/.runs
	@echo "installing what tests and benchmarks need (once)"
	@$(PLAIN_VENV)/bin/python -m pip install $(QUIET) -e '.[dev]'
	@$(PLAIN_VENV)/bin/python -m pip install $(QUIET) --no-deps --force-reinstall python-binance
	@touch $@

# Whatever is not compiled is copied at every call, so the tests are those of the checkout.
compiled: $(COMPILED_VENV)/.installed
	@rm -rf $(STAGE) && mkdir $(STAGE)
	@tar -cf - --exclude './.*' --exclude ./build --exclude ./dist --exclude __pycache__ . \
		| tar -xf - -C $(STAGE)
	@cp $(COMPILED_VENV)/lib/python*/site-packages/raftbook/core/*.so $(STAGE)/raftbook/core

SOURCES := $(shell find raftbook cli -name '*.py')
$(COMPILED_VENV)/.environment: pyproject.toml
	$(build-venv)
	@$(COMPILED_VENV)/bin/python -m pip install $(QUIET) '.[dev]'
	@$(COMPILED_VENV)/bin/python -m pip install $(QUIET) --no-deps --force-reinstall python-binance
	@touch $@

$(COMPILED_VENV)/.installed: $(COMPILED_VENV)/.environment setup.py $(SOURCES)
	@echo "compiling raftbook/core (a minute)"
	@rm -rf build
	@RAFTBOOK_COMPILED=1 $(COMPILED_VENV)/bin/python -m pip install $(QUIET) \
		--no-deps --force-reinstall .
	@rm -rf build && touch $@

QUIET := --quiet --disable-pip-version-check --no-input
define build-venv
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "make: $(PYTHON) is not installed; install Python 3.11 or newer," \
			"or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: raftbook needs Python 3.11 or newer and $(PYTHON) is" \
			"$$($(PYTHON) -V 2>&1); name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "building $(@D) with $$($(PYTHON) -V) (once)"
	@$(PYTHON) -m venv --clear $(@D) >/dev/null || { rm -rf $(@D); \
		echo "make: $(PYTHON) cannot build a virtual environment; on Debian or Ubuntu:" \
			"apt-get install python3-venv" >&2; exit 1; }
endef
