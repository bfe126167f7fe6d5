# make demo   two portraits, masked and unmasked again -> out/demo.png (PRESET=paper: by the paper's networks)
# make test   the whole test suite
# make fuzz   20,000 damaged files of every kind, and a table of what became of them (INPUTS=n)
# make kill   stops every command at random moments, calls it again, and compares (ROUNDS=n)
# make notebooks   executes all notebooks in place (UNMASK_DATA names a data folder for the full size)
# make stored-notebooks   the copies that are kept: 1 and 2 on UNMASK_DATA, without its pictures
# make docs   the documentation -> build/docs
# The environment is built once, in .venv; another Python: make PYTHON=python3.12 ...

PYTHON ?= python3
# Processes of `make test`; each needs up to 4 GB.
WORKERS ?= 2
# Networks of `make demo`.
PRESET ?= lite
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check install --quiet

# The same modules in smaller distributions, where nothing of the larger ones could be used.
HOST := $(shell uname -sm)
ifeq ($(HOST),Linux x86_64)
  ifneq ($(shell nvidia-smi -L >/dev/null 2>&1 && echo yes),yes)
    export UNMASK_TENSORFLOW := tensorflow-cpu
  endif
  ifneq ($(shell ldconfig -p 2>/dev/null | grep -q 'libGL\.so\.1' && echo yes),yes)
    export UNMASK_OPENCV := opencv-python-headless
  endif
endif
UNMASK_TENSORFLOW ?= tensorflow
UNMASK_OPENCV ?= opencv-python

.PHONY: help demo test fuzz kill lint format benchmark notebooks stored-notebooks docs clean

help:
	@sed -n 's/^# //p' Makefile

demo: $(VENV)/.installed
	$(BIN)/unmask demo --out out --preset $(PRESET)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/.dev
	$(BIN)/python -m tests.fuzz $(INPUTS)

kill: $(VENV)/.dev
	$(BIN)/python -m tests.kill $(ROUNDS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy unmask

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

benchmark: $(VENV)/.installed
	$(BIN)/python benchmarks/run.py

notebooks: $(VENV)/.dev
	$(BIN)/python -m tools.run_notebooks

stored-notebooks: $(VENV)/.dev
	test -d "$(UNMASK_DATA)"
	$(BIN)/python -m tools.run_notebooks --without-faces notebooks/[12]_*.ipynb
	env -u UNMASK_DATA $(BIN)/python -m tools.run_notebooks notebooks/[3-6]_*.ipynb

# Strict: a warning, such as a broken link, is an error.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) out build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache

# The package is installed in editable mode: a change of the code needs no second install.
$(VENV)/.installed: requirements.txt setup.py unmask/_version.py
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "unmask needs Python 3.10 or later")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	sed -e 's/^tensorflow==/$(UNMASK_TENSORFLOW)==/' -e 's/^opencv-python==/$(UNMASK_OPENCV)==/' \
	  requirements.txt > $(VENV)/requirements.txt
	$(PIP) -r $(VENV)/requirements.txt
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.installed requirements-dev.txt
	$(PIP) -r requirements-dev.txt
	touch $@
