# `make demo` and `make test` are all that a new user needs; each installs first when it has to.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: install demo test lint coverage clean

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python -m metta_sweep run sweep_name=demo sweep=quick

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses 2

coverage: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 2 --cov --cov-report=json
	$(BIN)/python -m tests.branches coverage.json

clean:
	rm -rf .venv build dist *.egg-info .coverage coverage.json
