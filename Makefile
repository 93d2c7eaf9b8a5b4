# One vocabulary for people, hooks and CI. Everything happens in .venv, which `make install` makes.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# More processes than cores: a test often waits for its servers. See tests/testkit/scheduling.py.
PARALLEL ?= -n 6 --dist loadscope
DB ?=
COVERED := worker/rules/*,schemas/*
TESTS ?= tests/unit tests/properties
STAMP := $(VENV)/.installed
RUNTIME_VENV := .venv-runtime
COG := $(BIN)/python -m cogapp -I docs -p "import embedded, sql_pages, tables" --verbosity 1
REFERENCE := docs/reference/*.md docs/reference/sql/*.md integrations/github-action/action.yml \
  integrations/gitlab-component/templates/deployment.yml integrations/tekton/task.yaml
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed

# Without the cache of bytecode, each of the many processes that the tests start compiles the worker again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast test-nightly coverage test-crash fuzz audit check format schemas record reference \
  docs lock dist bench clean

help: ## What there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

install: $(STAMP) ## The virtual environment, with all that development needs

$(STAMP): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## A day of CI/CD through a real worker, verified (ARGS=--serve keeps it up)
	$(BIN)/rudder-worker demo $(ARGS)

test: $(STAMP) ## All tests, in parallel; starts the servers that are available (ARGS=… goes to pytest; PARALLEL= for one process)
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

test-fast: $(STAMP) ## The tests that need no server
	$(BIN)/python -m pytest $(PARALLEL) tests/unit tests/properties $(ARGS)

test-nightly: $(STAMP) ## Random search: properties 10 times as long, large tables, 40 fault plans, 1,000 crashes of the database (hours)
	RUDDER_TEST_SEARCH=10 $(BIN)/python -m pytest $(PARALLEL) --timeout 7200 tests/properties tests/unit/schemas \
	  tests/unit/verify/test_pointers.py tests/conformance/test_store_day.py tests/conformance/test_chains.py \
	  tests/conformance/test_batched_loads.py tests/end_to_end/test_foreign_events.py \
	  tests/end_to_end/test_start_and_stop.py $(ARGS)
	RUDDER_TEST_FULL=1 $(BIN)/python -m pytest --timeout 7200 tests/conformance/test_cost.py
	$(BIN)/python -m tests.fault_injection --plans 40 --seed $$(date +%j)00
	$(BIN)/python -m tests.fault_injection.database_crashes --crashes 1000 --seed $$(date +%j)

coverage: $(STAMP) ## Branch coverage by the tests that need no server: all of worker/rules and schemas (TESTS=tests: run all)
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -p tests.testkit.branch_coverage $(PARALLEL) $(TESTS) $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --omit='$(COVERED)'
	$(BIN)/coverage report --show-missing --fail-under=100 --include='$(COVERED)'

test-crash: $(STAMP) ## Seeded fault plans on real servers (ARGS="--plans 200 --seed 0"; one plan again: --plans 1 --seed N)
	$(BIN)/python -m tests.fault_injection $(ARGS)

fuzz: $(STAMP) ## Mutated records through `decode`, ten minutes long (ARGS="--seconds 3600 --seed 1")
	$(BIN)/python -m tests.fuzzing.decode_fuzzer $(ARGS)

check: $(STAMP) ## Format, lint, types, layers, generated files, compatible schemas; known vulnerabilities where they can be asked for
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m schemas.json_schemas --check
	$(BIN)/python -m schemas.asyncapi --check
	$(BIN)/python -m schemas.released --check
	$(COG) --check --diff --check-fail-msg="run make reference" $(REFERENCE)
	.ci/audit --if-reachable

audit: $(STAMP) ## Known vulnerabilities of what is pinned (needs the advisory service)
	.ci/audit

format: $(STAMP) ## Rewrite what `check` would complain of
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schemas: $(STAMP) ## Regenerate schemas/json and schemas/asyncapi.json
	$(BIN)/python -m schemas.json_schemas
	$(BIN)/python -m schemas.asyncapi

record: $(STAMP) ## A step of a release: copy the schemas and examples to schemas/history/<version>
	$(BIN)/python -m schemas.released --record

reference: $(STAMP) ## Regenerate the tables and statements of docs/reference, and the script in integrations/
	$(COG) -r $(REFERENCE)

docs: $(STAMP) ## The documentation site, in docs/_build/html; offline, warnings are errors
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --builder html docs docs/_build/html

lock: ## Pin again, with hashes (needs uv)
	uv pip compile pyproject.toml --all-extras --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -q -o requirements/dev.txt
	uv pip compile pyproject.toml --extra mssql --extra otel --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header --no-annotate -q -o requirements/runtime.txt
	uv pip compile pyproject.toml --all-extras --group bench --universal --python-version 3.11 --generate-hashes \
	  --constraint requirements/dev.txt --no-emit-index-url --no-header --no-annotate -q -o requirements/bench.txt

dist: export SOURCE_DATE_EPOCH = $(shell git log -1 --format=%ct)
dist: $(STAMP) ## dist/: wheel, source archive, SBOM (CycloneDX) and checksums; one commit gives the same bytes each time
	rm -rf dist $(RUNTIME_VENV)
	$(BIN)/python -m hatchling build -t wheel -t sdist
	$(PYTHON) -m venv --without-pip $(RUNTIME_VENV)
	$(BIN)/python -m pip --python $(RUNTIME_VENV)/bin/python install --quiet --disable-pip-version-check \
	  --require-hashes -r requirements/runtime.txt
	version="$$($(BIN)/python -m hatchling version)" \
	  && sed "s/^dynamic = .*/version = \"$$version\"/" pyproject.toml > $(RUNTIME_VENV)/pyproject.toml \
	  && $(BIN)/cyclonedx-py environment --pyproject $(RUNTIME_VENV)/pyproject.toml --output-reproducible \
	    -o "dist/rudder_worker-$$version.cdx.json" $(RUNTIME_VENV)
	cd dist && sha256sum * > SHA256SUMS

bench: $(BENCH_STAMP) ## Against others, on one broker and one PostgreSQL (ARGS=--quick: does it work? DB=mssql: on a TDS server)
	$(BENCH_VENV)/bin/python -m benchmarks $(if $(DB),--db $(DB)) $(ARGS)

$(BENCH_STAMP): requirements/bench.txt pyproject.toml
	$(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	$(BENCH_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean: ## Remove what the targets above made
	rm -rf $(VENV) $(BENCH_VENV) $(RUNTIME_VENV) dist docs/_build demo-output bench-output .cache .pytest_cache \
	  .mypy_cache .ruff_cache .hypothesis .coverage
