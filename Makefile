# Every target installs what it needs. PYTHON is the interpreter to start from, 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PROMPT := a cat and a guitar on a blue background
MODEL := sdcli/models/tiny-emoji-128
SEED ?= 1
MINUTES ?= 5
# A line of a .pth file that adds the packages of another environment, and the folder for the file.
LINK := import sysconfig; print('import site; site.addsitedir(%r)' % sysconfig.get_path('purelib'))
SITE := import sysconfig; print(sysconfig.get_path('purelib'))
# Prints the GPU, or ends with an error where CUDA finds none.
CARD := import sys, torch; cuda = torch.cuda; \
	print('GPU:', cuda.get_device_name(0), '- torch', torch.__version__, '- CUDA', torch.version.cuda) \
	if cuda.is_available() else sys.exit('make gpu: CUDA finds no GPU on this machine')

# The command that installs packages for the Python $(1).
INSTALL_PACKAGES ?= $(1) -m pip install --quiet

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all test-ray gpu fuzz lint types docs bench train evaluate clean

help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "%-10s %s\n", $$1, $$2}'

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing sdcli and its libraries into $(VENV) (a minute or two)"
	@$(call INSTALL_PACKAGES,$(BIN)/python) --constraint constraints.txt --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@$(call INSTALL_PACKAGES,$(BIN)/python) --constraint constraints.txt --editable '.[dev,train]'
	@touch $@

setup: $(VENV)/dev.stamp ## install everything for development into .venv

demo: $(VENV)/run.stamp ## generate a cat and a guitar, and print the path of the image
	$(BIN)/sdcli generate "$(PROMPT)" --seed 7 --out outputs/demo.png --force

test: setup ## run the tests; of the longest tables and files, a part
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

test-all: setup ## run the tests, all of them
	TEST_ALL=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

.venv-ray/ray.stamp: $(VENV)/dev.stamp
	@test -e .venv-ray/bin/python || $(PYTHON) -m venv .venv-ray
	@$(BIN)/python -c "$(LINK)" > $$(.venv-ray/bin/python -c "$(SITE)")/venv.pth
	@$(call INSTALL_PACKAGES,.venv-ray/bin/python) --constraint constraints.txt 'ray[data]'
	@touch $@

test-ray: setup .venv-ray/ray.stamp ## run the tests of --ray, in an environment of its own: .venv with Ray on top (600 MB)
	TEST_REPLAYS=4 OMP_NUM_THREADS=1 .venv-ray/bin/python -m pytest -q -m ray tests/cli/test_ray.py

gpu: setup ## run the tests that need a GPU, print which one it is, and time it
	@$(BIN)/python -c "$(CARD)"
	$(BIN)/python -m pytest -q -rs -m cuda tests/cuda
	$(BIN)/sdcli bench --device cuda --out build/gpu

fuzz: setup ## try damaged files and settings for MINUTES (5), from SEED (1)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --seed $(SEED) --minutes $(MINUTES)

lint: setup ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## check types
	$(BIN)/mypy

docs: setup ## run the README's tour, and update its images and the generated parts of the manual
	rm -rf build/tour && $(BIN)/python -m tests.tour build/tour
	$(BIN)/python -m tests.manual

bench: setup ## time sdcli against plain Diffusers scripts, and compare with the goals (20 minutes, on an idle machine)
	$(BIN)/sdcli bench all --rounds 1 --count 40 --out build/bench

train: setup ## retrain the embedded model in .training (over two hours on two cores)
	$(BIN)/python -m sdcli.training --folder .training

evaluate: setup ## measure the embedded model on its held-out prompts
	$(BIN)/python -m sdcli.training.evaluate --folder .training --model $(MODEL)

clean: ## remove everything the other targets made, except .training
	rm -rf $(VENV) .venv-ray outputs build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
