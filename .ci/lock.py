"""Writes the pins with hashes that `make install`, the image and `make audit` install by.

Run by `make lock`, with uv on the path.

What is pinned stays at its version while that satisfies `pyproject.toml`; `python .ci/lock.py --upgrade` takes the
newest of everything. torch itself stands without a hash, in cluster/torch.txt, which says why.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BUILD = "setuptools>=77\n"
AUDIT = "pip-audit>=2.9\n"
CUDA = ("cuda-", "nvidia-", "triton")  # what torch alone asks for, on Linux, unless it is a build for CPUs
HEADS = {
    "requirements.txt": "What `make install` installs beside torch (cluster/torch.txt), with hashes.",
    "cluster/image.txt": "What metta_sweep imports at run time beside torch (torch.txt), at the versions that its "
    "tests ran with.",
    "cluster/build.txt": "What builds the packages that have no wheel; installed first.",
    "cluster/cuda.txt": "What torch asks for where it is built for CUDA.",
    "audit.txt": "What `make audit` runs, in an environment of its own.",
    "docs.txt": "What `make docs` builds with, in an environment of its own.",
}


def compiled(words: Iterable[str], known: Path, upgrade: bool) -> dict[str, str]:
    """Blocks of pin, marker and hashes by package; versions of the file `known` are kept."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "pins.txt"
        torch = (ROOT / "cluster" / "torch.txt").read_text()
        output.write_text("" if upgrade or not known.exists() else known.read_text() + torch)
        command = [
            "uv",
            "pip",
            "compile",
            *words,
            "--universal",
            "--python-version",
            "3.11",
            "--generate-hashes",
            "--no-annotate",
        ]
        command += [
            "--no-header",
            "--no-config",
            "--quiet",
            "--native-tls",
            "--constraints",
            str(ROOT / "cluster" / "torch.txt"),
        ]
        command += ["--output-file", str(output)]
        subprocess.run(command, check=True, cwd=ROOT)
        return blocks(output.read_text())


def blocks(text: str) -> dict[str, str]:
    """By package, in order; lines that go on are indented."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if not line.startswith((" ", "#")):
            name = line.partition("==")[0].partition("[")[0]
        found[name] = f"{found.get(name, '')}{line}\n"
    return found


def extra(name: str) -> list[str]:
    """What an extra of pyproject.toml asks for, without everything that the package itself needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return [str(requirement) for requirement in project["optional-dependencies"][name]]


def write(file: str, pins: Mapping[str, str]) -> None:
    (ROOT / file).write_text(f"# {HEADS[file]} Written by `make lock`.\n" + "".join(pins.values()))


def main(upgrade: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        build, audit = Path(directory) / "build.in", Path(directory) / "audit.in"
        build.write_text(BUILD)
        audit.write_text(AUDIT)
        own = ROOT / "requirements.txt"
        everything = compiled(["pyproject.toml", "--extra", "test", str(build)], own, upgrade)
        run_time = compiled(["pyproject.toml", str(build), "--constraints", str(own)], own, upgrade)
        write("audit.txt", compiled([str(audit)], ROOT / "audit.txt", upgrade))
        docs = Path(directory) / "docs.in"
        docs.write_text("\n".join(extra("docs")) + "\n")
        write("docs.txt", compiled([str(docs)], ROOT / "docs.txt", upgrade))
    write("cluster/build.txt", {"setuptools": everything["setuptools"]})
    write("cluster/cuda.txt", {name: pin for name, pin in everything.items() if name.startswith(CUDA)})
    for file, pins in {"requirements.txt": everything, "cluster/image.txt": run_time}.items():
        write(file, {name: pin for name, pin in pins.items() if name != "torch" and not name.startswith(CUDA)})


if __name__ == "__main__":
    main("--upgrade" in sys.argv[1:])
