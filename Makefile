# Every habit of this repository. `make run` and `make test` need nothing but Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Modules that little imports, so they need not be compiled.
RARE := /tests?/|/transformers/models/|/plotly/(validators|graph_objs)/|/(pip|setuptools|fontTools|mypyc?)/|/pygments/lexers/

unexport PYTHONDONTWRITEBYTECODE  # each new interpreter would compile facekp again, and each pytest rewrite the tests

.PHONY: help run test test-all lint format types docs figures faults fuzz mutants coverage audit sbom lock bench gpu-check slurm-check ray-check nodes-check ladder ablation clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/'

$(STAMP): pyproject.toml requirements-dev.lock
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip>=26'  # the one that Python 3.11 brings takes twice as long
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -e '.[dev]' -c requirements-dev.lock
	$(BIN)/python -m compileall -q -j 0 -x '$(RARE)' $(VENV)/lib src >/dev/null 2>&1 || true  # all cores; files for a newer Python fail
	touch $@

run: $(STAMP)  ## train a small network on drawn faces and show what it learnt
	$(BIN)/python -m facekp.train experiment=quickstart

test: $(STAMP)  ## the tests, but for two dozen slow ones: a quarter of an hour on two cores
	$(BIN)/python -m pytest -n 3 --dist worksteal  # on two cores: many tests wait for processes

test-all: $(STAMP)  ## all tests
	$(BIN)/python -m pytest -n 3 --dist worksteal -m ''

lint: $(STAMP)  ## ruff, the type checker, and the packages' order
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

format: $(STAMP)  ## let ruff put the code in order
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

types: $(STAMP)  ## the type checker alone
	$(BIN)/mypy

docs: $(STAMP)  ## the documentation in docs/_build/html; a warning is an error
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html

bench: $(STAMP)  ## speed and memory, as ratios in one run
	$(BIN)/python -m facekp.bench

gpu-check: $(STAMP)  ## all that needs a GPU, in eight minutes: table and docs/gpu.json; DATA=DIR: the competition's files
	$(BIN)/python -m tools.gpu_check data=$(or $(DATA),data/kaggle)

slurm-check: $(STAMP)  ## a sweep, a search, kills and requeues on a real SLURM, started here; needs root, slurm-wlm, munge
	$(BIN)/python -m tools.slurm_check

ray-check: $(STAMP)  ## sweeps, a search of 200 trials and kills on a real Ray, started here; needs pip install 'facekp[ray]'
	$(BIN)/python -m tools.ray_check

nodes-check: $(STAMP)  ## a training on two hosts by torchrun, in network namespaces of this machine; needs root, iproute2
	$(BIN)/python -m tools.nodes_check

ladder: $(STAMP)  ## the published system's four steps; FAST=1: a small network, a quarter of an hour
	$(BIN)/python -m facekp.ladder $(if $(FAST),fast=true root=outputs/ladder_fast)

ablation: $(STAMP)  ## docs/accuracy.md: trains all rows of conf/ablation.yaml that are not trained yet, hours on two cores
	$(BIN)/python -m facekp.ablation

figures: $(STAMP)  ## README and docs: write the recorded figures; NAME="cpu ladder": measure these again first
	$(BIN)/python tools/figures.py $(NAME)

faults: $(STAMP)  ## killed, stopped and starved trainings and sweeps, damaged files; N=50: trials of each kind, SEED=0
	FACEKP_FAULTS=$(or $(N),20) FACEKP_SEED=$(or $(SEED),0) $(BIN)/python -m pytest -n 2 -m '' tests/faults tests/runs tests/reporting/bench

fuzz: $(STAMP)  ## damaged files for every reader; SECONDS=60: of each kind, SEED=0
	FACEKP_FUZZ=$(or $(SECONDS),30) FACEKP_SEED=$(or $(SEED),0) $(BIN)/python -m pytest -n 2 tests/fuzz

mutants: $(STAMP)  ## do the tests notice small changes of the code? N=60 of them, SEED=0, hours on two cores
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[mutants]'
	$(BIN)/python tools/mutants.py number=$(or $(N),60) seed=$(or $(SEED),0)

coverage: $(STAMP)  ## branch coverage of all tests, at least 93 %
	$(BIN)/python -m pytest -n 2 --dist worksteal -m '' --cov --cov-branch --cov-report=term --cov-report=html:outputs/coverage

audit: $(STAMP)  ## known vulnerabilities of the locked versions, where their databases can be reached
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[audit]'
	$(BIN)/pip-audit --disable-pip --no-deps -r requirements-dev.lock

sbom: $(STAMP)  ## outputs/sbom.json: all installed packages with versions and licences (CycloneDX)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[audit]'
	$(BIN)/cyclonedx-py environment --output-reproducible --of JSON -o outputs/sbom.json $(BIN)/python

lock: $(STAMP)  ## requirements-cpu.lock and requirements-dev.lock, the installed versions
	$(BIN)/python tools/lock.py

clean:  ## remove the environment and caches, never outputs/
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
