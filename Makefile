# `make demo` and `make test` are all the set-up there is: they create the virtual environment and fill it.

PYTHON ?= python3
VENV ?= .venv
TESTS ?=
# Tests wait for databases, processes and signals, so there is one more of them at once than cores.
WORKERS ?= $(shell $(PYTHON) -c "import os; print(1 + os.cpu_count())")
INPUTS ?= 10000
KILLS ?= 56

OLDEST := .venv-oldest
# The tests of what depends on Python and on other packages.
VERSIONS := (golden or universes or test_task or test_plan or test_cli or regions or translator or test_database or test_bits or test_images or test_wcs or what_comes_after) and not postgresql

BIN := $(VENV)/bin
# Python compiles what is imported; pip would compile everything, which takes half a minute.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --no-compile
# It keeps that, whatever the environment says: tests start hundreds of processes, each of which imports much.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test test-slow test-oldest fuzz fuzz-kills bench lint types docs clean

help:
	@echo "make demo       build a simulated repository and define its visits; go from raw files to visits"
	@echo "make test       run the tests but for the slow ones"
	@echo "make test-slow  run those: processes that are killed, many writers, browser, the pages' commands, Dask, damaged files"
	@echo "make test-oldest  run some tests with the oldest packages that pyproject.toml allows, in $(OLDEST)"
	@echo "make fuzz       read 10,000 damaged files of all formats, in less than half an hour (INPUTS=100000 reads more)"
	@echo "make fuzz-kills  kill what writes, a thousand times"
	@echo "make bench      measure the speed, in half an hour and more"
	@echo "make lint       check the style (ruff) and that imports point down (import-linter)"
	@echo "make types      check the types (mypy)"
	@echo "make docs       build the documentation as a site, in build/docs"
	@echo "make clean      remove what these commands made"
	@echo "PYTHON=python3.13 chooses another Python, VENV=.venv-3.13 another virtual environment,"
	@echo "TESTS='not postgresql' the tests (pytest -k)."

demo: $(VENV)/.installed
	@$(BIN)/python demo/demo.py

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" -k "$(TESTS)"

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m slow -k "$(TESTS)"

test-oldest: $(OLDEST)/.installed
	$(OLDEST)/bin/python -m pytest -n $(WORKERS) --dist worksteal -m "not slow" -k "$(VERSIONS)"

fuzz: $(VENV)/.installed-test
	PYTHONPATH=demo:tests/helpers $(BIN)/python tests/fuzz/run.py $(INPUTS)

fuzz-kills: $(VENV)/.installed-test
	BUTLER_VISITS_KILLS=$(KILLS) $(BIN)/python -m pytest -n $(WORKERS) tests/kills

bench: $(VENV)/.installed-test
	PYTHONPATH=demo:tests $(BIN)/python benchmarks/bench.py

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/mypy

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -q -E -W --keep-going docs build/docs
	@echo "The site is in build/docs/index.html."

clean:
	rm -rf $(VENV) $(OLDEST) demo-repository demo-raws build src/*.egg-info .hypothesis .mypy_cache .pytest_cache .ruff_cache

# A stamp file says what is installed, so that a re-run is quick.
$(VENV)/.created:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created pyproject.toml
	$(PIP) -e ".[demo]"
	@touch $@

$(VENV)/.installed-%: $(VENV)/.created pyproject.toml
	$(PIP) -e ".[$*]"
	@touch $@

# It has what the others have.
$(VENV)/.installed-dev: $(VENV)/.created pyproject.toml
	$(PIP) -e ".[dev]"
	@touch $(addprefix $(VENV)/.installed,"" -docs -test -dev)

# The oldest of what users install; the tests' own tools may be new.
$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install -qq --disable-pip-version-check uv
	$(OLDEST)/bin/uv pip compile -q --only-binary :all: --resolution lowest-direct \
		--extra dask --extra postgres --extra remote --extra report --extra s3 --extra watch $< -o $(OLDEST)/oldest.txt
	VIRTUAL_ENV=$(OLDEST) $(OLDEST)/bin/uv pip install -q -c $(OLDEST)/oldest.txt -e ".[test]"
	@touch $@
