"""As much of WandB's server as the client needs, on a loopback port: GraphQL over runs, and the stream that rows come
in by.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a" * 40


@dataclass
class StoredRun:
    """One run as the server knows it."""

    name: str
    group: str = ""
    created_at: str = "2026-01-01T00:00:00Z"
    state: str = "running"
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    tags: list[str] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)


class WandbServer:
    """Runs by name, and what was asked of it.

    Attributes:
        runs: by run name (WandB's word for the id).
        requested_run_pages: variables of each `Runs` query.
        refuses_rows: answers 404 to every row, as for a project that was deleted.
        hides_summaries: shows every summary as empty, as while it has not digested what it got.
        num_repeated_rows: rows it got although it had their step.
    """

    def __init__(self) -> None:
        self.runs: dict[str, StoredRun] = {}
        self.requested_run_pages: list[dict[str, Any]] = []
        self.refuses_rows = False
        self.hides_summaries = False
        self.num_repeated_rows = 0
        self._lock = threading.Lock()

    def answer(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if "upsertBucket" in query:
                return {"upsertBucket": {"bucket": bucket_of(self._upsert(variables)), "inserted": True}}
            if "createRunFiles" in query:
                return {"createRunFiles": {"runID": "UnVu", "uploadHeaders": [], "files": []}}
            if "runs(" in query:
                return {"project": self._page(variables)}
            if "bucket(" in query or "run(" in query:
                node = self._node(variables.get("name", ""))
                return {"model": {**PROJECT, "bucket": node}, "project": {**PROJECT, "run": node}}
            if "viewer" in query:
                return {
                    "viewer": {
                        "id": "dXNlcg",
                        "entity": "me",
                        "username": "me",
                        "email": "",
                        "teams": {"edges": []},
                        "flags": "{}",
                    }
                }
            return {}

    def append(self, name: str, files: dict[str, Any]) -> None:
        """Rows in rising steps only, as the real server keeps them."""
        with self._lock:
            run = self.runs[name]
            for line in files.get("wandb-history.jsonl", {}).get("content", []):
                row = json.loads(line)
                if not run.history or row["_step"] > run.history[-1]["_step"]:
                    run.history.append(row)
                else:
                    self.num_repeated_rows += 1
            for line in files.get("wandb-summary.json", {}).get("content", []):
                run.summary = json.loads(line)

    def complete(self, name: str, exit_code: int) -> None:
        with self._lock:
            self.runs[name].state = "finished" if exit_code == 0 else "failed"

    def _upsert(self, variables: dict[str, Any]) -> StoredRun:
        run = self.runs.setdefault(variables["name"], StoredRun(variables["name"]))
        run.group = variables.get("groupName") or run.group
        run.tags = variables.get("tags") or run.tags
        if variables.get("config"):
            run.config = {key: value["value"] for key, value in json.loads(variables["config"]).items()}
        if variables.get("summaryMetrics"):
            run.summary = json.loads(variables["summaryMetrics"])
        return run

    def _page(self, variables: dict[str, Any]) -> dict[str, Any]:
        self.requested_run_pages.append(variables)
        filters = json.loads(variables.get("filters") or "{}")
        found = [run for run in self.runs.values() if run.group == filters.get("group", run.group)]
        found.sort(key=lambda run: run.created_at, reverse=(variables.get("order") or "").startswith("-"))
        start = int(variables.get("cursor") or 0)
        page = found[start : start + (variables.get("perPage") or 50)]
        end = start + len(page)
        return {
            **PROJECT,
            "runCount": len(found),
            "readOnly": False,
            "runs": {
                "totalCount": len(found),
                "edges": [{"node": node_of(run), "cursor": str(start + i + 1)} for i, run in enumerate(page)],
                "pageInfo": {"endCursor": str(end), "hasNextPage": end < len(found)},
            },
        }

    def _node(self, name: str) -> dict[str, Any] | None:
        if name not in self.runs:
            return None
        return {**node_of(self.runs[name]), **({"summaryMetrics": "{}"} if self.hides_summaries else {})}


PROJECT = {"id": "UHJv", "internalId": "1", "name": "metta", "entity": {"id": "RQ", "name": "me"}}


def bucket_of(run: StoredRun) -> dict[str, Any]:
    return {
        "id": "UnVu",
        "name": run.name,
        "displayName": run.name,
        "description": None,
        "config": "{}",
        "sweepName": None,
        "project": PROJECT,
        "historyLineCount": len(run.history),
    }


def node_of(run: StoredRun) -> dict[str, Any]:
    return {
        **bucket_of(run),
        "projectId": "1",
        "tags": run.tags,
        "state": run.state,
        "group": run.group,
        "jobType": None,
        "commit": None,
        "readOnly": False,
        "createdAt": run.created_at,
        "heartbeatAt": run.created_at,
        "notes": None,
        "systemMetrics": "{}",
        "config": json.dumps({key: {"value": value} for key, value in run.config.items()}),
        "summaryMetrics": json.dumps(run.summary),
        "historyKeys": None,
        "historyTail": json.dumps([json.dumps(row) for row in run.history[-1:]]),
        "eventsTail": "[]",
        "logLineCount": 0,
        "eventsLineCount": 0,
        "wandbConfig": json.dumps({"t": 1}) if run.config else "{}",  # its "t" tells a started run from an empty one
        "user": {"name": "me", "username": "me"},
    }


def handler_of(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        # HTTP/1.0 keeps no connection open that would outlive the server.
        def log_message(self, format: str, *arguments: Any) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/graphql":
                request = json.loads(body)
                self.reply({"data": server.answer(request["query"], request.get("variables") or {})})
            elif self.path.endswith("/file_stream") and server.refuses_rows:
                self.reply({"error": "not found"}, 404)
            elif self.path.endswith("/file_stream"):
                request = json.loads(body)
                name = self.path.split("/")[-2]
                server.append(name, request.get("files", {}))
                if request.get("complete"):
                    server.complete(name, request.get("exitcode", 0))
                self.reply({"exitcode": None, "limits": {}})
            else:
                self.reply({})  # WandB's measurements of itself

        def reply(self, answer: dict[str, Any], status: int = 200) -> None:
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    return Handler


@contextmanager
def serving(server: WandbServer, port: int = 0) -> Iterator[str]:
    """Serve on a loopback port (0 = any free one); yields the URL."""
    http = ThreadingHTTPServer(("127.0.0.1", port), handler_of(server))
    http.daemon_threads = True
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
