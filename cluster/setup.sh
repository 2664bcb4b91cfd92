#!/usr/bin/env bash
# What a node needs to run sweeps. Does nothing where it is there already, as in our own image.
#   setup.sh           into the Python that `python` is
#   setup.sh DIR       into a virtual environment DIR, made when missing
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if [ $# -gt 0 ]; then
  [ -x "$1/bin/python" ] || "$(command -v python3.11 || command -v python3.12)" -m venv "$1"
  PATH="$1/bin:$PATH"
fi

needed=gymnasium,hydra,mettagrid,ray,sqlalchemy,torch,wandb
if python -c "import importlib.util as i, sys; sys.exit(not all(map(i.find_spec, '$needed'.split(','))))"; then
  echo "everything is installed"
else
  python -m pip install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
fi
