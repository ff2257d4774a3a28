# Each target sets up .venv by itself; a second run takes no time.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install serve test check format bench docs clean

help: ## Show what there is
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP) ## Make .venv with what serving and testing need

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Augury needs Python 3.11 or newer; say which with: make install PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[tweets,redis,batch,notebook]' --group dev
	@touch $@

serve: $(STAMP) ## Serve the sentiment of tweets on http://127.0.0.1:8000
	@exec $(BIN)/augury serve $(ARGS)

test: $(STAMP) ## Run all tests; a part of them: make test ARGS=tests/cache
	$(BIN)/python -m pytest $(ARGS)

check: $(STAMP) ## Format, lint, types and import layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## Format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP) ## Measure, the peers too; a part: make bench ARGS="--quick", ARGS="--skip peers"
	$(BIN)/python -m benchmarks $(ARGS)

$(VENV)/.docs: $(STAMP)
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@

docs: $(VENV)/.docs ## Write the reference pages anew and build docs/_build/html
	$(BIN)/python docs/reference.py
	$(BIN)/sphinx-build -q -W -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean: ## Remove what was made
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
