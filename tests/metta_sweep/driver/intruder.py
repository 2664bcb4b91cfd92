"""Another user of the machine, who tries the doors of a Ray.

`python intruder.py jobs MARK PORT...` asks every port for a job and prints the answers. The mark is a file that the
intruder may not write: it is there afterwards when the Ray ran the intruder's command. `python intruder.py keys PORT`
reads Ray's own table.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import urllib.error
import urllib.request

from ray._raylet import GcsClient  # type: ignore[attr-defined]  # before it becomes nobody, who may not read this installation

NOBODY = 65534
ROUTES = ("/api/job_agent/jobs/", "/api/jobs/")


def post(port: int, route: str, mark: str) -> str:
    """Asks for a job, as anybody could; the status of the answer."""
    body = json.dumps({"entrypoint": f"touch {mark}"}).encode()
    request = urllib.request.Request(f"http://127.0.0.1:{port}{route}", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return str(answer.status)
    except urllib.error.HTTPError as error:
        return str(error.code)
    except (OSError, http.client.HTTPException) as error:  # not a web server
        return type(error).__name__


def num_keys(port: int) -> int:
    """How many functions it reads from the table in which Ray keeps what workers run."""
    return len(GcsClient(address=f"127.0.0.1:{port}").internal_kv_keys(b"", namespace=b"fun", timeout=5))


def main(door: str, *words: str) -> None:
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    if door == "jobs":
        print(json.dumps([post(int(port), route, words[0]) for port in words[1:] for route in ROUTES]))
    else:
        print(num_keys(int(words[0])))


if __name__ == "__main__":
    main(*sys.argv[1:])
