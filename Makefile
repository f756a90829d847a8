.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
ENVIRONMENTS := .sandbox/environments
LINT := .sandbox/lint

# `sam build` looks for python3.13 on PATH and needs a real one, not a shim: that of .venv is.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DEFAULT_TIMEOUT ?= 180
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export UV_CUSTOM_COMPILE_COMMAND := make requirements
export UV_HTTP_TIMEOUT ?= 180
export SAM_CLI_TELEMETRY := 0
# All functions have the same code: build and pack it once, not for each of them.
export SAM_CLI_BETA_BUILD_PERFORMANCE := 1
export SAM_CLI_BETA_PACKAGE_PERFORMANCE := 1
# Where SAM keeps its own settings: in the clone, not in the home folder.
export __SAM_CLI_APP_DIR := $(CURDIR)/.sandbox/sam

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z][a-z -]*:.*## / {printf "  %-14s %s\n", $$1, $$2}' Makefile

# Environments

.PHONY: setup
setup: $(BIN)/.installed $(ENVIRONMENTS)/lambda/.installed $(ENVIRONMENTS)/localstack/.installed ## Set up everything that the demo and the tests need

.PHONY: tools
tools: $(BIN)/.installed ## Set up what deploying and the command line need

# A python3.13 on PATH may be a shim without an interpreter behind it, so each candidate has to answer.
$(BIN)/.installed: .python-version pyproject.toml requirements/uv.txt requirements/dev.txt
	@for python in python3.13 python3 python ""; do \
	  $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && break; \
	done; \
	[ -n "$$python" ] || { echo "Python 3.13 is needed: none of python3.13, python3 and python is one" >&2; exit 1; }; \
	$$python -m venv .venv
	$(BIN)/python -m pip install --quiet --require-hashes --requirement requirements/uv.txt
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements/uv.txt requirements/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# Tools whose pins clash with those of .venv.
$(ENVIRONMENTS)/%/.installed: requirements/%.txt | $(BIN)/.installed
	$(BIN)/python -m snapferry_sandbox.environments $*
	touch $@

node_modules/.package-lock.json: package.json package-lock.json
	npm ci --no-audit --no-fund
	touch $@

# $(1) the folder to compile into, from the pins that are there; $(2) further options.
COMPILE := $(BIN)/uv pip compile --quiet --python-platform linux --python-version 3.13 --generate-hashes
define compile_requirements
	for name in uv dev bench checkov lambda localstack; do \
	  $(COMPILE) $(2) requirements/$$name.in --output-file $(1)/requirements/$$name.txt || exit; \
	done
	$(COMPILE) $(2) functions/requirements.in --constraint requirements/dev.txt \
	  --output-file $(1)/functions/requirements.txt
endef

.PHONY: requirements
requirements: $(BIN)/.installed ## Compile all requirements anew, to the latest versions
	$(call compile_requirements,.,--upgrade)

# Checks

# The definitions as they are deployed: asl-validator wants an ARN where the template puts one in,
# and part of one.
DEFINITIONS := $(patsubst %,$(LINT)/%,$(wildcard statemachine/*.asl.json))
$(LINT)/statemachine/%: statemachine/%
	mkdir -p $(@D)
	sed -E 's/\$$\{Partition\}/aws/g; s/\$$\{[A-Za-z]+\}/arn:aws:lambda:eu-west-1:111111111111:function:name/g' $< > $@

.PHONY: lint
lint: $(BIN)/.installed $(ENVIRONMENTS)/checkov/.installed node_modules/.package-lock.json $(DEFINITIONS) ## Check style, types, templates, definitions and drift
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	for template in template.yaml accounts/*.yaml; do $(BIN)/sam validate --lint --template $$template || exit; done
	node_modules/.bin/asl-validator $(DEFINITIONS:%=--json-path %)
	$(ENVIRONMENTS)/checkov/bin/checkov --config-file .checkov.yaml
	$(BIN)/python -m snapferry.request | diff -u docs/input.schema.json -
	rm -rf $(LINT)/compiled
	mkdir -p $(LINT)/compiled/requirements $(LINT)/compiled/functions
	cp requirements/*.txt $(LINT)/compiled/requirements
	cp functions/requirements.txt $(LINT)/compiled/functions
	$(call compile_requirements,$(LINT)/compiled)
	for file in requirements/*.txt functions/requirements.txt; do diff -u $$file $(LINT)/compiled/$$file || exit; done

# What uses the world of clusters takes most of the time: everything else runs beside it.
SIDE_BY_SIDE := --numprocesses 2 --no-loadscope-reorder

.PHONY: test
test: setup ## Run the tests of all layers, one real case of each kind
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not exhaustive"

.PHONY: test-all
test-all: setup ## Run all tests, the exhaustive ones too
	$(BIN)/pytest $(SIDE_BY_SIDE)

.PHONY: test-unit test-browser test-workflow test-clusters test-sandbox
test-unit test-browser test-workflow test-clusters test-sandbox: test-%: setup ## Run the tests of one layer
	$(BIN)/pytest -m "not exhaustive" tests/$*

# Use

.PHONY: demo
demo: setup ## Migrate real data between two clusters on this machine, from nothing to the report
	$(BIN)/python -m snapferry_sandbox.demo

# Where to, and what else to tell `sam build`.
BUILD := .aws-sam/build
BUILD_OPTIONS :=

# A function's folder is read-only on Lambda, so without bytecode each cold start would compile all
# modules. The same sources give the same bytes: hashes instead of times, Lambda's paths, a fixed seed.
.PHONY: build
build: $(BIN)/.installed ## Build the functions, with bytecode
	$(BIN)/sam build --build-dir $(BUILD) $(BUILD_OPTIONS)
	for folder in $(BUILD)/*/; do \
	  PYTHONHASHSEED=0 $(BIN)/python -m compileall -q --invalidation-mode unchecked-hash \
	    -s $${folder%/} -p /var/task $$folder || exit; \
	done

# Of the functions' processors. What was built is all that the template takes as the answer. An override on
# the command line would do that as well, but drop the answers of the last time to all other questions.
ARCHITECTURE ?= arm64

.PHONY: deploy
deploy: BUILD_OPTIONS := --parameter-overrides Architecture=$(ARCHITECTURE)
deploy: build ## Deploy to AWS, asking for the parameters; with ARCHITECTURE=x86_64 in place of arm64
	sed -i -E -e '/^  Architecture:/,/^  [A-Z]/ {' -e '/- (arm64|x86_64)$$/ {' -e '/- $(ARCHITECTURE)$$/! d' -e '}' \
	  -e 's/(Default:).*/\1 $(ARCHITECTURE)/' -e '}' $(BUILD)/template.yaml
	$(BIN)/sam deploy --guided

.PHONY: bench
bench: setup node_modules/.package-lock.json ## Measure how long writes stop, by several ways, and show it in the README
	$(BIN)/python -m bench.write_stop
	$(MAKE) bench-results

.PHONY: bench-results
bench-results: $(ENVIRONMENTS)/bench/.installed
	$(BIN)/python -m bench.results
	$(ENVIRONMENTS)/bench/bin/python -m bench.chart

.PHONY: bench-cold-start
bench-cold-start: BUILD := .sandbox/bench/build
bench-cold-start: BUILD_OPTIONS := --parameter-overrides Architecture=$(subst aarch64,arm64,$(shell uname -m))
bench-cold-start: setup build ## Measure what a cold start of each function takes
	$(BIN)/python bench/cold_start.py $(BUILD)

.PHONY: clean
clean: ## Stop the sandbox and remove all that was downloaded or built
	[ ! -x $(BIN)/sandbox ] || $(BIN)/sandbox down
	rm -rf .aws-sam .hypothesis .mypy_cache .pytest_cache .ruff_cache .sandbox .venv node_modules
