# One verb, one command. Each makes the virtual environment the first time; PYTHON picks the interpreter it is made with.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STORE ?= store

.PHONY: demo test lint bench long linux clean

$(READY): setup.cfg setup.py pyproject.toml $(wildcard checkers/linearizability/*.pyx checkers/linearizability/*.hpp)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "themis needs Python 3.11 or newer; PYTHON=$(PYTHON) is older: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/python -m harness.demo --store $(STORE)

test: $(READY)
	$(BIN)/python -m pytest -m 'not long and not linux'

# Minutes each; .ci/run runs them.
long: $(READY)
	$(BIN)/python -m pytest -m 'long and not linux' --timeout 1800

# Namespaces, containers and SSH machines for real: root, and what .ci/linux-setup installs and starts.
linux: $(READY)
	$(BIN)/python -m pytest -m 'linux' --timeout 1800

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m harness.bench

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f checkers/linearizability/*.so checkers/linearizability/*.cpp
