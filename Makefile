# make run     a hub, 50 simulated devices, commands and their receipts, live (needs Rust; a few minutes the first time)
# make check   what every change must pass: formatting, lints, unit tests, the dependency law
# make test    everything that proves a feature, with SDKs and tools that it installs itself, pinned
# make soak    the long ones: hundreds of kills, fuzzing; not in continuous integration
# make bench   measures, asserts nothing (BENCH=--help for its choices)

# make cluster a Kubernetes on this machine, with the images loaded, for you to play with; make cluster-down ends it

.PHONY: run check test soak bench cluster cluster-down
.PHONY: chart dashboard debian e2e fuzz kubernetes kubernetes-modules images fmt clippy made unit postgres hub licences storm

# Everything that is built or fetched is kept here, outside the checkout.
export MOORING_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/mooring
export CARGO_TARGET_DIR ?= $(MOORING_CACHE)/target

# mold links in a fifth of the time, where there is one. The same flag for every target, so that they share what they build.
mold = $(if $(shell command -v mold),-Clink-arg=-fuse-ld=mold)
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUSTFLAGS = $(mold)
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS = $(mold)

# The dashboard that the hub takes in when it is built: nothing, until `make dashboard` has made it. A hub without it says how.
export MOORING_DASHBOARD := $(or $(MOORING_DASHBOARD),$(wildcard $(CARGO_TARGET_DIR)/dashboard))

# Every build is of the whole workspace: cargo chooses the features of a dependency by what is built with it, and a part of the
# workspace would build nearly all of them once more.

# The development profile: optimised dependencies, a quarter of the release profile's time to build.
export MOORING_HUB_BIN ?= $(CARGO_TARGET_DIR)/debug/mooring-hub
export MOORING_OPERATOR_BIN ?= $(CARGO_TARGET_DIR)/debug/mooring-operator

tools := e2e/tools
images := $(CARGO_TARGET_DIR)/images
phase := @$(tools)/phase.sh
# Always the whole workspace: cargo builds a dependency once for each set of packages that is asked for together.
# A recipe's own make, so that what `debian` has just installed (mold) is seen by what comes after.
again := $(MAKE) --no-print-directory

run:
	@$(tools)/need.sh rust
	@$(again) dashboard
	@$(again) hub
	@exec $(tools)/run.sh

check:
	@$(tools)/need.sh rust
	$(phase) "formatting" $(again) fmt
	$(phase) "lints" $(again) clippy
	$(phase) "files that are made from sources" $(again) made
	$(phase) "unit tests" $(again) unit

test:
	@$(tools)/need.sh rust go node python
	$(phase) "Debian packages" $(tools)/debian.sh
	$(phase) "the dashboard" $(again) dashboard
	@$(again) check
	$(phase) "fuzzing" $(again) fuzz
	$(phase) "the stores' contract on PostgreSQL" $(again) postgres
	$(phase) "the hub" $(again) hub
	$(phase) "end-to-end rings" $(again) e2e
	$(phase) "Kubernetes from Go modules" $(again) kubernetes-modules
	$(phase) "the chart, the examples and the alerts" $(again) chart
	$(phase) "images" $(again) images
	$(phase) "stories on Kubernetes" $(tools)/stories-on-kubernetes.sh $(images)

soak: images
	$(phase) "hundreds of kills under load" env MOORING_KILLS=$(or $(KILLS),400) $(tools)/rings.sh kills_under_load --nocapture
	$(phase) "decoders and state machines against 20,000 cases each" env PROPTEST_CASES=$(or $(CASES),20000) cargo test --quiet --workspace --lib -- core:: mqtt:: amqp::
	$(phase) "fuzzing" $(again) fuzz FUZZ=$(or $(FUZZ),7200)
	$(phase) "a storm of 100,000 connects" $(again) storm
	$(phase) "10,000 Devices on Kubernetes" env MOORING_FLEET=10000 $(tools)/stories-on-kubernetes.sh $(images) a_fleet --nocapture
	$(phase) "Devices shut out while 1,000 others wait" env MOORING_PENDING=1000 $(tools)/stories-on-kubernetes.sh $(images) a_patch --nocapture

storm:
	@cargo build --quiet --release --workspace --bins
	@$(CARGO_TARGET_DIR)/release/bench --servers hub --only connects --connects 100000 --rounds 1 --anyway

bench:
	@$(tools)/need.sh rust
	@cargo build --release --workspace --bins --features bench/fe2o3
	@artemis=$$($(tools)/artemis.sh) && exec $(CARGO_TARGET_DIR)/release/bench $${artemis:+--artemis $$artemis} $(BENCH)

debian:
	@$(tools)/debian.sh

# The page of WebAssembly: with the toolchain's own compiler (`rustup target add wasm32-unknown-unknown`), or with Debian's, which it fetches into
# the cache. Before the hub is built, which takes it in.
dashboard:
	@cargo xtask dashboard

# make fuzz FUZZ=600 TARGETS="amqp-engine": for so many seconds in all, over all targets or those that are named.
fuzz:
	@hub/fuzz/fuzz.sh $(or $(FUZZ),60) $(TARGETS)

hub:
	@cargo build --quiet --workspace --bins

# make e2e STORIES="python_device curl": those whose names hold one of the words.
e2e: hub
	@$(tools)/rings.sh $(STORIES)

kubernetes-modules:
	@e2e/kubernetes/build.sh >/dev/null

# make kubernetes STORIES="secrets": as above; $KUBECONFIG says which cluster, if not our own.
kubernetes: images
	@$(tools)/stories-on-kubernetes.sh $(images) $(STORIES)

# What the chart renders against what is kept, its values' schema, the GitOps folder, the alerts. No cluster. UPDATE=1 keeps what is rendered now.
chart:
	@$(tools)/chart.sh

# Archives of both images, which docker, kind, containerd and podman load. From the development profile; MOORING_HUB_BIN and MOORING_OPERATOR_BIN for
# other binaries.
images: hub
	@deploy/images.sh $(images)

cluster: images
	@$(tools)/cluster-for-people.sh up $(images)

cluster-down:
	@$(tools)/cluster-for-people.sh down

fmt:
	@cargo fmt --all --check

# Each says what to run when it differs.
made:
	@cargo xtask crds --check

clippy:
	@cargo clippy --quiet --workspace --all-targets -- --deny warnings
# The dashboard's views, which are no part of a native build; they are checked natively all the same, so that nobody needs WebAssembly for it.
	@cargo clippy --quiet --package mooring-dashboard --features page -- --deny warnings
# These are no part of all targets: only whoever brings up what they need runs them.
	@cargo clippy --quiet --workspace --test rings --test kubernetes -- --deny warnings

postgres:
	@e2e/postgres.sh cargo test --quiet --workspace --test stores_postgres

unit:
# Not tests/stores_postgres.rs, which is a phase of its own: it needs a server.
	@cargo test --quiet --workspace --lib --bins --test layering

# Needs cargo-deny (`cargo install cargo-deny --locked`, some minutes); looks nothing up.
licences:
	@cargo deny --offline check licenses bans sources
