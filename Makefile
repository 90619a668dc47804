# Each target sets up what it needs; a stamp in .venv says what is installed, so that a second run
# installs nothing. Another Python: make demo PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
CHROMIUM := /usr/bin/chromium
PYTEST := $(BIN)/python -m pytest
# Two processes; each takes whole files, so that what a file shares is made once.
TEST := $(PYTEST) --numprocesses=2 --dist=loadfile --durations=15
BENCHMARKS := $(subst /,.,$(basename $(wildcard backtests/speed/bench_*.py)))

# Spinning barriers of OpenMP cost up to 30 times on a shared machine.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo review study bench test lint check clean
.NOTPARALLEL:

help:
	@echo "make demo     run the whole loop on bundled data with the simulated desk, into runs/demo"
	@echo "make review   open the dashboard on runs/desk, where people answer proposals"
	@echo "make study    what answers buy, what else is mixed into training, walk-forward on real prices"
	@echo "make bench    every speed ratio"
	@echo "make test     every test (browser tests need Chromium; root gets it through apt)"
	@echo "make lint     ruff, mypy and the import contracts"
	@echo "make check    lint, then test: what CI runs"
	@echo "make clean    remove .venv, caches and builds; runs/ and .env stay"

# --- what is installed ---

PACKAGE := .venv/.package
WITH_BENCH := .venv/.package-bench
WITH_DEV := .venv/.package-dev-bench
WITH_PEERS := .venv/.package-bench-peers

INSTALL = @echo "Installing $(WHAT) into .venv (a first time takes some minutes)"; \
	$(BIN)/python -m pip install -qq --no-input --disable-pip-version-check --editable "$(WHAT)"

$(PACKAGE): WHAT := .
$(WITH_BENCH): WHAT := .[bench]
$(WITH_DEV): WHAT := .[dev,bench]
$(WITH_PEERS): WHAT := .[bench,peers]

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed, but $(PYTHON) is: $$($(PYTHON) --version 2>&1);" \
			"name a newer one, as in: make demo PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv .venv
	@touch $@

$(PACKAGE): .venv/.python pyproject.toml
	$(INSTALL)
	@touch $@

$(WITH_BENCH): .venv/.python pyproject.toml
	$(INSTALL)
	@touch $(PACKAGE) $@

$(WITH_PEERS): .venv/.python pyproject.toml
	$(INSTALL)
	@touch $(PACKAGE) $(WITH_BENCH) $@

$(WITH_DEV): .venv/.python pyproject.toml
	$(INSTALL)
	@touch $(PACKAGE) $(WITH_BENCH) $@

$(CHROMIUM):
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends chromium

# --- the loop ---

demo: $(PACKAGE)
	$(BIN)/trading-rlhf demo --run runs/demo

review: $(PACKAGE) runs/demo/summary.json
	$(BIN)/trading-rlhf review --run runs/desk

runs/demo/summary.json: | $(PACKAGE)
	$(BIN)/trading-rlhf demo --run runs/demo

study: $(WITH_BENCH)
	$(BIN)/python -m backtests.run_label_efficiency
	$(BIN)/python -m backtests.run_mixing
	$(BIN)/python -m backtests.run_walk_forward

bench: $(WITH_PEERS)
	@set -e; for name in $(BENCHMARKS); do $(BIN)/python -m $$name --json; done

# --- checks ---

test: $(WITH_DEV)
	@if [ ! -x $(CHROMIUM) ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		$(MAKE) --no-print-directory $(CHROMIUM) || echo "apt could not install Chromium."; fi
	@if [ -x $(CHROMIUM) ]; then $(TEST); else \
		echo "No $(CHROMIUM), so these browser tests are left out:"; \
		$(PYTEST) --collect-only -q -m browser | sed -n '/::/s/^/  /p'; \
		$(TEST) -m "not browser"; fi

lint: $(WITH_DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './runs/*' -prune -exec rm -rf {} +
