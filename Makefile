# The commands of Atrium; `docs/operations.md` and the README say more about each.
SHELL := /bin/bash
ATRIUM_HOME ?= $(CURDIR)/var
export ATRIUM_HOME
# Where an environment forbids it, each process would compile every module anew: seconds at each start.
unexport PYTHONDONTWRITEBYTECODE
PY := .venv/bin/python
# Each has a server and a browser of its own; 0 is one file after the other in a single process.
PAGE_PROCESSES ?= 2
# The test files in which a marker stands: to look through all the others takes seconds of each process.
marked = $(shell grep -rlE 'mark\.($(1))\b' tests --include='test_*.py')

.PHONY: run test test-stacks test-schema test-pages check services-install services services-stop run-production test-services bench bench-routing bench-limits bench-peers test-filters fuzz tools setup setup-dev format

run: setup            ## install, migrate, build, serve on HOST:PORT until Ctrl-C
	@exec $(PY) manage.py serve

setup:
	@deploy/setup.sh run

setup-dev:
	@deploy/setup.sh dev

test: setup-dev       ## the hermetic suite: no services, no outside network
	@ATRIUM_TEST_TOOLS=$(ATRIUM_HOME)/tools $(PY) -m pytest -m "not services and not schema and not pages and not stack and not sweep" -n 3 --dist loadfile

test-stacks: setup-dev ## hermetic too, and slow: whole installations, and sweeps over every operation or row
	@ATRIUM_TEST_TOOLS=$(ATRIUM_HOME)/tools $(PY) -m pytest -m "(stack or sweep) and not services and not schema and not pages" $(call marked,stack|sweep) -n 2 --dist loadfile

tools: setup          ## helm and schemas for the tests of deploy/, once; without them those tests are skipped
	@$(PY) deploy/tools/install.py

test-schema: setup-dev ## the REST API against its schema, as three roles, 20 cases and more an operation
	@$(PY) -m pytest -m schema $(call marked,schema) -n 3

test-pages: setup-dev ## every page of the console in a browser, as four roles; screenshots under ATRIUM_HOME
	@ATRIUM_TEST_SCREENSHOTS=$(ATRIUM_HOME)/screenshots $(PY) -m pytest -m pages tests/console_pages -n $(PAGE_PROCESSES) --dist loadfile

check: setup-dev      ## lint, types, import laws, migrations, deployment settings
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/lint-imports
	@.venv/bin/mypy
	@deploy/check-django.sh

services-install: setup ## what the real services are made of, and starts none: minutes the first time
	@$(PY) deploy/services/services.py install

services: setup       ## the real services on loopback
	@$(PY) deploy/services/services.py start

services-stop:        ## ends what `make services` started
	@$(PY) deploy/services/services.py stop

run-production: setup ## the full profile on loopback over `make services`
	@exec $(PY) deploy/production/run.py

test-services: setup-dev ## the integration suite against the real services
	@deploy/test-services.sh

bench: setup-dev      ## benchmarks: JSON and a table under var/bench
	@$(PY) benchmarks/run.py

bench-routing: setup-dev ## where calls go and when, against other routers' policies, in simulated pools: var/bench/routing
	@PYTHONPATH=.:platform $(PY) -m benchmarks.routing $(ARGS)

bench-limits: setup-dev ## what tenants, keys and limits cost: a part of `make bench`; figures under var/bench
	@$(PY) benchmarks/limits.py $(ARGS)

bench-peers: setup-dev ## beside other gateways, which it installs below ATRIUM_HOME: figures under var/bench
	@PYTHONPATH=.:platform:tests $(PY) -m benchmarks.peers $(ARGS)

test-filters: setup-dev ## takes away each filter between tenants, one at a time: does a test notice? (half an hour and more)
	@PYTHONPATH=tests:platform:. $(PY) tests/mutation/scoped_filters.py $(or $(ARGS),tests/tenants tests/api tests/knowledge tests/assistants tests/console tests/inference tests/substrate tests/routing)

fuzz: setup-dev       ## long fuzz runs: figures under var/fuzz
	@PYTHONPATH=tests:platform:. $(PY) tests/fuzz/run.py

format:
	@.venv/bin/ruff format .
	@.venv/bin/ruff check --fix .
