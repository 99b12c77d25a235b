# A front for CMake: `make` leaves build/qaio.
BUILD  ?= build
PREFIX ?= /usr/local
CMAKE  ?= cmake

all: ## build the program: build/qaio
	@$(CMAKE) -S . -B $(BUILD) -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX=$(PREFIX) >/dev/null
	@$(CMAKE) --build $(BUILD) --parallel

serve: all ## build, then serve the page on http://127.0.0.1:7860
	$(BUILD)/qaio serve

test: ## run every test; the last line is "N passed, N failed"
	tests/run

bench: all ## measure this machine and the engine
	$(BUILD)/qaio bench

install: all ## install the program and its documentation below PREFIX
	$(CMAKE) --install $(BUILD)

clean: ## remove what was built
	rm -rf $(BUILD) build-*

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

.PHONY: all serve test bench install clean help
