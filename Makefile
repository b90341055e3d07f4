# Every target makes .venv from requirements.txt first; a second run reuses it.
# `make help` lists the targets.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
JOBS   ?= 2

# One thread a process: parallelism is across notebooks and tests, and two
# numerical threads on a small busy machine run many times slower than one.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export PATH := $(abspath $(BIN)):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help book serve test notebooks exercises ledger records bench gpu lint lock newest links clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

$(VENV)/.ready: requirements.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "No '$(PYTHON)' here: install Python 3.11 or newer, or say where it is: make PYTHON=/path/to/python3 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "'$(PYTHON)' is $$($(PYTHON) -V 2>&1); the course needs Python 3.11 or newer: make PYTHON=/path/to/newer/python3 ..."; exit 1; }
	@echo "Setting up $(VENV) (once, a few minutes) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

book: $(VENV)/.ready  ## build the site to _build/html
	@$(BIN)/python tools/book.py

serve: book  ## build the site and serve it on this machine
	$(BIN)/python -m http.server --directory _build/html --bind 127.0.0.1 8000

test: $(VENV)/.ready  ## run everything: library, ledger, notebooks, exercises, site
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

notebooks: $(VENV)/.ready  ## re-execute the chapters whose text or code has changed
	$(BIN)/python tools/notebooks.py

exercises: $(VENV)/.ready  ## make the student and solution notebooks from their sources
	$(BIN)/python tools/exercises.py

ledger: $(VENV)/.ready  ## prove every equation again and write ledger.json
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m verifies --write-ledger

records: $(VENV)/.ready  ## list the records older than their code; NAME=... runs one again
	$(BIN)/python tools/records.py $(NAME)

bench: $(VENV)/.ready  ## race the library against its peers, and write the record
	$(BIN)/python -m benchmarks

gpu:  ## CUDA tests and races with the interpreter given: make gpu PYTHON=/path/to/python
	$(PYTHON) -m benchmarks.gpu

links: $(VENV)/.ready  ## ask every external link whether it still answers
	$(BIN)/python tools/links.py

lint: $(VENV)/.ready  ## style and simple mistakes
	$(BIN)/ruff check . && $(BIN)/ruff format --check .

lock: $(VENV)/.ready  ## renew requirements.txt from pyproject.toml (needs uv)
	$(BIN)/python tools/lock.py

newest: $(VENV)/.ready  ## the same without the versions chosen by hand: what breaks next?
	$(BIN)/python tools/lock.py --newest

clean:  ## remove what the targets made
	rm -rf _build $(VENV) .pytest_cache .ruff_cache
