# `make demo` and `make test` are all that a new user needs; each installs first when it has to.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
HASHED := $(PIP) --require-hashes --no-deps --no-build-isolation

.PHONY: install demo test lint coverage docs audit lock image clean

install: $(INSTALLED)

# Every file is checked against its hash but torch's, see cluster/torch.txt; where that is built for CUDA, `pip check`
# misses what cuda.txt has.
$(INSTALLED): pyproject.toml requirements.txt cluster/build.txt cluster/torch.txt cluster/cuda.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(HASHED) --requirement cluster/build.txt
	$(HASHED) --requirement requirements.txt
	$(PIP) --no-deps --requirement cluster/torch.txt
	$(BIN)/python -m pip check >/dev/null || $(HASHED) --requirement cluster/cuda.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/python -m metta_sweep run sweep_name=demo sweep=quick

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses 3 --no-loadscope-reorder

coverage: $(INSTALLED)
	$(BIN)/python -m pytest --numprocesses 3 --no-loadscope-reorder --cov --cov-report=json
	$(BIN)/python -m tests.branches coverage.json

# build/site/index.html; what mkdocs warns of, such as a dead link, ends it.
docs: $(INSTALLED)
	test -x .venv-docs/bin/python || $(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
		--requirement docs.txt
	$(BIN)/python -m tests.docs.reference build/docs
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet --clean

# Known holes in what is pinned; needs the network, and says so when it has none.
audit:
	test -x .venv-audit/bin/python || $(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps --requirement audit.txt
	.venv-audit/bin/python .ci/audit.py requirements.txt cluster/cuda.txt cluster/torch.txt audit.txt docs.txt

# Pins anew what pyproject.toml asks for; needs uv.
lock:
	$(PYTHON) .ci/lock.py

# IMAGE=name/metta_sweep:2.60.0-py311
image:
	cluster/build_image.sh $(IMAGE)

clean:
	rm -rf .venv .venv-audit .venv-docs build dist *.egg-info .coverage coverage.json
