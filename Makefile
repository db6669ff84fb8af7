# marketing_ops: `make help` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install demo stop reset logs status test lint format bench bench-sync soak lock clean

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Make .venv from the hashed lock, with the command marketing-ops in it

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"Python 3.11 to 3.13 is needed, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@awk '/^uv==/{on=1} on{print} on && !/\\$$/{exit}' requirements.lock > $(VENV)/uv.txt
	@$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(VENV)/uv.txt
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: $(STAMP) ## Run the whole pipeline on this machine: Postgres, sandbox, Airflow, one lived month
	@$(BIN)/python -m demo up $(DEMO_ARGS)

stop: $(STAMP) ## Stop everything the demo started; its data stays
	@$(BIN)/python -m demo stop

reset: $(STAMP) ## Stop the demo and delete its data (.demo/)
	@$(BIN)/python -m demo reset

logs: $(STAMP) ## Follow the logs of the demo's processes
	@$(BIN)/python -m demo logs

status: $(STAMP) ## Say what of the demo runs, and where
	@$(BIN)/python -m demo status

test: $(STAMP) ## Run the tests (starts its own Postgres)
	@$(BIN)/python -m pytest $(TEST_ARGS)

lint: $(STAMP) ## ruff, mypy, sqlfluff, and the users' YAML files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint -q --processes 2 include/sql
	@$(BIN)/marketing-ops lint

format: $(STAMP) ## Let ruff and sqlfluff format the code
	@$(BIN)/ruff check -q --fix . ; $(BIN)/ruff format -q .
	@$(BIN)/sqlfluff fix -q include/sql

bench: $(STAMP) ## Measure the figures the README quotes, beside their peers
	@$(BIN)/python benchmarks/bench_dags.py
	@$(BIN)/python benchmarks/bench_sync.py --only lines --rounds 3 --sandbox
	@$(BIN)/python benchmarks/bench_kpis.py

bench-sync: $(STAMP) ## Measure the sync engine beside dlt, Singer, PyAirbyte and its limits (30 minutes)
	@$(BIN)/python benchmarks/bench_sync.py $(BENCH_ARGS)

soak: $(STAMP) ## 200 seeded random syncs with changes, faults and kills, held against the truth
	@$(BIN)/python -m tests.soak $(SOAK_ARGS)

lock: ## Resolve requirements*.txt anew into requirements.lock
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --custom-compile-command "make lock" requirements-dev.txt -o requirements.lock

clean: ## Delete .venv and every cache (not the demo's data: make reset)
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
