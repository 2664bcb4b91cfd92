"""`python -m metta_sweep COMMAND ...`"""

from __future__ import annotations

import sys

from metta_sweep.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
