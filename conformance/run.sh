#!/usr/bin/env bash
# Conformance in an environment of its own: installs pantile and every library named in the table,
# runs the originals' tests, the agreement tests and both migrations, and writes docs/conformance.md.
# Arguments go to pip, for example an index with CPU builds of torch.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export NUMBA_CACHE_DIR="$work/numba" HYPOTHESIS_STORAGE_DIRECTORY="$work/hypothesis" MPLCONFIGDIR="$work/matplotlib"

python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" ".[test,conformance]"
# patchify asks for numpy<2, but runs with later ones
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "patchify>=0.2.3"

"$work/venv/bin/python" -m conformance --write --require-all
"$work/venv/bin/python" -m conformance.migration
