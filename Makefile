# Two commands are all a fresh machine needs: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Small steps on many threads are many times slower on busy cores than on one.
export OMP_NUM_THREADS ?= 1

.PHONY: demo sweep test test-long test-slow test-deploy test-browser docs lint format bench clean

demo: $(VENV)/.installed ## train on the embedded gallery, attack the run, write its report
	$(BIN)/fedstyle demo

sweep: $(VENV)/.installed ## privacy against utility, 36 cells
	$(BIN)/fedstyle sweep configs/tradeoff.toml

test: $(VENV)/.installed-dev lint ## lint, types, tests and the examples in docstrings
	$(BIN)/python -m pytest --doctest-modules --doctest-ignore-import-errors attacks fedstyle_secure
	$(BIN)/python -m pytest -n 2

test-long: $(VENV)/.installed-dev ## whole runs, audits and sweeps, killed and resumed; a landing must pass these too
	$(BIN)/python -m pytest -n 2 -m 'long and not slow and not browser and not deploy'

test-slow: $(VENV)/.installed-dev ## the longer checks
	$(BIN)/python -m pytest -n 2 -m slow

test-deploy: $(VENV)/.installed-dev ## a federation of processes with TLS, hidden from each other, some of them killed
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m deploy tests/sites

test-browser: $(VENV)/.installed-dev ## the report in a browser; needs Chromium (Debian: apt install chromium)
	$(BIN)/python -m pytest -m browser tests/browser

docs: $(VENV)/.installed-dev ## the documentation as a site in site/; nothing is fetched to build or to read it
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-dev ## every benchmark prints JSON lines
	for f in benchmarks/*.py; do $(BIN)/python $$f || exit 1; done

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $(VENV)/.installed $@

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
