"""The wheel alone: `python -m tests.proof.wheel python3.11 python3.12` installs it in empty environments and runs the
quick sweep there.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from tests.metta_sweep.driver.drive import ROOT


def build(directory: Path) -> Path:
    """The wheel of what is committed."""
    clone = directory / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(directory), str(clone)],
        check=True,
    )
    (wheel,) = directory.glob("metta_sweep-*.whl")
    return wheel


def quick_sweep(python: str, wheel: Path, directory: Path) -> str:
    """What the quick sweep prints where nothing but the wheel and what it asks for is installed."""
    subprocess.run([python, "-m", "venv", str(directory / "venv")], check=True)
    own = str(directory / "venv" / "bin" / "python")
    pins = directory / "pins.txt"  # without hashes, for the wheel has none
    lines = (ROOT / "requirements.txt").read_text().splitlines() + (
        ROOT / "cluster" / "torch.txt"
    ).read_text().splitlines()
    pins.write_text("\n".join(line.removesuffix(" \\") for line in lines if not line.startswith((" ", "#"))))
    install = [
        own,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--constraint",
        str(pins),
        str(wheel),
    ]
    subprocess.run(install, check=True)
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS")}
    command = [own, "-m", "metta_sweep", "run", "sweep_name=x", "sweep=quick"]
    done = subprocess.run(command, cwd=directory, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pythons", nargs="+")
    with tempfile.TemporaryDirectory() as name:
        wheel = build(Path(name))
        print(f"{wheel.name}: {wheel.stat().st_size / 1024:.0f} KiB, {len(zipfile.ZipFile(wheel).namelist())} files")
        for python in parser.parse_args().pythons:
            directory = Path(name) / Path(python).name
            directory.mkdir()
            version = subprocess.run([python, "--version"], check=True, capture_output=True, text=True).stdout.strip()
            print(f"--- {version}\n{quick_sweep(python, wheel, directory)}", flush=True)


if __name__ == "__main__":
    main()
