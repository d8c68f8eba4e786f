# The two commands of the README are `make demo` and `make test`; both set up all they need in .venv.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip
STUDIO := $(shell find web -path web/node_modules -prune -o -type f -print 2>/dev/null)
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test test-frameworks check fix bench bench-peers wire clean help

help:
	@echo "make demo    train a network on the Iris flowers and watch it in the Studio (ARGS='--hidden 8 8')"
	@echo "make test    the tests of the package and of the Studio"
	@echo "make test-frameworks   the same with every training framework installed: Keras, JAX, Lightning, ..."
	@echo "make check   lint, types, generated files"
	@echo "make fix     format, and mend what the linters can mend"
	@echo "make wire    regenerate web/src/wire from the Python documents"
	@echo "make bench   measure, beside targets and peers"
	@echo "make bench-peers   measure recording beside other trackers, which are installed apart"

demo: $(VENV)/.demo
	$(BIN)/epochal demo iris $(ARGS)

test: $(VENV)/.dev web/node_modules/.ready
	cd web && npm run --silent test
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

test-frameworks: $(VENV)/.frameworks
	$(BIN)/python -m pytest $(or $(ARGS),tests/frameworks tests/dropin tests/examples tests/lens)

check: $(VENV)/.dev web/node_modules/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	cd web && npm run --silent lint && npm run --silent check
	$(BIN)/python -m epochal.server.openapi --check web/src/wire/openapi.json
	cd web && npm run --silent types -- --check

fix: $(VENV)/.dev web/node_modules/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	cd web && npm run --silent format

wire: $(VENV)/.dev web/node_modules/.ready
	$(BIN)/python -m epochal.server.openapi web/src/wire/openapi.json
	cd web && npm run --silent types

bench: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt ".[bench]"
	$(BIN)/python -m bench

# The trackers want other versions of shared libraries than ours, so they live in an environment of their own.
bench-peers: $(VENV)/.demo
	test -x .venv-peers/bin/python || $(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install -q torch==$$($(BIN)/python -c "import torch; print(torch.__version__.split('+')[0])") -e ".[peers]"
	OPENBLAS_NUM_THREADS=1 .venv-peers/bin/python -m bench.record.peers.run $(ARGS)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -U "pip>=24.2"

# Installing builds the Studio; the stamp falls behind whenever anything of the Studio changes.
$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt hatch_build.py $(STUDIO)
	$(PIP) install -q -c constraints.txt -e ".[torch,sklearn,video]"
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(PIP) install -q -c constraints.txt -e ".[torch,sklearn,video,dev]"
	@touch $@

$(VENV)/.frameworks: $(VENV)/.dev
	$(PIP) install -q -c constraints.txt -e ".[frameworks]"
	@touch $@

web/node_modules/.ready: $(VENV)/.dev web/package-lock.json
	cd web && npm ci --no-audit --no-fund --ignore-scripts --silent
	@touch $@

clean:
	rm -rf $(VENV) .venv-peers web/node_modules src/epochal/studio build dist .mypy_cache .ruff_cache .pytest_cache
