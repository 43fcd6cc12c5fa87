# Headrace: `make` lists the verbs. Each makes what it needs; all that is made lies in .venv and .headrace.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first Python that is new enough and can make a virtual environment; PYTHON=… names another one.
NEW_ENOUGH := import sys, ensurepip; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	"$$p" -c '$(NEW_ENOUGH)' 2>/dev/null && { echo "$$p"; break; }; done)
VENV := $(CURDIR)/.venv
INSTALLED := $(VENV)/installed
PY := $(VENV)/bin/python

export PATH := $(VENV)/bin:$(PATH)

.PHONY: help
help: ## list the verbs
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

.PHONY: run
run: $(INSTALLED) broker ## start Headrace on this machine: Redis, broker, all processes, an example and its messages
	@HEADRACE_LOG__RUNS=$${HEADRACE_LOG__RUNS:-true} honcho start || { s=$$?; test $$s = 130 || exit $$s; } # Ctrl-C is no error

.PHONY: test
test: $(INSTALLED) broker browser wmill ## run all tests; ARGS="tests/unit -k lease" for some of them
	@$(PY) -m pytest -n 2 --dist loadfile $(ARGS)

.PHONY: check
check: $(INSTALLED) docs-check ## lint, format, types, imports between packages, generated pages
	@echo "ruff check"; ruff check --quiet .
	@echo "ruff format"; ruff format --quiet --check .
	@echo "lint-imports"; lint-imports --no-logo >.venv/lint-imports.log || { cat .venv/lint-imports.log; exit 1; }
	@echo "mypy"; mypy

.PHONY: docs-check
docs-check: $(INSTALLED)
	@echo "generated pages"; $(PY) -m shared.docs --check

.PHONY: docs
docs: $(INSTALLED) ## write the pages that are generated from the code
	@$(PY) -m shared.docs

.PHONY: bench
bench: $(INSTALLED) broker ## measure throughput and latency on this machine
	@$(PY) -m bench $(ARGS)

.PHONY: clean
clean: ## remove what make made; the data in .headrace stays
	rm -rf .venv dist build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

.PHONY: broker
broker: $(INSTALLED)
	@.ci/get_mosquitto $(VENV)/mosquitto

.PHONY: browser
browser: $(INSTALLED)
	@.ci/get_chromium $(VENV)/chromium.log

.PHONY: wmill
wmill: $(INSTALLED)
	@.ci/get_wmill $(VENV)/wmill

.venv: $(INSTALLED)

$(INSTALLED): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later with venv is needed (Debian: apt-get install python3-venv)"; exit 1; }
	@echo "installing into .venv with $$("$(PYTHON)" --version); the first time takes about a minute"
	@test -x $(PY) || "$(PYTHON)" -m venv $(VENV)
	@uv pip install --quiet --python $(PY) --editable '.[dev]' 2>/dev/null \
		|| $(PY) -m pip install -qq --disable-pip-version-check --editable '.[dev]'
	@touch $@
