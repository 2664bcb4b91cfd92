"""The pages of docs/: links lead somewhere, the site has them all, what they say is what there is."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from metta_sweep.cli.commands import COMMANDS
from metta_sweep.registry.writes import OWN_EVENTS
from tests.docs.events import MEANINGS
from tests.docs.reference import MADE, ROOT, help_of, http, keys

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
TELL = re.compile(r"""Tell\(\s*(?:"([a-z_]+)"|([A-Z_]+))""")
FILE = re.compile(r"""["/]([a-z_.]+\.(?:yaml|jsonl|json|db|log))["}]""")
# Files of other places than a sweep's: configurations, clusters, what is inside a checkpoint, a pattern's example.
ELSEWHERE = {"sweep_job.yaml", "openapi.json", "run.json", "sweep.json"}


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for match in LINK.finditer(text):
        target = match[1] or match[2]
        if not target.startswith(("http://", "https://")):
            yield target


def anchors(text: str) -> set[str]:
    """Of its headings, as mkdocs makes them."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", name).strip().lower()) for name in found}


def leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = (page.parent / path).resolve() if path else page
    if not file.is_file():
        return file.is_relative_to(DOCS) and str(file.relative_to(DOCS)) in MADE
    return not anchor or anchor in anchors(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    assert [target for target in links(page) if not leads_somewhere(page, target)] == []


def test_a_dead_link_is_seen() -> None:
    page = DOCS / "index.md"
    assert not leads_somewhere(page, "tutorials/no-such-page.md")
    assert not leads_somewhere(page, "tutorials/first-sweep.md#no-such-heading")
    assert not leads_somewhere(page, "reference/no-such-page.md")
    assert leads_somewhere(page, "tutorials/first-sweep.md#run-it")
    assert leads_somewhere(page, "reference/keys.md")


def test_pages_of_the_site_link_to_nothing_outside_of_it() -> None:
    """mkdocs cannot follow such a link."""
    outside = [
        (page.name, target)
        for page in PAGES
        for target in links(page)
        if not (page.parent / target.partition("#")[0]).resolve().is_relative_to(DOCS)
    ]
    assert outside == []


class Loader(yaml.SafeLoader):
    """Of mkdocs.yml, which names Python objects."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)


def entries(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for entry in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from entries(entry)


def test_the_navigation_has_every_page() -> None:
    site = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)
    own = {str(page.relative_to(DOCS)) for page in PAGES if page.parent.parent.name != "examples"}
    assert sorted(entries(site["nav"])) == sorted(own | set(MADE))


def test_every_kind_of_event_has_a_meaning() -> None:
    kinds = set(OWN_EVENTS)
    for file in (ROOT / "metta_sweep").rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        kinds |= {literal for literal, _ in TELL.findall(text) if literal}
        kinds |= set(re.findall(r"""^[A-Z_]+ = "([a-z_]+)"  # kind of the event""", text, re.MULTILINE))
    assert kinds | {"driver_started", "driver_ended", "slots_changed"} == set(MEANINGS)


def test_every_file_that_a_sweep_leaves_stands_on_the_page_of_files() -> None:
    page = (DOCS / "reference" / "files.md").read_text(encoding="utf-8")
    code = [*(ROOT / "trainables").glob("*.py"), *(ROOT / "metta_sweep/driver").glob("*.py")]
    code += [*(ROOT / "metta_sweep/tracking").glob("*.py"), *(ROOT / "metta_sweep/registry").glob("*.py")]
    names = {name for file in code for name in FILE.findall(file.read_text(encoding="utf-8"))} - ELSEWHERE
    assert {"events.jsonl", "train.log", "registry.db"} <= names
    assert [name for name in sorted(names) if name not in page] == []


def test_the_reference_has_every_key_with_its_default() -> None:
    page = keys()
    known = re.findall(r"^\| `([^`]+)`", (ROOT / "configs/KEYS.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [key for key in known if f"| `{key}` |" not in page] == []
    assert "| `settings.max_consecutive_failures` | `3` |" in page
    assert "| `budget.dollars` | `null` |" in page
    assert "| `trainer.ppo.gamma` | `0.99` |" in page


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_the_reference_has_the_help_of_every_command(command: str) -> None:
    assert command in help_of(command).splitlines()[0]


def test_the_reference_has_every_route() -> None:
    page = http()
    assert "## POST /runs/{run_id}/finish" in page
    assert json.dumps("## GET /health")[1:-1] in page
