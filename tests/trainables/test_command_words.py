"""Values reach programs as the values they are, and none of them becomes a program."""

from __future__ import annotations

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st

from trainables.command_words import Filling, Unspeakable, override_words, plain, readers, spell
from trainables.errors import SpecError
from trainables.spec import RunSpec

ODD = [
    "relu",
    "null",
    "true",
    "1",
    "1e-3",
    "[1]",
    "a,b",
    "a=b",
    "it's",
    "linear(0.1)",
    "a&b",
    "#1",
    "é",
    " lead",
    "",
    "\\",
    "\\'",
    "'\\\\'",
]
ODD += [
    "NaN",
    "-inf",
    ".5",
    "1_000",
    "a\nb",
    "\t",
    '"',
    "{a:b}",
    "~",
    "a b ",
    "-x",
    "+x",
    "a:b",
    "$(touch pwned)",
    "; rm x",
    "`x`",
    "$HOME",
    "%",
    "!",
]
TEXTS = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"k_[a-z0-9]{0,5}", fullmatch=True), inner)
    ),
)


def read_back(text: str) -> Any:
    override = OverridesParser.create().parse_override(f"++k={text}")
    assert not override.is_sweep_override()
    return override.value()


@pytest.mark.parametrize("text", ODD)
def test_odd_texts_come_back_as_themselves(text: str) -> None:
    assert read_back(spell(text)) == text


@given(TEXTS)
@example("\\\\'")
def test_every_text_comes_back_as_itself(text: str) -> None:
    found = read_back(spell(text))
    assert isinstance(found, str)
    assert found == text


@given(VALUES)
def test_every_value_comes_back_as_itself(value: Any) -> None:
    found = read_back(spell(value))
    assert found == value
    assert type(found) is type(value)


def test_what_is_plain_stays_plain() -> None:
    values = ("relu", "/env/mettagrid/arena/basic", 3, 1e-05, True, None, [64, 64])
    assert [spell(value) for value in values] == [
        "relu",
        "/env/mettagrid/arena/basic",
        "3",
        "1e-05",
        "true",
        "null",
        "[64,64]",
    ]
    assert math.isnan(read_back(spell(math.nan)))


@pytest.mark.parametrize("text", ["${oc.env:HOME}", "a ${b}", "???"])
def test_what_hydra_would_resolve_is_refused_for_hydra_only(text: str) -> None:
    with pytest.raises(Unspeakable, match="Hydra would resolve it"):
        override_words("++{key}={value}", {"a": [text]})
    assert override_words("--{key} {value}", {"a": text}) == ["--a", text]
    assert Filling("++{key}={value}", {"a": text}, {}).words("x {a}") == ["x", text]  # {overrides} is not in it


def test_a_key_that_hydra_cannot_read_is_refused() -> None:
    with pytest.raises(Unspeakable, match="the key 'a b' cannot stand in a Hydra override"):
        spell([{"a b": 1}])


@pytest.mark.parametrize("text", ODD)
def test_other_forms_hand_over_the_text_itself(text: str) -> None:
    assert override_words("--{key} {value}", {"a": text}) == ["--a", text]
    assert override_words("--{key}={value}", {"a": text}) == [f"--a={text}"]
    assert (plain([text, 1.5, None]), plain(False)) == (json.dumps([text, 1.5, None]), "false")


SHELLS = [
    "sh -c 'printf %s {x} > out'",
    "sh -c 'printf %s \"{x}\" > out'",
    "sh -c \"printf %s '{x}' > out\"",
    "bash -lc 'printf %s {x} | cat > out'",
    "bash -euo pipefail -c 'true && printf %s \"a{x}\" > out'",
    "env A=1 sh -c 'printf %s {x} > out'",
    "/bin/sh -c 'printf %s \"$1\" > out' sh {x}",
    "timeout 20 bash -ec 'printf %s {x} > out; true'",
]


@pytest.mark.parametrize("command", SHELLS)
@pytest.mark.parametrize(
    "text",
    [
        "$(touch pwned)",
        "; touch pwned",
        "`touch pwned`",
        "' ; touch pwned; '",
        '"; touch pwned; "',
        "a b",
        "\\",
        'a\\"b$x',
    ],
)
def test_a_text_in_a_shell_is_a_text(command: str, text: str, tmp_path: Path) -> None:
    words = Filling("{key}={value}", {"x": text}, {}).words(command)
    subprocess.run(words, cwd=tmp_path, check=True)
    assert (tmp_path / "out").read_text() == ("a" if "a{x}" in command else "") + text
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("text", ODD)
def test_overrides_in_a_shell_are_words(text: str, tmp_path: Path) -> None:
    words = Filling("--{key}={value}", {"x": text}, {}).words("sh -c 'printf \"%s\\0\" {overrides} > out'")
    subprocess.run(words, cwd=tmp_path, check=True)
    assert (tmp_path / "out").read_bytes() == f"--x={text}\0".encode()


CODE = [
    "python -c 'print({x})'",
    "python3.11 -uc \"print('{x}')\"",
    "python -W ignore -c 'train({x})'",
    "perl -e 'print {x}'",
    "node --eval={x}",
    "awk '{{print {x}}}'",
    "sh -c 'python -c \"print({x})\"'",
    "sh -c 'eval \"{x}\"'",
    "sh -c 'echo $(cat {x})'",
    "sh -c 'echo ${{a:-{x}}}'",
    "sh -c 'cat <<EOF\n{x}\nEOF'",
    "python -c 'main()' {overrides} -c {x} && python -c '{x}'",
]


@pytest.mark.parametrize("command", CODE[:-1])
def test_a_text_in_a_program_text_is_refused_before_anything_starts(command: str) -> None:
    for text in ("$(touch pwned)", "__import__('os').system('touch pwned')", "a b"):
        with pytest.raises(Unspeakable, match=r"\{x\} would put .* into a program text; give it as an argument"):
            Filling("{key}={value}", {"x": text}, {}).words(command)
        with pytest.raises(SpecError, match=r"trainable\.command: \{x\} would put"):
            RunSpec.from_mapping({"trainable": {"kind": "command", "command": command, "parameters": {"x": text}}})
    for value in (1, 2.5e-07, True, None, "adam", "a/b.yaml"):  # harmless anywhere
        Filling("{key}={value}", {"x": value}, {}).words(command)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python train.py -c {x}", "program program program program"),
        ("python -m train -c {x}", "program program program program program"),
        ("bash run.sh -c {x}", "program program program program"),
        ("bash -c x {x}", "program program shell program"),
        ("ssh host python {x}", "program shell shell shell"),
        ("make LR={x}", "program shell"),
        ("su me -c {x}", "program program program shell"),
        ("sbatch --wrap={x}", "program shell"),
        ("sed s/a/{x}/e file", "program code program"),
    ],
)
def test_who_reads_a_word(command: str, expected: str) -> None:
    assert " ".join(readers(command.split())) == expected


def test_a_nul_and_half_a_character_are_refused() -> None:
    for text in ("a\0b", "\ud800"):
        with pytest.raises(Unspeakable):
            Filling("--{key} {value}", {"x": text}, {}).words("x {overrides}")
