# Sanger: everything a newcomer runs. `make help` lists it.
#
# System tools come from Debian (apt, as root or through sudo), Python packages from PyPI into .venv, pinned in
# requirements.txt. What is there already is left alone.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
JOBS   ?= 2
CONFIG ?= small
HEAD   ?= data/minilm_l2_n128.npz

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup tools sim test lint verilog registers figures clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: tools $(VENV)/ready  ## simulators, and the Python environment in .venv

tools:
	@sh flows/install_tools.sh

$(VENV)/ready: requirements.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) 2>/dev/null || { sh flows/install_tools.sh venv && $(PYTHON) -m venv --clear $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

sim: setup  ## a real attention head through the core's Verilog, compared with the golden model bit by bit
	$(PY) -m flows simulate $(HEAD) --config $(CONFIG) --engine verilator --head 0

test: setup  ## all tests
	$(PY) -m pytest -n $(JOBS) --dist worksteal

verilog: setup  ## Verilog of CONFIG in build/verilog/CONFIG
	$(PY) -m flows verilog --config $(CONFIG) --out build/verilog/$(CONFIG)

lint: setup  ## Verilator's lint of CONFIG, all warnings on
	$(VENV)/bin/fusesoc run --target=lint --flag=$(CONFIG) sanger

clean:  ## everything that was built; the environment stays
	rm -rf build
