# The first minute: `make demo`. Everything else: `make help`. Nothing is needed but Python 3.11 or newer, pip and make.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
BIN := $(VENV)/bin
DEMO_DATA ?= .demo
DATA ?= .modelwright
PORT ?= 8000
WORKERS ?= 3
CASES ?= 10000
SEED ?= 1
MINUTES ?= 0

.PHONY: help install demo up test check format bench fuzz-http openapi chaos test-gpu clean

help:  ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(VENV)/.installed  ## Create the environment in .venv (quick when nothing changed)

$(VENV)/.installed: pyproject.toml scripts/install
	@scripts/install $(VENV)

demo: install  ## Train a small network on real data with a service of its own, from nothing to weights
	@$(BIN)/modelwright up --data $(DEMO_DATA) --port 0 -- $(BIN)/python examples/digits_mlp.py

up: install  ## Run the service on this machine until Ctrl-C
	@$(BIN)/modelwright up --data $(DATA) --port $(PORT)

# Three on two processors: one of them mostly waits, for a lease to run out or a server to start.
test: install  ## Run the tests in WORKERS processes (minutes; without the long fault lane and without a GPU)
	@$(BIN)/python -m pytest -m "not chaos and not gpu" -n $(WORKERS) --dist worksteal

check: install  ## Lint, format, types, import contracts, source audits
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest tests/audit

format: install  ## Format the source and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install  ## Run every benchmark (BENCH=name for one)
	@$(BIN)/python -m benchmarks $(BENCH)

fuzz-http: install  ## Send ten thousand requests made from the OpenAPI document to a real API (CASES, SEED, MINUTES)
	@$(BIN)/python -m tests.api.fuzz_http --cases $(CASES) --seed $(SEED) --minutes $(MINUTES)

openapi: install  ## Accept the OpenAPI document as it is now (docs/openapi.json, which a test compares)
	@$(BIN)/python -m tests.api.openapi_snapshot

chaos: install  ## Run the long fault-injection tests
	@$(BIN)/python -m pytest -m chaos

test-gpu: install  ## Run the tests that need a CUDA device
	@$(BIN)/python -m pytest -m gpu

clean:  ## Remove caches and the demo's data (not .venv, not .modelwright)
	@rm -rf $(DEMO_DATA) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
