# Everything a newcomer types.  `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Byte code makes every start of `csbs` three times as fast.
unexport PYTHONDONTWRITEBYTECODE

DEBIAN_PACKAGES := python3-venv python3-libnbd python3-libvirt libnbd-bin nbdkit \
	libvirt-daemon-system libvirt-clients qemu-system-x86 qemu-utils mmdebstrap e2fsprogs openssl postgresql

# What csbs is measured against, and with.
BENCH_PACKAGES := restic borgbackup virtnbdbackup zstd

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.ready
UV := .tools/bin/uv

# Clients of that cloud, each in an environment of its own: what they need does not fit ours.
CLIENTS := huaweicloud karbor otc
CLIENTS_STAMP := .clients/.ready

# Tests without servers run side by side; those with servers, which have bounds in seconds, one by one.
SIDE_BY_SIDE := meta unit contract format property \
	$(addprefix integration/,agent blockio catalog clients s3 tasks) \
	integration/test_engine_on_stores.py integration/test_key_commands.py integration/test_store_full.py
ALONE := integration/kills integration/libvirt e2e

.PHONY: help
help: ## Lists these targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## Installs Debian packages and makes .venv with the command .venv/bin/csbs.
	@rm -f $(STAMP)
	@$(MAKE) --no-print-directory $(STAMP)

.PHONY: packages bench-packages
bench-packages: DEBIAN_PACKAGES := $(BENCH_PACKAGES)
packages bench-packages:
	@missing=""; for package in $(DEBIAN_PACKAGES); do \
		dpkg-query -W -f '$${Status}' $$package 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$package"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing Debian packages:$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
	fi

$(STAMP): requirements/requirements.lock requirements/bootstrap.lock pyproject.toml | packages
	@test -x $(UV) || { /usr/bin/python3 -m venv .tools && \
		.tools/bin/python -m pip install -q --require-hashes -r requirements/bootstrap.lock; }
	@test -x $(PYTHON) || $(UV) venv -q --python /usr/bin/python3 $(VENV)
	@VIRTUAL_ENV=$(VENV) $(UV) pip sync -q --require-hashes --compile-bytecode requirements/requirements.lock
	@VIRTUAL_ENV=$(VENV) $(UV) pip install -q --no-deps --no-build-isolation -e .
	@for file in $$(dpkg -L python3-libnbd python3-libvirt | grep -E '/(nbd\.py|libvirt[a-z_]*\.py|libnbdmod.*\.so|libvirtmod.*\.so)$$'); do \
		ln -sf $$file $(VENV)/lib/python3.11/site-packages/; \
	done
	@touch $@

.PHONY: clients
clients: $(CLIENTS_STAMP) ## Installs the clients that tests drive against the service.

$(CLIENTS_STAMP): $(patsubst %,requirements/clients-%.lock,$(CLIENTS)) | $(STAMP)
	@for client in $(CLIENTS); do \
		test -x .clients/$$client/bin/python || $(UV) venv -q --python /usr/bin/python3 .clients/$$client; \
		VIRTUAL_ENV=.clients/$$client $(UV) pip sync -q --require-hashes --compile-bytecode \
			requirements/clients-$$client.lock; \
	done
	@touch $@

.PHONY: lock
lock: $(STAMP) ## Pins the newest dependencies that pyproject.toml allows.
	$(UV) pip compile -q --upgrade requirements/bootstrap.in --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements/bootstrap.lock
	$(UV) pip compile -q --upgrade pyproject.toml --group dev --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header -o requirements/requirements.lock
	for client in $(CLIENTS); do \
		$(UV) pip compile -q --upgrade requirements/clients-$$client.in --python-version 3.11 --generate-hashes \
			--no-emit-index-url --no-emit-find-links --no-header -o requirements/clients-$$client.lock; \
	done

.PHONY: test
test: lint $(CLIENTS_STAMP) ## Runs every gate and every test (as root: it needs QEMU, libvirt and a guest).
	@failed=0; \
	$(PYTHON) -m pytest -q --complete -n 2 --dist worksteal $(addprefix tests/,$(SIDE_BY_SIDE)) || failed=1; \
	$(PYTHON) -m pytest -q --complete $(addprefix tests/,$(ALONE)) || failed=1; \
	exit $$failed

.PHONY: soak
soak: $(STAMP) ## Backs up servers through random events for SOAK_MINUTES (10); SEED repeats a chain.
	@$(PYTHON) -m tests.integration.libvirt.soak --minutes $(or $(SOAK_MINUTES),10) $(if $(SEED),--seed $(SEED))

.PHONY: soak-kills
soak-kills: $(STAMP) ## Kills a service at random moments for SOAK_MINUTES (10): KILLS="--libvirt --postgres --seed 7".
	@$(PYTHON) -m tests.integration.kills.chaos --minutes $(or $(SOAK_MINUTES),10) --rate 1MiB/s $(KILLS)

.PHONY: test-s3
test-s3: $(STAMP) ## Tries an S3 service: S3_URL=s3://bucket/prefix?endpoint=https://host, with CSBS_S3_... keys.
	@test -n '$(S3_URL)' || { echo 'say where: make test-s3 S3_URL=s3://bucket/prefix?endpoint=https://host' >&2; exit 2; }
	@$(PYTHON) -m pytest -q -m any_s3 --s3-url='$(S3_URL)'

.PHONY: check
check: lint ## Runs the gates and the tests that need no host part; for use while writing code.
	@$(PYTHON) -m pytest -q -m 'not host and not guest'

.PHONY: lint
lint: $(STAMP) ## Runs ruff, mypy --strict and the import contracts.
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --check --quiet || { echo 'not formatted: run `make format`' >&2; exit 1; }
	@$(VENV)/bin/mypy
	@$(VENV)/bin/lint-imports

.PHONY: format
format: $(STAMP) ## Formats the code, and mends what ruff can mend by itself.
	@$(VENV)/bin/ruff check --quiet --fix-only
	@$(VENV)/bin/ruff format

.PHONY: docs
docs: $(STAMP) ## Writes the reference pages that are made from the code.
	@$(PYTHON) -m tools.reference

.PHONY: bench
bench: $(STAMP) bench-packages ## Measures speed beside zstd and peers: BENCH_ROUNDS (5), BENCH_SIZE (2.4 GB).
	@$(PYTHON) -m benchmarks

.PHONY: demo
demo: $(STAMP) ## Shows the main job on a real server: back up, wreck, bring back.
	@$(PYTHON) -m demo

.PHONY: demo-clean
demo-clean: $(STAMP) ## Removes what the demo made: servers, disks, images, daemons.
	@$(PYTHON) -m demo clean
