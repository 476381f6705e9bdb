# `make lab` gives a running cluster, `make test` runs the whole test suite; both install what they need first.
# `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
STAMP := $(VENV)/.stamp
COLLECTION_LINK := .ansible/collections/ansible_collections/bare_metal/kubernetes
INVENTORY ?= inventories/lab
PYTEST_ARGS ?=
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export LC_ALL := C.UTF-8
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

.PHONY: help
help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- the controller's environment

$(STAMP): requirements.txt requirements-dev.txt
	@tests/tools/system_packages check
	@rm -f $@
	@test -x $(VENV)/bin/python || "$$(tests/tools/find_python 3.11)" -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

$(COLLECTION_LINK):
	@mkdir -p $(@D)
	@ln -sfn ../../../.. $@

.PHONY: setup
setup: $(STAMP) | $(COLLECTION_LINK) ## Install what the controller needs (.venv, the collection's link)
	@:

.PHONY: lab-packages
lab-packages:
	@tests/tools/system_packages lab

# --- checks that need no lab

PYTHON_DIRS := $(wildcard plugins tests molecule)
TYPED := plugins

.PHONY: lint
lint: setup ## ansible-lint (production), yamllint, shellcheck, ruff, mypy
	ruff check $(PYTHON_DIRS)
	ruff format --check $(PYTHON_DIRS)
	mypy $(TYPED)
	yamllint --strict .
	! command -v shellcheck >/dev/null || shellcheck .ci/run $(wildcard tests/tools/* molecule/default/*/*.sh)
	ansible-lint --offline

.PHONY: format
format: setup ## Format the Python code
	ruff check --fix $(PYTHON_DIRS)
	ruff format $(PYTHON_DIRS)

.PHONY: unit
unit: setup ## Unit tests
	pytest tests/unit $(PYTEST_ARGS)

.PHONY: integration
integration: setup ## The collection as a user gets it: build, install, docs, playbooks by name, the README
	pytest tests/integration -m "not lab" $(PYTEST_ARGS)

.PHONY: sanity
sanity: setup ## ansible-test sanity, no ignored findings
	tests/tools/sanity

.PHONY: newest
newest: setup ## Unit tests, syntax checks and part of lint and sanity on the newest ansible-core
	tests/tools/newest

.PHONY: check
check: lint sanity unit integration newest ## Everything that needs no lab

# --- the lab: molecule/default/lab.mk makes and removes the machines

-include molecule/default/lab.mk

.PHONY: test
test: ## The whole test suite: everything without a lab, then the lab's scenarios
	$(MAKE) check
	$(MAKE) lab
	$(MAKE) lab-status
	$(MAKE) e2e

# Packages of the operating system before the lab's machines, and before what builds for them.
lab-machines: lab-packages

.PHONY: e2e
e2e: lab-machines ## The scenarios on the lab that protect users most
	pytest tests/integration -m "lab and not slow" $(PYTEST_ARGS)

.PHONY: test-network
test-network: lab-machines ## The scenarios of the network: topologies, modes, failovers, firewall (about an hour)
	pytest tests/integration -m "lab and network" $(PYTEST_ARGS)

.PHONY: e2e-full
e2e-full: lab-machines ## All scenarios on the lab but density: breaks, secrets, live settings, one network, repairs (about an hour)
	pytest tests/integration -m "lab and not density" $(PYTEST_ARGS)

.PHONY: density
density: lab-machines ## 500 real pods on one worker of a lab of its own; the report is in build/ (half an hour)
	pytest tests/integration/lab/test_s_density.py -m density $(PYTEST_ARGS)

.PHONY: scale
scale: lab-machines ## 1,860 and 23,250 pods on simulated nodes of a real control plane; the reports are in build/ (half an hour)
	pytest tests/integration/lab/test_u_scale.py -m density $(PYTEST_ARGS)

.PHONY: bench
bench: lab-machines ## What `site` costs: by role on the lab, then the controller's part with 2 to 1,000 workers (hours); docs/performance.md
	python tests/bench/site_run.py
	python tests/bench/controller.py record --first
	python tests/bench/controller.py replay --first
	python tests/bench/controller.py replay
	python tests/bench/controller.py plain

.PHONY: bench-floor
bench-floor: lab-machines ## What plain kubeadm commands take for the lab's cluster, and how many times that `site` takes; makes the nodes anew
	python tests/bench/kubeadm_floor.py --site

# --- releases

.PHONY: build
build: setup ## Build the collection's artifact
	@mkdir -p build
	ansible-galaxy collection build --force --output-path build

.PHONY: bundle
bundle: setup lab-packages ## Build the bundle that the lab installs from
	ansible-playbook bare_metal.kubernetes.bundle -i $(INVENTORY)

.PHONY: clean
clean: ## Remove what the targets above made in the tree (the cache stays: it is outside)
	rm -rf $(VENV) .venv-* .ansible .cache build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
