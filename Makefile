# The front door. `make help` lists what it can do; everything else is in README.md and docs/. GNU make itself ends with 2 whatever a recipe ends with: whoever
# needs the exit code calls `.venv/bin/nightshift run`, whose --help says what each one means.
CONFIG ?= config.yaml
CORES  ?= all
PYTHON ?= python3
ENV    ?= .venv
# a shell reads them from its environment, where no letter of them is one of its own
export CONFIG CORES DAY FROM TO TRUTH
export PATH := $(abspath $(ENV))/bin:$(PATH)
SHELL  := /bin/bash

.DEFAULT_GOAL := help
.PHONY: help reports test lab nightly backtest bench bench-scale release lint clean

help:
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 16

reports: $(ENV)/.installed   ## run the chain and render the site: CONFIG=site.yaml DAY=2026-01-31
	@python -m nightshift run --config "$$CONFIG" $${DAY:+--day "$$DAY"} --cores "$$CORES"

nightly: $(ENV)/.installed   ## the same for the night that has just ended (UTC), as cron calls it
	@python -m nightshift nightly --config "$$CONFIG" --cores "$$CORES"

backtest: CONFIG := config.yaml tests/backtest.yaml
backtest: $(ENV)/.installed  ## replay nights and score them: FROM=2026-01-02 TO=2026-01-31
	@python -m nightshift backtest --from "$$FROM" --to "$$TO" $(CONFIG:%=--config '%') --cores "$$CORES" $${TRUTH:+--truth "$$TRUTH"}

# a worker more than there are processors, since a tenth of the time goes into waiting for servers and browsers; and Python keeps
# what it compiled even where the environment says not to: else each of some hundred processes compiles the package anew, 0.2 to 0.5 s
test: $(ENV)/.installed      ## run all tests, with up to four workers at once
	@[ -d tests/site/node_modules ] || ! command -v npm >/dev/null || npm ci --prefix tests/site --silent --no-fund --no-audit
	PYTHONDONTWRITEBYTECODE= python -m pytest -n "$$(python -c 'import os; print(min(4, os.cpu_count() + 1))')" --dist loadscope

bench: $(ENV)/.installed     ## measure speed and memory against peers
	python bench/bench.py

bench-scale: $(ENV)/.installed  # what each step costs as the data grow; about two hours
	python bench/scale.py

# a file as argument would make its folder the root, where neither helpers.py nor the configuration is
lab: $(ENV)/.installed       ## open JupyterLab in the repository, at notebooks/start_here.ipynb
	jupyter lab --LabApp.default_url=/lab/tree/notebooks/start_here.ipynb

# the tool has packages of its own, so it stands beside the environment that it looks at
release: $(ENV)/.installed   # what a release takes along: pins held against advisories, and a CycloneDX bill of materials, bom.json
	python deploy/advisories.py
	@[ -x .release/bin/cyclonedx-py ] || { $(PYTHON) -m venv .release && .release/bin/pip install --quiet cyclonedx-bom==7.5.0; }
	.release/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file bom.json $(ENV)/bin/python

lint: $(ENV)/.installed      ## check style of code and notebooks
	ruff check . && nbstripout --verify $$(git ls-files '*.ipynb')

clean:    ## remove all products, keep environment, feedback and sweeps
	rm -rf .snakemake .lock* products/try products/*/{data,encoders,models,plots,reports,try,.lock*}
	find data encoders models plots reports -mindepth 1 ! -name README.md -delete
	[ ! -d products ] || find products -type d -empty -delete

# torch first and by version: a later one would draw gigabytes of CUDA packages
$(ENV)/.installed: requirements.txt constraints.txt pyproject.toml templates/vendor/package-lock.json
	@[ -x $(ENV)/bin/python ] || $(PYTHON) -m venv $(ENV)
	@echo "Installing the environment into $(ENV); the first time this takes a few minutes."
	@pip install --quiet --constraint constraints.txt torch==2.13.0
	@pip install --quiet --constraint constraints.txt --requirement requirements.txt --editable .
	@! command -v npm >/dev/null || npm ci --prefix templates/vendor --silent --no-fund --no-audit
	@touch $@
