PORT ?= 8000
PYTHON ?= python3
ARGS ?=
BIN = .venv/bin
COMPILE = $(BIN)/pip-compile --quiet --strip-extras --allow-unsafe --no-header --no-emit-options --no-emit-index-url --no-emit-find-links --no-emit-trusted-host
CODE = models training service tests $(wildcard benchmarks)

.PHONY: serve dev test check format train bench lock clean

serve: .venv/runtime.stamp ## serve the bundles of bundles/ at http://127.0.0.1:$(PORT)
	LIKELY_PORT=$(PORT) $(BIN)/python -m service

dev: .venv/dev.stamp ## what training, tests and checks need beside the service

test: .venv/dev.stamp ## all tests that need no GPU; ARGS="-k name" narrows, ARGS="-n 0" debugs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

check: .venv/dev.stamp ## lint, format and types, as CI and pre-commit do
	$(BIN)/ruff check $(CODE) && $(BIN)/ruff format --check $(CODE) && $(BIN)/mypy $(CODE)

format: .venv/dev.stamp ## mend what can be mended by a machine
	$(BIN)/ruff check --fix --exit-zero $(CODE) && $(BIN)/ruff format $(CODE)

train: .venv/dev.stamp ## make RECIPE=name train: a bundle from a recipe
	$(BIN)/python -m training $(RECIPE) $(ARGS)

bench: .venv/dev.stamp ## measurements side by side
	$(BIN)/python -m benchmarks $(ARGS)

lock: .venv/dev.stamp ## both lock files from pyproject.toml; ARGS=--upgrade moves the versions
	$(COMPILE) $(ARGS) -o requirements.lock pyproject.toml && sed -i.bak 's/+cpu$$//' requirements.lock
	$(COMPILE) $(ARGS) --extra train --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml && sed -i.bak 's/+cpu$$//' requirements-dev.lock
	rm -f requirements.lock.bak requirements-dev.lock.bak

clean: ## remove the environment and all caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/runtime.stamp: requirements.lock
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock && touch $@

.venv/dev.stamp: requirements-dev.lock .venv/runtime.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.lock && touch $@
