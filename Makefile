# Each target is a short script in scripts/; run that for its arguments.
.DEFAULT_GOAL := help
.PHONY: help setup demo test unit lint fuzz bench fanout deploy js

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## start the live page on http://localhost:8000
	go run ./cmd/rhubarb demo

test: setup lint fuzz unit ## everything CI runs

unit: ## the tests alone, with -race
	@scripts/test

lint: ## gofmt, go vet, staticcheck
	@scripts/lint

fuzz: ## every fuzz target for FUZZTIME=3s
	@scripts/fuzz

js: setup ## build browser/dist from its source
	@npm run --prefix browser --silent build

bench: setup ## measure beside asynq on a local Redis
	@scripts/bench

fanout: ## measure connections beside centrifuge, gws, coder/websocket and net/http
	@cd bench && go run ./cmd/fanout

deploy: ## restart two servers under load, with 5,000 clients
	@cd bench && go run ./cmd/deploy

setup: ## install missing servers from Debian's packages (root)
	@scripts/setup
