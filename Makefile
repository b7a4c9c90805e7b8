# Everything a person types. `make help` lists the targets.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV := .venv
PYTHON := $(VENV)/bin/python
UV_VERSION := 0.13.9
STACK := $(PYTHON) -m vision_batch.demo
# A folder of your own pictures, for `make demo` and `make real`.
IMAGES ?=
# For `make fuzz`: how long, and where chance begins.
SECONDS ?= 600
SEED ?= 0
# For `make explore`: how often.
ROUNDS ?= 20
# For `make oracle`: a Python with the extra "oracle", which is large and stays out of the lock files.
ORACLE_PYTHON ?= $(PYTHON)
# For `make bench`: which; all of them take half an hour.
BENCHMARKS ?= $(filter-out benchmarks/targets.py,$(wildcard benchmarks/*.py))
# Further words for pytest, such as TESTS="-k join".
TESTS ?=
images_option = $(if $(IMAGES),--images "$(IMAGES)")

.PHONY: help install install-dev demo real up down env test test-all test-clickhouse test-cluster screenshots browser crash-matrix backfill-year schema lint format bench explore fuzz oracle lock clean

help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make the virtual environment and install what the project runs on

install-dev: $(VENV)/.installed-dev ## Also install what the tests and linters need

demo: $(VENV)/.installed ## Ask about seven days of pictures against the emulator (IMAGES=folder: your own pictures)
	@$(STACK) run $(images_option)

real: $(VENV)/.installed ## Ask about IMAGES=folder at the real service; needs AI_STUDIO_API_KEY and AI_STUDIO_FOLDER_ID
	@$(STACK) real $(images_option)

up: $(VENV)/.installed ## Start the demo's Airflow with its UI, until Ctrl-C or `make down`
	@$(STACK) up

down: ## End what `make up` or an interrupted demo has started
	@if [ -e $(VENV)/.installed ]; then $(STACK) down; else echo "Nothing is installed, so nothing runs."; fi

env: ## Make .env for docker-compose.yml, with new secrets (needs python3 only)
	@python3 deploy/make_env.py

test: $(VENV)/.installed-dev ## Run the tests that take less than a minute each
	$(PYTHON) -m pytest -m "not slow and not clickhouse and not cluster" -n 2 $(TESTS)

test-all: $(VENV)/.installed-dev lint browser ## Run the linters and all tests
	$(PYTHON) -m pytest -m "not clickhouse and not cluster" -n 2 --ignore tests/integration $(TESTS)
	$(PYTHON) -m pytest -n 2 --dist loadfile tests/integration $(TESTS)

screenshots: $(VENV)/.installed-dev browser ## Make the pictures of docs/images from a real Airflow
	SCREENSHOTS=docs/images $(PYTHON) -m pytest --basetemp /tmp/vision-batch tests/integration/test_stack_browser.py $(TESTS)

browser: $(VENV)/.installed-dev ## Install Chromium where there is none: Debian's as root, else Playwright's own
	@if command -v chromium chromium-browser google-chrome >/dev/null; then exit 0; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium fonts-dejavu-core >/dev/null; \
	else $(VENV)/bin/playwright install chromium; fi

test-clickhouse: $(VENV)/.installed-dev var/clickhouse/.installed ## Run the warehouse's tests on ClickHouse's engine (it has half a gigabyte)
	$(PYTHON) -m pytest -m clickhouse tests/warehouse $(TESTS)

test-cluster: $(VENV)/.installed-dev var/redis/.installed ## Run a backfill on two Celery workers over S3, kill them, see that all is there once
	$(PYTHON) -m pytest -m cluster -rP tests/cluster tests/compose $(TESTS)

crash-matrix: $(VENV)/.installed-dev ## Kill runs at every point, go on in every way, print what was paid
	$(PYTHON) -m pytest -q -n 2 tests/crash/test_matrix.py

backfill-year: $(VENV)/.installed-dev ## Backfill a year of small days in a real Airflow, and print the jobs it took (about half an hour)
	BACKFILL_DAYS=365 $(PYTHON) -m pytest -s tests/integration/test_stack_history.py

schema: $(VENV)/.installed ## Write the JSON Schema by which editors know declarations
	$(PYTHON) -m vision_batch.enrichment.editor docs/declarations.md > include/enrichment.schema.json

lint: $(VENV)/.installed-dev ## Check style, format, types and the declarations
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PYTHON) -m mypy
	$(VENV)/bin/vision-batch check

format: $(VENV)/.installed-dev ## Format the code
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

bench: $(VENV)/.installed-dev ## Run the benchmarks; fails in the end if one has missed a target
	@missed=; for script in $(BENCHMARKS); do echo "== $$script"; $(PYTHON) "$$script" || missed="$$missed $$script"; done; \
	if [ -n "$$missed" ]; then echo "Not all targets were reached, or it broke:$$missed" >&2; exit 1; fi

explore: $(VENV)/.installed-dev ## Try the property tests on new random examples (ROUNDS=20)
	for round in $$(seq $(ROUNDS)); do $(PYTHON) -m pytest -q --hypothesis-profile exploring -n 2 tests/property $(TESTS); done

fuzz: $(VENV)/.installed-dev ## Prepare mutated pictures for 10 minutes (SECONDS=600 SEED=0)
	$(PYTHON) tests/images/fuzz_images.py --seconds $(SECONDS) --seed $(SEED)

oracle: $(VENV)/.installed-dev ## Compare image token counts with the real processors (extra "oracle", see CONTRIBUTING.md)
	PYTHONPATH=plugins $(ORACLE_PYTHON) tests/images/oracle_images.py

lock: $(VENV)/.uv ## Compile requirements*.in into requirements*.txt, with hashes
	$(compile) requirements.in -o requirements.txt
	$(compile) requirements-dev.in -c requirements.txt -o requirements-dev.txt
	$(compile) requirements-cluster.in -c requirements-dev.txt -o requirements-cluster.txt
	$(compile) requirements-clickhouse.in -c requirements-dev.txt -o requirements-clickhouse.txt

# A server of one wheel, beside the virtual environment: only the cluster test needs it.
var/redis/.installed: requirements-cluster.txt | $(VENV)/bin/python
	@rm -rf $(@D)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --target $(@D) -r $<
	@touch $@

clean: down ## End the stack; remove var/ and caches (the virtual environment stays)
	rm -rf var .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

# The lock must not hold the address of an index or a folder of this machine, hence no header, no annotations and no configuration.
compile = env -u PIP_FIND_LINKS PIP_CONFIG_FILE=/dev/null $(VENV)/bin/uv pip compile --quiet --no-config \
	--universal --python-version 3.11 --generate-hashes --no-header --no-annotate

# uv when it is there and can, else pip. Byte-code is compiled once here, because every one of Airflow's processes would wait for it.
define install_locked
	@{ [ -x $(VENV)/bin/uv ] \
	  && $(VENV)/bin/uv pip install --quiet --python $(PYTHON) --compile-bytecode --require-hashes -r $(1); } \
	  || $(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endef

$(VENV)/bin/python:
	@for python in python3.11 python3 python3.12 python3.13; do \
	  if $$python -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
	    echo "Making $(VENV) with $$($$python --version)"; exec $$python -m venv $(VENV); \
	  fi; \
	done; \
	echo "Python 3.11 to 3.13 with its venv module was not found (Debian, Ubuntu: apt install python3-venv)." >&2; exit 1

$(VENV)/.uv: | $(VENV)/bin/python
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) \
	  || echo "uv $(UV_VERSION) could not be installed; pip does the work, only slower."
	@touch $@

$(VENV)/.installed: requirements.txt pyproject.toml | $(VENV)/.uv
	@echo "Installing the packages of requirements.txt"
	$(call install_locked,requirements.txt)
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the packages of requirements-dev.txt"
	$(call install_locked,requirements-dev.txt)
	@touch $@

# Beside the virtual environment: Airflow behaves differently where pandas is installed.
var/clickhouse/.installed: requirements-clickhouse.txt | $(VENV)/bin/python
	@rm -rf $(@D)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes --target $(@D) -r $<
	@touch $@
