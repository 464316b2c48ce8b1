# aisbx-runtime. `make` or `make help` lists every supported target.
# Variables: PYTHON= the interpreter to build for · PREFIX= DESTDIR= SYSCONFDIR= where to install ·
# IMAGE= CMD= RUNTIME= what `make run` runs · TESTS= OPTIONS= FACTOR= of tests · CC= the compiler

PYTHON =
PREFIX = /usr/local
DESTDIR =
# A plain user cannot write /etc: podman reads the user's own drop-ins as well.
SYSCONFDIR = $(if $(DESTDIR)$(filter 0,$(UID)),/etc,$(or $(XDG_CONFIG_HOME),$(HOME)/.config))
IMAGE =
CMD =
RUNTIME = bin/aisbx-runtime
TESTS =
OPTIONS =
FACTOR = 10

UID := $(shell id -u)
# Looked up when a recipe needs it: `make setup` may just have installed it.
INTERPRETER = $(or $(shell sh setup/interpreter.sh '$(PYTHON)'),$(error no interpreter))
INSTALL = $(INTERPRETER) -EsB -m aisbx_runtime.install
VENV = .venv/bin
PYTEST = $(VENV)/python -B -m pytest
# Containers need root; a plain user's sudo may ask for the password. env: sudo drops PATH.
AS_ROOT = $(if $(filter 0,$(UID)),,sudo)
SOURCES = aisbx_runtime tests $(wildcard integration benchmarks)
SANDBOX = $(wildcard integration/images integration/snapshots integration/sandbox)

.PHONY: .venv help setup setup-run setup-lab setup-test build install uninstall run test check format \
	test-unit test-root test-sandbox test-security test-users test-engines test-load test-lab test-lab-brief \
	lab-shell fuzz coverage bench bench-lab conformance clean
.DEFAULT_GOAL := help

help: ## list the supported targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@sed -n '2,3s/^# /  /p' $(firstword $(MAKEFILE_LIST))

setup: ## install what building needs (apt, only what is missing)
	@sh setup/packages.sh build

setup-run: ## install what `make run` needs as well
	@sh setup/packages.sh build run $(if $(filter runc,$(notdir $(RUNTIME))),runc)

setup-lab: ## install what the guests of `make test-lab` are made with (apt)
	@sh setup/packages.sh lab

setup-test: ## install what `make test` needs (apt), and make .venv with the test tools (PyPI)
	@sh setup/packages.sh build run runc test
	@sh setup/venv.sh '$(PYTHON)'

build: ## make a runnable bin/aisbx-runtime in this checkout
	@$(INSTALL) build --compiler '$(CC)'

install: ## install below PREFIX and register with podman; DESTDIR stages
	@$(INSTALL) install --compiler '$(CC)' --prefix '$(PREFIX)' --sysconfdir '$(SYSCONFDIR)' --destdir '$(DESTDIR)'

uninstall: ## remove what `make install` made
	@$(INSTALL) uninstall --prefix '$(PREFIX)' --sysconfdir '$(SYSCONFDIR)' --destdir '$(DESTDIR)'

run: setup-run ## set up all and run a program in a sandbox (IMAGE=docker://... CMD='...' RUNTIME=runc)
	@$(MAKE) --no-print-directory build
	@$(AS_ROOT) $(INTERPRETER) -EsB integration/image/run.py --runtime '$(RUNTIME)' --image '$(IMAGE)' $(if $(CMD),-- $(CMD))

test: setup-test ## set up all and run every check and every test, root ones included
	@$(MAKE) --no-print-directory build
	@MAKE='$(MAKE)' sh setup/stages.sh check test-unit test-root test-sandbox test-security test-users test-engines test-lab-brief

check: .venv ## formatting, lint, types (mypy and pyright strict), direction of imports
	@failed=; \
	for tool in 'ruff format --check' 'ruff check' mypy 'basedpyright --warnings' 'lint-imports --no-cache'; do \
		echo "-- $$tool"; PYTHONDONTWRITEBYTECODE=1 $(VENV)/$$tool || failed="$$failed, $$tool"; \
	done; \
	[ -z "$$failed" ] || { echo "check: failed: $${failed#, }"; exit 1; }

format: .venv ## format the code, and fix what the linter can fix
	$(VENV)/ruff format
	$(VENV)/ruff check --fix

test-unit: .venv ## the tests that need no root (TESTS= narrows)
	$(PYTEST) $(TESTS)

test-root: .venv ## the tests that need root and a real kernel
	$(AS_ROOT) env PATH="$$PATH" $(PYTEST) -p no:cacheprovider -m root $(or $(TESTS),tests integration --ignore=integration/engines --ignore=integration/security --ignore=integration/lab $(addprefix --ignore=,$(SANDBOX)))

test-sandbox: .venv ## aisbx: images, snapshots and sandboxes with real tools and a real registry (root)
	$(AS_ROOT) env PATH="$$PATH" $(PYTEST) -p no:cacheprovider -m root $(or $(TESTS),$(SANDBOX))

test-security: .venv ## every known way out of a container is tried (root)
	$(AS_ROOT) env PATH="$$PATH" $(PYTEST) -p no:cacheprovider -m root $(or $(TESTS),integration/security)

test-users: .venv ## the lifecycle suite as a plain user, and as root of user namespaces (TESTS=all: the whole of it)
	@sh setup/users.sh $(TESTS)

fuzz: .venv ## odd files and command lines, with real runs (root; FACTOR= times as long, OPTIONS= for pytest)
	$(AS_ROOT) env PATH="$$PATH" AISBX_FUZZ_FACTOR='$(FACTOR)' $(PYTEST) -p no:cacheprovider -m root --timeout=0 $(OPTIONS) integration/fuzz

# A plain user's cases are the same as root's, and left to test-lab.
test-engines: .venv ## podman, containerd and buildah on top of the runtime (root)
	$(AS_ROOT) env PATH="$$PATH" $(PYTEST) -p no:cacheprovider -m root $(or $(TESTS),integration/engines --ignore=integration/engines/test_podman_rootless_cases.py)

test-load: .venv ## 1000 lives of containers, 200 containers at once, accidents (root; LIVES=, AT_ONCE=)
	$(AS_ROOT) env PATH="$$PATH" AISBX_LOAD_CYCLES=$(or $(LIVES),1000) AISBX_LOAD_CONTAINERS=$(or $(AT_ONCE),200) $(PYTEST) -p no:cacheprovider -m root --timeout=0 $(OPTIONS) integration/load integration/engines/test_load.py

test-lab: .venv setup-lab ## the tests on unified cgroup v2, with and without systemd, in guests (root; OPTIONS='--guest systemd', TESTS=)
	@$(MAKE) --no-print-directory build
	$(AS_ROOT) env PATH="$$PATH" $(VENV)/python -B -m integration.lab test $(OPTIONS) $(if $(TESTS),-- $(TESTS))

test-lab-brief: ## the stages of test-lab that `make test` runs
	@$(MAKE) --no-print-directory test-lab OPTIONS=--brief

lab-shell: setup-lab ## a shell in a guest with unified cgroup v2 (root; OPTIONS='--guest systemd')
	@$(MAKE) --no-print-directory build
	$(AS_ROOT) $(INTERPRETER) -B -m integration.lab shell $(OPTIONS)

coverage: .venv ## unit tests with coverage of lines and branches
	rm -f .coverage .coverage.*
	$(VENV)/coverage run -m pytest $(TESTS)
	$(VENV)/coverage combine -q
	$(VENV)/coverage report

bench: setup-test ## speed and memory side by side with runc (root)
	@$(MAKE) --no-print-directory build
	$(AS_ROOT) $(VENV)/python -B benchmarks/run.py
	$(AS_ROOT) $(VENV)/python -B -m benchmarks.snapshots
	$(AS_ROOT) $(VENV)/python -B benchmarks/sandbox.py

bench-lab: .venv setup-lab ## ratios to runc on unified cgroup v2 with podman, in the guest with systemd (root; OPTIONS='--rounds 20')
	@$(MAKE) --no-print-directory build
	$(AS_ROOT) env PATH="$$PATH" $(VENV)/python -B -m integration.lab run --guest systemd --timeout 1500 -- python3 -B -m benchmarks.lab $(OPTIONS)

conformance: ## OCI's validation programs and runc's bats suite, ours beside runc (root; OPTIONS=)
	@sh setup/packages.sh build conformance
	@$(MAKE) --no-print-directory build
	$(AS_ROOT) $(INTERPRETER) -B -m integration.conformance.run $(OPTIONS)

clean: ## remove everything that was built
	rm -rf bin .venv .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache aisbx_runtime/oci/stub/stub aisbx_runtime/bytecode.bin aisbx_runtime/commit
	find . \( -path ./.git -o -path ./build \) -prune -o -name __pycache__ -prune -exec rm -rf {} +
	@if [ -e build ]; then $(AS_ROOT) rm -rf build; fi

# Made anew when the interpreter or the list of tools changed.
.venv:
	@sh setup/venv.sh '$(PYTHON)'
