# Every target makes what it needs, .venv included; a second run is quick. GNU make 3.81 (macOS) and POSIX sh are enough.
PYTHON ?= python3
VENV ?= .venv
# pytest workers
JOBS ?= 2
# pip options for torch alone, such as another package index: see "Which torch" in README.md
TORCH_ARGS ?=
export PYTHON VENV TORCH_ARGS

RUN = $(VENV)/bin/python -m
PYTEST = $(RUN) pytest -n $(JOBS) --dist loadfile

.PHONY: help demo test test-fast test-nightly bench docs lint format wheel-check clean

help:
	@echo 'make demo          install the package and compare models on the sunspot numbers'
	@echo 'make test          install what the tests need and run them all'
	@echo 'make test-fast     the same without the tests marked slow'
	@echo 'make test-nightly  the tests that take minutes to hours'
	@echo 'make bench         time statewise against other packages'
	@echo 'make docs          build the documentation into site/'
	@echo 'make lint          style and type checks'
	@echo 'make format        rewrite the files in the house style'
	@echo 'make clean         remove what these made, except .venv and runs'
	@echo 'Settings: PYTHON=python3.12 VENV=.venv JOBS=2 TORCH_ARGS="..." (see README.md)'

demo: $(VENV)/.stamp-package
	$(RUN) statewise compare sunspots

test: $(VENV)/.stamp-test
	$(PYTEST) --all-packages

test-fast: $(VENV)/.stamp-test
	$(PYTEST) -m 'not slow and not nightly'

test-nightly: $(VENV)/.stamp-test
	HYPOTHESIS_PROFILE=nightly $(PYTEST) -m nightly

bench: $(VENV)/.stamp-bench
	$(RUN) benchmarks $(BENCH)

docs: $(VENV)/.stamp-docs
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict

lint: $(VENV)/.stamp-lint
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy

format: $(VENV)/.stamp-lint
	$(RUN) ruff check --fix-only .
	$(RUN) ruff format .

wheel-check: $(VENV)/.stamp-lint
	$(VENV)/bin/python .ci/wheel_check.py

clean:
	rm -rf build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# One stamp an extra of pyproject.toml ("package": none of them).
$(VENV)/.stamp-%: pyproject.toml constraints.txt .ci/install
	@sh .ci/install $*
	@touch $@
