# Everything a contributor runs. Needs make, git and Python 3.11 or newer; the rest goes to .venv.
#   make demo [SECONDS=30]   a three-node cluster with a market in it
#   make test                the whole suite
#   make check               lint, format, types, layers
#   make bench               the benchmarks
#   make sim [SEEDS=1000]    the simulator, seeds 0 to SEEDS - 1; FIRST=n begins at n, JOBS=n at once
#   make chaos [MINUTES=10] [SEED=1] [NODES=3]   break a cluster of real processes, and judge it
# Another interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALLED := $(VENV)/.installed

.PHONY: demo test check bench sim chaos clean

demo: $(INSTALLED)
	@$(VENV)/bin/raftbook demo $(if $(SECONDS),--seconds $(SECONDS))

test: $(INSTALLED)
	@$(RUN) -m pytest

check: $(INSTALLED)
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) -m pytest -q tests/test_architecture.py

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

clean:
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The stamp is written last, so that an interrupted installation starts again from nothing.
$(INSTALLED): pyproject.toml setup.py
	@command -v $(PYTHON) >/dev/null 2>&1 || { \
		echo "make: $(PYTHON) is not installed; install Python 3.11 or newer," \
			"or name one: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "make: raftbook needs Python 3.11 or newer and $(PYTHON) is" \
			"$$($(PYTHON) -V 2>&1); name a newer one: make PYTHON=python3.12" >&2; exit 1; }
	@echo "building $(VENV) with $$($(PYTHON) -V) (once)"
	@$(PYTHON) -m venv --clear $(VENV) >/dev/null || { rm -rf $(VENV); \
		echo "make: $(PYTHON) cannot build a virtual environment; on Debian or Ubuntu:" \
			"apt-get install python3-venv" >&2; exit 1; }
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-input -e '.[dev]'
	@touch $@
