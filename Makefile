# The front door. `make help` lists what it can do; everything else is in README.md.
CONFIG ?= config.yaml
CORES  ?= all
PYTHON ?= python3
ENV    ?= .venv
export PATH := $(abspath $(ENV))/bin:$(PATH)
SHELL  := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help reports test lab nightly backtest bench lint clean

help:
	@grep -hE '^[a-z]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

reports: $(ENV)/.installed   ## run the chain and render the site: CONFIG=site.yaml DAY=2026-01-31
	@[ -f "$(CONFIG)" ] || { echo "nightshift: there is no configuration $(CONFIG)" >&2; exit 2; }
	@run() { snakemake --configfile "$(CONFIG)" $(if $(DAY),--config day=$(DAY)) --cores $(CORES) --keep-going --rerun-incomplete --nolock \
	    --rerun-triggers mtime params input --quiet all -- $$1; }; run all; status=$$?; \
	 if [ $$status != 2 ]; then run digest || status=1; python publish.py --config "$(CONFIG)" $(if $(DAY),--day $(DAY)) || status=1; fi; exit $$status

nightly:  ## the same for the night that has just ended (UTC), as cron calls it
	@$(MAKE) --no-print-directory reports DAY=$$($(PYTHON) -c 'import datetime as d; print(d.datetime.now(d.UTC).date() - d.timedelta(1))')

backtest: CONFIG := config.yaml tests/backtest.yaml
backtest: $(ENV)/.installed  ## replay nights and score them: FROM=2026-01-02 TO=2026-01-31
	@python backtest.py --from "$(FROM)" --to "$(TO)" --config $(CONFIG) --cores "$(CORES)" $(if $(TRUTH),--truth "$(TRUTH)")

test: $(ENV)/.installed      ## run all tests, on up to four processors at once
	@[ -d tests/site/node_modules ] || ! command -v npm >/dev/null || npm ci --prefix tests/site --silent --no-fund --no-audit
	python -m pytest -n logical --maxprocesses 4 --dist loadscope

bench: $(ENV)/.installed     ## measure speed and memory against peers
	python bench/bench.py

lab: $(ENV)/.installed       ## open JupyterLab
	jupyter lab notebooks

lint: $(ENV)/.installed      ## check style of code and notebooks
	ruff check . && nbstripout --verify $$(git ls-files '*.ipynb')

clean:    ## remove all products, keep environment and feedback
	rm -rf .snakemake products/*/{data,encoders,models,plots,reports,.lock}
	find data encoders models plots reports -mindepth 1 ! -name README.md -delete
	[ ! -d products ] || find products -type d -empty -delete

# torch first and by version: a later one would draw gigabytes of CUDA packages
$(ENV)/.installed: requirements.txt constraints.txt pyproject.toml
	@[ -x $(ENV)/bin/python ] || $(PYTHON) -m venv $(ENV)
	@echo "Installing the environment into $(ENV); the first time this takes a few minutes."
	@pip install --quiet --constraint constraints.txt torch==2.13.0
	@pip install --quiet --constraint constraints.txt --requirement requirements.txt --editable .
	@touch $@
