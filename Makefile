# Everything a contributor runs. Needs make and Python 3.11 or newer; uv is used when it is there.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup demo up test quick check format bench chaos lock clean

BIN := .venv/bin
READY := .venv/.ready
# Which Python makes .venv; empty: the first that is new enough.
PYTHON ?=
ARGS ?=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Goes through PATH by hand, because the first `python3` there may be too old, a
# version manager's stand-in that runs nothing, or one without the venv module.
define find_python
found='$(PYTHON)'; IFS=:; \
for name in python3.13 python3.12 python3.11 python3 python; do for folder in $$PATH; do \
  if [ -z "$$found" ] && [ -x "$$folder/$$name" ] && "$$folder/$$name" -c \
    'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
  then found="$$folder/$$name"; fi; \
done; done; unset IFS; \
if [ -z "$$found" ]; then \
  echo 'There is no Python 3.11 or newer with the venv module on PATH. Install one (on Debian also' >&2; \
  echo 'python3-venv) or uv, or name it: make setup PYTHON=/path/to/python3' >&2; exit 1; \
fi
endef

# Whether .venv is there, whole, and new enough: what is gets repaired, not made anew.
define is_venv
$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
endef

help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo '  ARGS="..." is handed on by demo, up, test, quick, bench and chaos.'

setup: $(READY) ## put what the lock pins into .venv (the other targets do it when needed)

define setup_with_uv
command -v uv >/dev/null 2>&1 && \
{ $(is_venv) || uv venv --quiet --clear --python '$(or $(PYTHON),>=3.11)' .venv; } && \
uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock && \
uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
endef

define setup_with_pip
{ $(is_venv) && $(BIN)/python -m ensurepip >/dev/null 2>&1; } || \
{ $(find_python); echo "Making .venv with $$found"; "$$found" -m venv --clear .venv; } && \
echo 'Filling .venv; once, for about half a minute.' && \
$(PIP) --require-hashes -r requirements.lock && \
$(PIP) --no-deps --no-build-isolation -e .
endef

# The hash of every package is checked. The stamp's age says whether there is something to do.
$(READY): requirements.lock pyproject.toml
	@{ $(setup_with_uv); } || { $(setup_with_pip); }
	@touch $@

demo: $(READY) ## run a worker, the emulator and a few jobs, all on this machine; ends by itself
	$(BIN)/runware-jobs demo $(ARGS)

up: $(READY) ## the same, and stays until Ctrl+C; the real platform when RUNWARE_API_KEY is set
	$(BIN)/runware-jobs up $(ARGS)

test: $(READY) ## run all tests, against embedded Postgres and Redis or those of RUNWARE_JOBS_DATABASE_URL and _BROKER_URL
	$(BIN)/pytest $(ARGS)

quick: $(READY) ## run the tests that need no other processes
	$(BIN)/pytest -m 'not slow' $(ARGS)

check: $(READY) ## format, lint, types, import directions, and the tests of rules and layout
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q tests/unit tests/layout

format: $(READY) ## rewrite the code in our format, and fix what ruff can fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## measure side by side with what one would use instead; WHAT=engine, enqueue, delivery, live, claims, resting, client or emulator
	$(BIN)/python -m benchmarks.$(or $(WHAT),enqueue) $(ARGS)

chaos: $(READY) ## kill workers, brokers and databases in seeded runs, and compare the books; ARGS="CHAOS_RUNS=200"
	env $(ARGS) $(BIN)/python -m tests.chaos

lock: ## resolve the dependencies anew into requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-header --no-emit-index-url --no-emit-find-links --quiet -o requirements.lock

clean: ## remove .venv, caches and build results; the jobs in .runware-jobs stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
