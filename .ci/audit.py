"""Known vulnerabilities of what is pinned, with pip-audit: `python .ci/audit.py FILE ...`, in the environment of `audit.txt`.

Ends with 0 when there are none, 1 when there are, 2 when the database of vulnerabilities cannot be asked: then nothing is known.
"""

from __future__ import annotations

import subprocess
import sys

# pip-audit ends with 1 for both; findings stand on standard output.
COMMAND = (sys.executable, "-m", "pip_audit", "--disable-pip", "--no-deps", "--progress-spinner", "off", "--desc", "off")
AWAY = ("ConnectionError", "ServiceError", "Could not connect", "Max retries", "timed out", "HTTPError", "ProxyError", "SSLError")


def main(files: list[str]) -> int:
    found = 0
    for file in files:
        done = subprocess.run([*COMMAND, "--requirement", file], capture_output=True, text=True, check=False)
        if done.returncode and (any(word in done.stderr for word in AWAY) or not done.stdout.strip()):
            reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
            print(f"{file}: NOT AUDITED, the database of vulnerabilities cannot be asked: {reason}", file=sys.stderr)
            return 2
        print(f"{file}: {done.stdout.strip() or 'no known vulnerabilities'}")
        found = max(found, done.returncode)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
