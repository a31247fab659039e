# One verb, one command. Each makes the virtual environment the first time; PYTHON picks the interpreter it is made with.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
STORE ?= store
# Processes that tests are spread over, where they do not share a machine's kernel or clocks: one more than processors, for some
# tests wait. WORKERS=0: one after another.
WORKERS ?= $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
# More of pytest's arguments: make test PYTEST_ARGS='--durations 20'.
PYTEST_ARGS ?=
# Without byte code every process of the tests would compile everything again.
unexport PYTHONDONTWRITEBYTECODE
PYTEST = $(BIN)/python -m pytest $(PYTEST_ARGS)
SPREAD = --numprocesses $(WORKERS) --maxprocesses 8 --dist loadgroup

.PHONY: demo test lint bench long long-compute long-real linux browser soak clean

$(READY): setup.cfg setup.py pyproject.toml $(wildcard $(foreach kind,pyx pxd hpp,checkers/linearizability/*.$(kind) checkers/linearizability/*/*.$(kind) checkers/transactions/*.$(kind) checkers/causal/*.$(kind)))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "themis needs Python 3.11 or newer; PYTHON=$(PYTHON) is older: make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip setuptools wheel
	PYTHONWARNINGS='ignore:Editable installation' \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/python -m harness.demo --store $(STORE)

test: $(READY)
	$(PYTEST) -m 'not long and not linux and not soak and not browser' $(SPREAD)

# What takes longer; .ci/run runs it. The first half only computes, the second runs real clusters, one at a time.
long: long-compute long-real

long-compute: $(READY)
	$(PYTEST) -m 'long and not linux and not real and not soak' --timeout 1800 $(SPREAD)

long-real: $(READY)
	$(PYTEST) -m 'long and not linux and real and not soak' --timeout 1800

# Namespaces, containers and SSH machines for real: root, and what .ci/linux-setup installs and starts. One test after another:
# they look at all rules, mounts and containers of the machine to see that nothing was left.
linux: $(READY)
	$(PYTEST) -m 'linux and not soak' --timeout 1800

# Pages in a headless Chromium, which .ci/browser-setup installs. A machine without one fails these tests.
browser: $(READY)
	$(PYTEST) -m 'browser and not soak' --timeout 600

# The long tests again with many more seeds and runs: hours, by hand. docs/soak.md has the last figures.
soak: $(READY)
	$(PYTEST) -m 'soak' --timeout 14400 --durations 0

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m harness.bench

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find checkers -name '*.so' -delete
