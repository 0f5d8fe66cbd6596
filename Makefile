# What people and machines do with this project. `make help` lists it.

.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: help setup setup-tests run test torture lint format bench smoke lambda screenshots

help: ## list what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(VENV)/.console ## make the virtual environment and .env; install system packages where that is allowed

$(VENV)/.console: requirements.txt deploy/setup
	@PYTHON=$(PYTHON) deploy/setup console

setup-tests: $(VENV)/.tests ## the same with what tests, lint and benchmarks need

$(VENV)/.tests: requirements-dev.txt $(VENV)/.console
	@PYTHON=$(PYTHON) deploy/setup tests

run: setup ## start console, worker and watcher with sample data; prints address and login
	@$(PY) manage.py demo

test: setup-tests ## run the tests: on SQLite, on a MariaDB of their own, and on TEST_MYSQL_URL where it is set
	@$(PY) -m tests

torture: setup-tests ## run the long forms of the counted tests
	@$(PY) -m tests --torture

lint: setup-tests ## check format, style, types, migrations and dependencies between modules
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/mypy migration_console ingest backups lambda_trigger tests benchmarks
	@$(PY) manage.py makemigrations --check --dry-run

format: setup-tests ## put the code into its format
	@$(VENV)/bin/ruff check --fix -q . ; $(VENV)/bin/ruff format -q .

bench: setup-tests ## measure loading beside LOAD DATA, backups beside mariadb-dump, the API beside FastAPI (about twenty minutes)
	@$(PY) -m benchmarks.load
	@$(PY) -m benchmarks.backup
	@$(PY) -m benchmarks.api

lambda: ## build build/lambda_trigger.zip, the same bytes each time, for docs/lambda.md
	@$(PYTHON) deploy/lambda_zip.py build/lambda_trigger.zip

screenshots: setup-tests ## take pictures of every page, of a console with believable data, into docs/screenshots
	@$(PY) -m tests.screenshots

smoke: ## do what a newcomer does: clone into a new folder, make run, look
	@$(PYTHON) tests/smoke.py
