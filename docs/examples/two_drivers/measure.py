"""Stands for a training: takes two seconds and prints a score."""

from __future__ import annotations

import sys
import time

time.sleep(2)
print(f"score={1.0 - (float(sys.argv[1]) - 0.3) ** 2:.4f}")
