"""Known vulnerabilities of what is pinned, with pip-audit: `python .ci/audit.py FILE ...`, in the environment of
`audit.txt`.

Ends with 0 when there are none, 1 when there are, 2 when the database of vulnerabilities cannot be asked, be it about
one package: then nothing is known.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

COMMAND = (
    sys.executable,
    "-m",
    "pip_audit",
    "--disable-pip",
    "--no-deps",
    "--progress-spinner",
    "off",
    "--format",
    "json",
)
SHOWN = 3


def answers(file: str) -> list[dict[str, Any]] | str:
    """What the database says of each package in the file, or why it does not."""
    done = subprocess.run([*COMMAND, "--requirement", file], capture_output=True, text=True, check=False)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        return (done.stderr.strip().splitlines() or ["no answer"])[-1]
    unknown = [package["name"] for package in found if "skip_reason" in package]
    return (
        f"{', '.join(unknown[:SHOWN])}: {len(unknown)} of {len(found)} packages are unknown to it" if unknown else found
    )


def main(files: list[str]) -> int:
    code = 0
    for file in files:
        found = answers(file)
        if isinstance(found, str):
            print(f"{file}: NOT AUDITED, the database of vulnerabilities cannot be asked: {found}", file=sys.stderr)
            code = 2
            continue
        holes = [(package, hole) for package in found for hole in package["vulns"]]
        for package, hole in holes:
            fixed = ", ".join(hole["fix_versions"]) or "no version yet"
            print(f"{file}: {package['name']} {package['version']}: {hole['id']}, mended in {fixed}")
        print(f"{file}: {len(found)} packages, {len(holes)} known vulnerabilities")
        code = max(code, 1 if holes else 0)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
