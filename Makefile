# Everything starts from a bare checkout: Python 3.11+ and make. The first run fills .venv, later runs need no network.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)

VENV  := .venv
ifeq ($(OS),Windows_NT)
BIN   := $(VENV)/Scripts
else
BIN   := $(VENV)/bin
endif
READY := $(VENV)/.ready

.PHONY: help demo test lint docs bench clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    watch a windowed word count survive a kill (about a minute)"
	@echo "make test    the test suite"
	@echo "make lint    ruff and strict mypy"
	@echo "make docs    regenerate docs/configuration.md"
	@echo "make bench   the benchmarks; beside real Spark if RUNNEL_SPARK_PYTHON names a Python that has it"
	@echo "make clean   remove what the other targets made"

# Several steps, so that an interrupted first run starts over instead of leaving half an environment.
$(READY): pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python 3.11 or newer found; set PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || test -x $(BIN)/python.exe || $(PYTHON) -m venv $(VENV) || \
		{ echo "Could not create $(VENV); on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@echo "Installing Runnel and its tools into $(VENV) (once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable . --group dev
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python demo/demo.py

test: $(READY)
	@$(BIN)/python -m pytest $(ARGS)

lint: $(READY)
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy

docs: $(READY)
	@$(BIN)/python docs/configuration.py

bench: $(READY)
	@$(BIN)/python benchmarks/run.py $(ARGS)

clean:
	rm -rf $(VENV) .venv-spark .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist benchmarks/.work
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
