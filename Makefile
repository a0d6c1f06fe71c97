# make demo   everything in front of your eyes: gate, sample shop, a real Traefik, a real Envoy
# make test   all tests, with real proxies
# make lint   format and lints
# make test-crds DIR=FOLDER   k8s/ against the CustomResourceDefinitions of a folder, strictly
# make test-vectors DIR=FOLDER   signed tokens, good and forged, of Wycheproof and RFC 7520 against the gate's signature check
# make fuzz SECONDS=20   fuzzes what reads tokens and key sets, each so long
# make footprint   memory and start-up time of the release build

.PHONY: demo test test-crds test-vectors fuzz lint footprint build prepare tools

demo: prepare
	@scripts/tools.sh traefik envoy
	@cargo run --locked --release -- demo --traefik .tools/bin/traefik --envoy .tools/bin/envoy --dir .demo

test: tools
	cargo test --locked
	$(MAKE) --no-print-directory footprint

test-crds: prepare
	@scripts/test-crds.sh "$(DIR)"

test-vectors: prepare
	@scripts/test-vectors.sh "$(DIR)"

fuzz: prepare
	@scripts/fuzz.sh "$(or $(SECONDS),20)"

lint:
	cargo fmt --check
	rustfmt --check --edition 2024 fuzz/fuzz_targets/*.rs
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --test vectors -- -D warnings

footprint: build
	scripts/footprint.sh

build: prepare
	cargo build --locked --release

tools: prepare
	@scripts/tools.sh

prepare:
	@scripts/prepare.sh
