# make run   set up what is needed and start the playground
# make test  set up what is needed and run every check
# make full  run every test with its full counts (hours)
# make attack, make faults   try all attacks and faults of docs/security.md with their full counts (hours)
# make lock  pin the newest allowed versions of all requirements

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: run test full attack faults lock clean
.DEFAULT_GOAL := run

run: $(VENV)/.run-ready
	@exec $(BIN)/python app.py serve $(ARGS)

test: $(VENV)/.test-ready
	@sh tests/run.sh $(BIN)

full: $(VENV)/.test-ready
	@$(BIN)/python -m pytest --full -q --numprocesses auto --dist worksteal

attack: $(VENV)/.test-ready
	@$(BIN)/python -m pytest tests/attacks --full -q --numprocesses auto --dist worksteal

faults: $(VENV)/.test-ready
	@$(BIN)/python -m pytest tests/faults --full -q --numprocesses auto --dist worksteal

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'Python 3.11 or newer is needed; name one with: make PYTHON=python3.12'; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
	  || { echo 'Python cannot make virtual environments here. On Debian or Ubuntu: sudo apt install python3-venv'; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.run-ready: requirements.txt | $(VENV)/bin/python
	@echo 'Installing what the playground needs (once; PyTorch is large) ...'
	@$(PIP) -r requirements.txt
	@touch $@

$(VENV)/.test-ready: requirements-dev.txt $(VENV)/.run-ready
	@echo 'Installing what the checks need (once) ...'
	@$(PIP) -r requirements-dev.txt
	@touch $@

# A CPU build of torch may stand in for the pinned one, so its local version (+cpu) is left out.
lock: $(VENV)/bin/python
	@$(PIP) pip-tools
	@for name in requirements requirements-dev; do \
	  $(BIN)/pip-compile --quiet --upgrade --strip-extras --no-header --no-annotate --no-emit-index-url \
	    --no-emit-find-links --no-emit-trusted-host $$name.in -o $$name.txt || exit 1; \
	  sed -i -e 's/^\(torch==[0-9.]*\)+.*/\1/' -e 's/^triton==.*/triton>=3.6,<3.8/' -e '/^\#/d' $$name.txt; \
	done

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
