#!/bin/sh
# Write the locked requirements (every version, every hash) from pyproject.toml. Needs `uv`.
set -eu
cd "$(dirname "$0")/.."
lock() { uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-emit-index-url \
    --custom-compile-command "make lock" "$@"; }
lock pyproject.toml -o packaging/requirements.txt
lock pyproject.toml --group dev -o packaging/requirements-dev.txt
lock --group stock-client -o packaging/requirements-stock-client.txt
# What installing the checkout itself needs, in the versions of the dev lock; `editables` is what
# hatchling asks for besides itself when the checkout is installed as editable.
{ grep -o '"hatchling[^"]*"' pyproject.toml | head -n 1 | tr -d '"'; echo editables; } |
    lock - --constraints packaging/requirements-dev.txt -o packaging/requirements-build.txt
