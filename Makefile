# make demo    install, and run the whole job on the embedded scene
# make test    install, and run the tests
# make help    the rest

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
DOCS_INSTALLED := $(VENV)/.docs-installed
OUT ?= demo-output

export OMP_NUM_THREADS ?= 1

.PHONY: help demo test test-slow lint types format docs notebooks bench clean

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "xrs needs Python 3.11 or later; set PYTHON=python3.x"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,plot]'
	@touch $@

$(DOCS_INSTALLED): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

demo: $(INSTALLED)  ## run the whole job on the embedded scene
	$(BIN)/xrs demo $(OUT)

test: $(INSTALLED)  ## run the tests, the long ones left out
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow"

test-slow: $(INSTALLED)  ## run the long tests
	$(BIN)/python -m pytest -m slow

lint: $(INSTALLED)  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## check types
	$(BIN)/mypy

format: $(INSTALLED)  ## mend style where a tool can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_INSTALLED)  ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

bench: $(INSTALLED)  ## print the benchmark tables
	$(BIN)/python -m benchmarks

clean:  ## remove what was built
	rm -rf $(VENV) build dist docs/_build $(OUT) *.egg-info
