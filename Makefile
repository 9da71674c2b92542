# make train [DATA=...] [ARGS=...]   train and evaluate; without DATA, on the built-in drawn faces
# make test                          lint, types and tests
# make soak                          the slow tests that neither `make test` nor .ci/run has: about three hours
# make benchmarks                    measure speed and memory; tests/benchmarks/README.md has the results
# make clean                         remove the environment and caches
# make help                          print this

.DEFAULT_GOAL := help
.PHONY: help train test soak lint types benchmarks clean

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
WORKERS ?= 2
# Without compiled code every process of Ray takes ten seconds longer to start.
unexport PYTHONDONTWRITEBYTECODE

help:
	@sed -n '/^# make/s/^# //p' $(firstword $(MAKEFILE_LIST))

train: $(VENV)/.jobs
	@$(BIN)/python jobs/train_and_evaluate.py --workers $(WORKERS) $(if $(DATA),--data "$(DATA)") $(ARGS)

# Most of a test that starts Ray is waiting: two at a time, file by file, on however many cores.
test: lint types
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

soak: $(VENV)/.test
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder -m soak tests

lint: $(VENV)/.test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.test
	@$(BIN)/mypy

benchmarks: $(VENV)/.test
	@for name in input memory startup training teachers scoring sweep live video; do \
	  echo "== bench_$$name"; $(BIN)/python -m tests.benchmarks.bench_$$name || exit 1; done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info

# A stamp for each set of packages, renewed when the pins or the project's own list change.
$(VENV)/.jobs $(VENV)/.test: $(VENV)/.%: constraints.txt pyproject.toml | $(VENV)/bin/pip
	@echo "installing the pinned packages ($*) into $(VENV)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable ".[$*]"
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "error: $(PYTHON) is not Python 3.11, 3.12 or 3.13: name one with PYTHON=..." >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "error: $(PYTHON) has no venv module: apt-get install python3-venv" >&2; exit 2; }
