"""What a client says to the service and what it is answered, method by method, and the description of the routes.

Run as a script, it writes `conversation.json` anew: only when the API is meant to change, and with a look at the
difference, for clients and services of the version before go on speaking as that file says.
"""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient

from metta_sweep.errors import RegistryError
from metta_sweep.registry.api import Registry
from metta_sweep.registry.client import HttpRegistry
from metta_sweep.registry.codec import encode
from metta_sweep.registry.records import Reservation, RunState, SweepState
from metta_sweep.registry.service import create_app
from metta_sweep.registry.store import SqlRegistry
from tests.metta_sweep.registry.registry_backends import HERE, THERE, Clock, wipe
from tests.metta_sweep.registry.registry_examples import BROKEN, DONE

PATH = Path(__file__).with_name("conversation.json")
POINT = Reservation(0, {"x": 0.5, "kind": "adam"}, {"why": ["ei"]}, "cheap", 0, 1.5, 10.0)
COSTS = {"train": {"wall_seconds": 1.0}}


def calls(registry: Registry) -> list[Callable[[], object]]:
    """Every method, with answers and with refusals, in an order in which each makes sense."""
    return [*changes(registry), *questions_and_end(registry)]


def changes(registry: Registry) -> list[Callable[[], object]]:
    """Two sweeps, and runs that end in every way."""
    owned = {"lease_seconds": 300.0}
    return [
        lambda: registry.create_sweep("s", "metric: reward\n", wandb_entity="e", wandb_project="p"),
        lambda: registry.create_sweep("s", "metric: hearts\n"),
        lambda: registry.create_sweep("t", "", wandb_sweep_id="w"),
        lambda: registry.get_sweep("s"),
        lambda: registry.get_sweep("nosuch"),
        lambda: registry.list_sweeps(),
        lambda: registry.set_sweep_state("t", SweepState.DRAINING, by="me", reason="enough", age_seconds=1.5),
        lambda: registry.reserve("t", Reservation(None, {}), HERE, **owned, key="r-t"),
        lambda: registry.next_number("s"),
        lambda: registry.reserve("s", POINT, HERE, **owned, key="r0"),
        lambda: registry.reserve("s", POINT, HERE, **owned, key="r0"),
        lambda: registry.reserve("s", POINT, THERE, **owned, key="r1"),
        lambda: registry.reserve("s", Reservation(None, {"x": 1}), THERE, lease_seconds=float("inf"), key="r2"),
        lambda: registry.reserve("s", Reservation(None, {"x": 2}), HERE, **owned, key="r3"),
        lambda: registry.replace_suggestion("s.r.0", 1, Reservation(0, {"x": 0.25}), key="p0"),
        lambda: registry.start("s.r.0", 1, num_gpus=0.5, key="s0"),
        lambda: registry.start("s.r.0", 7, num_gpus=0.5, key="s1"),
        lambda: registry.start("s.r.0", 1, num_gpus=0.5, key="s2"),
        lambda: registry.start("s.r.2", 1, num_gpus=0, key="s3"),
        lambda: registry.record_nodes("s.r.0", 1, ["n0", "n1"]),
        lambda: registry.record_progress("s.r.0", 1, [{"env_steps": 50, "score": 0.1}]),
        lambda: registry.heartbeat(HERE, ["s.r.0", "s.r.1"], lease_seconds=60.0),
        lambda: registry.curve("s.r.0"),
        lambda: registry.finish("s.r.0", 1, DONE, key="f0"),
        lambda: registry.finish("s.r.0", 9, DONE, key="f1"),
        lambda: registry.finish("s.r.2", 1, BROKEN, key="f2"),
        lambda: registry.retry("s.r.2", by="me", key="y0"),
        lambda: registry.retry("s.r.0", by="me", key="y1"),
        lambda: registry.release("s.r.1", 1, key="l0"),
        lambda: registry.claim("s", HERE, **owned, key="c0"),
        lambda: registry.start("s.r.1", 3, num_gpus=0, key="s4"),
        lambda: registry.requeue("s.r.1", 3, reason="lost", costs=COSTS, key="q0"),
        lambda: registry.start("s.r.1", 4, num_gpus=0, key="s5"),
        lambda: registry.interrupt("s.r.1", 4, reason="drain", costs=COSTS, key="i0"),
        lambda: registry.add_event("s", "note", run_id="s.r.0", by="me", detail={"a": [1, None]}, key="e0"),
        lambda: registry.add_event("s", "reserved", run_id=None, by="me", detail={}, key="e1"),
        lambda: registry.remark("s", run_id="s.r.0", note="ends early", tags=["seed 1", "keep"], by="me", key="m0"),
        lambda: registry.remark("s", run_id=None, note="", tags=["paper"], by="me", key="m1"),
        lambda: registry.remark("s", run_id=None, note="", tags=["a,b"], by="me", key="m2"),
    ]


def questions_and_end(registry: Registry) -> list[Callable[[], object]]:
    """All that can be read of them, until they are deleted."""
    return [
        lambda: registry.runs("s"),
        lambda: registry.runs("s", states=[RunState.COMPLETED, RunState.INTERRUPTED]),
        lambda: registry.runs("nosuch"),
        lambda: registry.get_run("s.r.0"),
        lambda: registry.get_run("s.r.9"),
        lambda: registry.attempts("s"),
        lambda: registry.observations("s"),
        lambda: registry.observations("s", after=1, limit=3),
        lambda: registry.events("s", after=2, limit=4),
        lambda: registry.events("t"),
        lambda: registry.remarks("s"),
        lambda: registry.remarks("nosuch"),
        lambda: registry.delete_sweep("s"),
        lambda: registry.delete_sweep("s", force=True),
        lambda: registry.delete_sweep("s"),
    ]


def hold(registry: Registry) -> list[Any]:
    """All results in JSON, a refusal as its name and text."""
    results = []
    for call in calls(registry):
        try:
            results.append(steady(encode(call())))
        except RegistryError as error:
            results.append([type(error).__name__, str(error)])
    return results


def steady(value: Any) -> Any:
    """Without what is drawn at random: the ids of sweeps."""
    return json.loads(re.sub(r'"[0-9a-f]{32}"', '"ID"', json.dumps(value)))


def asked(request: httpx.Request) -> dict[str, Any]:
    """A request as the file keeps it."""
    return {
        "verb": request.method,
        "path": request.url.raw_path.decode(),
        "key": request.headers.get("Idempotency-Key"),
        "body": json.loads(request.content) if request.content else None,
    }


class Recorder(httpx.BaseTransport):
    """Passes requests to the service over this store, and keeps what was said."""

    def __init__(self, store: SqlRegistry) -> None:
        self._web = TestClient(create_app(store), base_url="http://127.0.0.1:8800")
        self.said: list[dict[str, Any]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._web.request(request.method, str(request.url), content=request.content, headers=request.headers)
        self.said.append({**asked(request), "status": answer.status_code, "answer": steady(answer.json())})
        return httpx.Response(answer.status_code, content=answer.content)


class Player(httpx.BaseTransport):
    """Answers as the file says, and keeps what was asked."""

    def __init__(self, said: list[dict[str, Any]]) -> None:
        self._said = iter(said)
        self.asked: list[Any] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(asked(request))
        told = next(self._said)
        return httpx.Response(told["status"], content=json.dumps(told["answer"]))


def record(store: SqlRegistry) -> dict[str, Any]:
    """What the file holds."""
    recorder = Recorder(store)
    results = hold(HttpRegistry("http://127.0.0.1:8800", transport=recorder))
    return {"description": described(store), "results": results, "said": recorder.said}


def laid_out(recorded: dict[str, Any]) -> str:
    """One line for each route, schema, result and request."""
    lists = [f'"{name}": [\n{_lines(items)}\n]' for name, items in recorded.items()]
    return "{\n" + ",\n".join(lists) + "\n}\n"


def _lines(items: list[Any]) -> str:
    return ",\n".join(json.dumps(item, sort_keys=True) for item in items)


def described(store: SqlRegistry) -> list[Any]:
    """The OpenAPI document in parts without its prose: each route, each schema, and the rest."""
    whole = without_prose(create_app(store).openapi())
    routes, schemas = whole.pop("paths"), whole["components"].pop("schemas")
    return [*(list(part) for part in sorted({**routes, **schemas}.items())), whole]


def without_prose(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_prose(inner) for key, inner in value.items() if key != "description"}
    return [without_prose(inner) for inner in value] if isinstance(value, list) else value


def known() -> dict[str, Any]:
    file: dict[str, Any] = json.loads(PATH.read_text())
    return file


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = SqlRegistry(f"sqlite:///{directory}/registry.db", Clock())
        with contextlib.closing(store):
            wipe(store)
            PATH.write_text(laid_out(record(store)))


if __name__ == "__main__":
    main()
