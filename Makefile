# make demo    environment, install, the demo; says where its report is
# make test    environment, install, lint, docs, all tests
# make lint    ruff, mypy, and whether every process collects the same tests
# make docs    draws the picture of the floors again, and builds the site, docs/_build/index.html; a warning is an error
# make versions    the fast tests of the core on Python 3.11, 3.12 and 3.13, as far as they are installed
# make clean   removes the environment and what tools leave behind

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# on all processors, where pip takes one, and without the tests of other packages; some hold files for Python 2
COMPILE := $(BIN)/python -m compileall -qq --workers=0 -x '/tests?/' $(VENV)/lib
# a test file stays in one process, so that what it makes once is made once; tests/conftest.py says which come first
PYTEST_FLAGS ?= -n auto --dist loadfile --no-loadscope-reorder

# the many processes that tests start compile saeviz and its tests once, and not each for itself
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test lint format docs versions clean

demo: $(INSTALLED)
	$(BIN)/saeviz demo

# lint and docs do not depend on one another
test: $(INSTALLED)
	$(MAKE) --jobs=2 lint docs
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PYTEST_FLAGS)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy saeviz plugins/*
	$(BIN)/python tests/collect_twice.py

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(INSTALLED)
	$(BIN)/python -m docs.floors
	$(BIN)/python -m docs.contents
	$(BIN)/python -m sphinx -q -W --keep-going -d docs/_build/.doctrees docs docs/_build

versions:
	tests/on_versions

$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "saeviz needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	$(COMPILE) || true
	touch $@

clean:
	rm -rf $(VENV) .venv-3.* .mypy_cache .ruff_cache .pytest_cache dist docs/_build docs/reference/generated
