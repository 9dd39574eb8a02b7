# Two commands: `make demo` fine-tunes a real language model by forward passes, `make test` runs the tests.
# Both set up .venv themselves and may be stopped and started again.  `make bench` measures docs/performance.md anew.

PYTHON ?= python3
VENV   ?= .venv
OUT    ?= runs/demo
BIN     = $(VENV)/bin
NATIVE  = $(wildcard src/zoptim/kernels/*.c src/zoptim/kernels/*.h)

.PHONY: demo test lint bench clean help

help:
	@sed -n '1,2s/^# //p' Makefile

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("zoptim needs Python 3.11 or newer: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else 0'
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.lm: $(VENV)/bin/python pyproject.toml setup.py constraints.txt $(NATIVE)
	@echo "installing zoptim[lm,peft] into $(VENV) (about a minute)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[lm,peft]"
	@$(BIN)/zoptim doctor --brief
	@touch $@

$(VENV)/.test: $(VENV)/.lm
	@echo "installing the test tools"
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[lm,peft,test]"
	@touch $@

demo: $(VENV)/.lm
	@if [ -f $(OUT)/result.json ]; then \
	  echo "$(OUT) holds a finished run; remove it to run again"; \
	elif [ -f $(OUT)/journal.zoj ]; then \
	  $(BIN)/zoptim finetune --resume $(OUT); \
	else \
	  $(BIN)/zoptim finetune --model packaged:smollm2-135m --task packaged:movie-reviews \
	    --method fzoo --seed 0 --out $(OUT); \
	fi
	@$(BIN)/zoptim runs $(OUT)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest

# One bench after another on an otherwise idle machine, each into bench/results; then the page.  `make bench BENCHES=step`
# takes one; what fails is named at the end and its former result stays.
BENCHES ?= step memory kernels precision stream replay noise_battery peers

bench: $(VENV)/.lm
	@began=$$(date +%s); failed=; for name in $(BENCHES); do \
	  if [ ! -f bench/$$name.py ]; then echo "bench/$$name.py is not there: skipped"; continue; fi; \
	  at=$$(date +%s); echo "== $$name"; \
	  $(BIN)/python -m bench.$$name --json --save > /dev/null || failed="$$failed $$name"; \
	  echo "   $$(( $$(date +%s) - at )) s"; \
	done; \
	$(BIN)/python -m bench.page || exit 1; \
	echo "all in $$(( $$(date +%s) - began )) s$${failed:+; failed:$$failed}"; test -z "$$failed"

clean:
	rm -rf $(VENV) build src/*.egg-info
