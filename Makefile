# Everything a developer or a CI machine runs. `make` alone lists it.
# Needs make and Python 3.11 or newer; all else comes from the locked requirements in packaging/.

VENV := .venv
BIN := $(VENV)/bin
STOCK_VENV := .venv-stock-client
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-input
LOCKED := $(PIP_INSTALL) --no-compile --require-hashes

PYTHON ?= $(shell for candidate in python3.13 python3.12 python3.11 python3; do \
	$$candidate -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1 && echo $$candidate && break; done)
NEED_PYTHON = $(if $(strip $(PYTHON)),,$(error Python 3.11 or newer with venv is needed \
	(Debian: apt-get install python3-venv), or name one: make PYTHON=/path/to/python))

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help demo test lint types contracts stock-client bench migration bundle lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.runtime ## run a complete service with people and data in it; ARGS="--once --dir DIR"
	@$(BIN)/ddsd demo $(ARGS)

ifdef ARGS
test: $(VENV)/.dev ## lint, types, import contracts, all tests; with ARGS="…" only pytest, with these
	$(BIN)/python -m pytest $(ARGS)
else
test: lint types contracts
	$(BIN)/python -m pytest --numprocesses $$($(BIN)/python -c 'import os; print((os.cpu_count() or 2) * 3 // 2)') --dist loadgroup
endif

lint: $(VENV)/.dev ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/python -m mypy
	@MYPYPATH=packaging $(BIN)/python -m mypy packaging/*.py

contracts: $(VENV)/.dev ## who may import whom
	$(BIN)/lint-imports

stock-client: $(STOCK_VENV)/.installed ## the stock `dds` client, in an environment of its own
	@echo 'The stock client talks to the demo (or any ddsd on port 5000 of this machine) with:'
	@echo '  DDS_CLI_ENV=development $(STOCK_VENV)/bin/dds auth login'

bench: $(VENV)/.dev ## the measurements; ARGS goes to them
	$(BIN)/python -m tests.bench $(ARGS)

migration: $(VENV)/.dev ## write the database migration NAME from the tables
	@test -n '$(NAME)' || { echo 'make migration NAME=what_changes' >&2; exit 2; }
	$(BIN)/python -m ddsd.db.autogenerate '$(NAME)'

bundle: $(VENV)/.runtime ## what is installed without a network, into dist: an archive, and packages for Debian
	$(BIN)/python packaging/bundle.py dist
	$(BIN)/python packaging/deb.py dist

lock: ## lock all requirements anew from pyproject.toml; needs uv
	packaging/lock.sh

clean: ## remove everything that was made here, the demo's data too
	rm -rf $(VENV) $(STOCK_VENV) build dist demo-state .pg .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find ddsd ddsctl tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(NEED_PYTHON)
	$(PYTHON) -m venv --clear $(VENV)

# Without the tools of `make test`, which would nearly double the wait of a first `make demo`.
$(VENV)/.runtime: packaging/requirements.txt packaging/requirements-build.txt pyproject.toml | $(BIN)/python
	@echo 'Installing the locked requirements into $(VENV) …'
	@$(BIN)/python $(LOCKED) -r packaging/requirements.txt -r packaging/requirements-build.txt
	@$(BIN)/python $(PIP_INSTALL) --no-index --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: packaging/requirements-dev.txt $(VENV)/.runtime
	@$(BIN)/python $(LOCKED) -r packaging/requirements-dev.txt
	@touch $@

$(STOCK_VENV)/.installed: packaging/requirements-stock-client.txt
	$(NEED_PYTHON)
	$(PYTHON) -m venv --clear $(STOCK_VENV)
	@$(STOCK_VENV)/bin/python $(LOCKED) -r $<
	@touch $@
