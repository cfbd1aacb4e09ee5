# make demo    set up .venv, train and evaluate on built-in data (a few minutes on two cores)
# make test    set up .venv, run the whole test suite
# make cover   the same, and which lines and branches of adbench no test reaches
# make docs    build the documentation into build/site, strictly
# make check   everything that must pass before a commit: format, lint, types, import layers, tests
# make clean   remove .venv and caches (outputs/ and data/ stay)
#
# PYTEST="-k name" passes options on to pytest. PYTHON=python3.12 chooses the interpreter of the environment (3.11 or newer).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test cover fast docs lint types layers check clean

setup: $(STAMP)

# Installed again only when the lock file or the package's metadata change.
$(STAMP): requirements.lock requirements-app.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "adbench: error: the locked versions need Python 3.11 or newer, this is %d.%d: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the $$(grep -c == requirements.lock) packages of requirements.lock; torch with its CUDA libraries is several GB"
	@$(BIN)/python -m pip install --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-app.lock -e .
	@touch $@
	@echo "ready: . $(BIN)/activate"

demo: $(STAMP)
	$(BIN)/python -m adbench demo

# Two processes of one thread each: whole files of tests, so that what a file prepares is prepared once.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST)

cover:
	$(MAKE) test PYTEST="--cov --cov-report=term"

fast:
	$(MAKE) test PYTEST='-m "not slow"'

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "build/site/index.html"

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/python -m pytest -q tests/test_layers.py

check: lint types layers docs test

clean:
	rm -rf $(VENV) .pytest_cache .hypothesis .ruff_cache .mypy_cache .coverage build dist
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
