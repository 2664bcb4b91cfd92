"""From a command with placeholders to a program's arguments: each value arrives as what it is, whoever reads it.

Numbers, true, false and null are harmless everywhere. A text is quoted where a shell reads it, and refused where it
would become part of a program in another language.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w.]*)\}")  # `{dotted.name}` in a command
_HYDRA_FORM = re.compile(r"\+{0,2}\{key\}=\{value\}")  # an override in which the value is one whole word
_HARMLESS = re.compile(r"[\w./:@%+,=-]+", re.ASCII)  # the same in every shell, quoted or not
_BARE = re.compile(r"[A-Za-z_/][\w/.-]*", re.ASCII)  # Hydra reads it as a text without quotes
_RESERVED = ("null", "true", "false", "inf", "nan")  # words that Hydra and YAML read as values of other types
# Their `-c` takes code
_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "mksh", "ash", "fish", "csh", "tcsh", "rbash"))
# Programs that hand a word to a shell
_RUN_IN_SHELL = frozenset(("su", "runuser", "sg", "flock", "script", "sbatch", "srun", "xterm", "parallel", "env"))
_JOINED = frozenset(("ssh", "rsh", "watch", "eval", "make", "gmake"))  # a shell reads all their words once more
_FIRST_WORD_IS_CODE = frozenset(("awk", "gawk", "mawk", "nawk", "sed", "gsed", "jq"))  # their first word is a program
# Options of interpreters whose value is code
_CODE_OPTION = {
    **dict.fromkeys(("python", "pypy"), re.compile(r"-[A-Za-z]*c")),
    **dict.fromkeys(("perl", "ruby", "lua", "julia", "Rscript", "R"), re.compile(r"-[A-Za-z]*[eE]")),
    **dict.fromkeys(("node", "nodejs", "deno", "bun"), re.compile(r"-e|-p|-pe|--eval|--print|eval")),
    "php": re.compile(r"-r"),
}
_SHELL_OPTION = re.compile(r"-[A-Za-z]*c|--command|--wrap|-S")  # of a shell, and of what runs one
# Options of interpreters whose value is no code
_TAKES_WORD = frozenset(("-W", "-X", "-I", "-r", "--require", "--rcfile", "--init-file"))
# What evaluates its words as code
_EVALUATES = re.compile(
    r"(?:(?:^|\s)-[A-Za-z]*[ceErS]|\beval|\bawk(?:\s+-\S+)*|\bsed(?:\s+-\S+)*|--eval|--command|--wrap)[=\s]*$"
)


class Unspeakable(ValueError):
    """A value that cannot reach the program as it is; the text says why and what to do."""


def spell(value: object) -> str:
    """A value as Hydra's override grammar reads it back.

    Raises:
        Unspeakable: a mapping with keys that the grammar cannot hold.
    """
    if isinstance(value, str):
        return value if _is_bare(value) else _quoted(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(spell(item) for item in value)}]"
    if isinstance(value, Mapping):
        odd = [key for key in value if not (isinstance(key, str) and _is_bare(key))]
        if odd:
            raise Unspeakable(f"the key {odd[0]!r} cannot stand in a Hydra override; use letters, digits and '_'")
        return f"{{{','.join(f'{key}:{spell(item)}' for key, item in value.items())}}}"
    return plain(value)


def plain(value: object) -> str:
    """A value as one argument: texts as they are, lists and mappings as JSON."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list | tuple | Mapping):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else str(value)


def _is_bare(text: str) -> bool:
    return _BARE.fullmatch(text) is not None and text.lower() not in _RESERVED


def _quoted(text: str) -> str:
    """Within quotes a backslash only counts before a quote, and then each of them does."""
    escaped = re.sub(r"(\\*)'", lambda match: rf"{match[1] * 2}\'", text)
    tail = re.search(r"\\*$", escaped)
    return f"'{escaped}{tail[0] if tail else ''}'"


def is_hydra_form(form: str) -> bool:
    """Whether values are written in Hydra's grammar."""
    return _HYDRA_FORM.fullmatch(form.strip()) is not None


def override_words(
    form: str, parameters: Mapping[str, object], booleans: str = "value", lists: str = "json"
) -> list[str]:
    """One argument per parameter, or two when the form has a space; as many as truth values and lists need.

    Args:
        form: of one override, with `{key}`, or `{flag}` (`-` in place of `_`), and `{value}`.
        booleans, lists: see `trainables.programs.TrainableConfig`.

    Raises:
        Unspeakable: a value that Hydra would change on its way.
    """
    is_hydra = is_hydra_form(form)
    words: list[str] = []
    for key, value in parameters.items():
        if is_hydra:
            _refuse_interpolations(key, value)
        parts = [part.replace("{key}", key).replace("{flag}", key.replace("_", "-")) for part in form.split()]
        flag = parts[0].partition("=")[0] if parts else ""
        if isinstance(value, bool) and booleans != "value":
            words += [flag] if value else [negated(flag)] if booleans == "no" else []
        elif isinstance(value, list | tuple) and lists == "words":
            words += [flag, *map(plain, value)]
        else:
            items = value if isinstance(value, list | tuple) and lists == "repeat" else [value]
            texts = [spell(item) if is_hydra else plain(item) for item in items]
            words += [part.replace("{value}", text) for text in texts for part in parts]
    return words


def negated(flag: str) -> str:
    """`--no-x` of `--x`; of a nested one `--optim.no-x`, as tyro has it."""
    dashes = flag[: len(flag) - len(flag.lstrip("-"))]
    above, dot, name = flag[len(dashes) :].rpartition(".")
    return f"{dashes}{above}{dot}no-{name}"


def _refuse_interpolations(key: str, value: object) -> None:
    """Quotes do not keep Hydra from resolving these."""
    for text in _texts(value):
        if "${" in text or text == "???":
            remedy = "use another form of trainable.override, or another text"
            raise Unspeakable(f"{key}={text!r}: Hydra would resolve it; {remedy}")


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from (str(key), *_texts(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


@dataclass(frozen=True, slots=True)
class Filling:
    """What stands for the placeholders.

    Attributes:
        form: of one override.
        parameters: of the run, by dotted key.
        words_of_run: texts of the placeholders that are no parameters.
        booleans, lists: how overrides say them.
    """

    form: str
    parameters: Mapping[str, object]
    words_of_run: Mapping[str, str]
    booleans: str = "value"
    lists: str = "json"

    @property
    def overrides(self) -> list[str]:
        """`{overrides}` as arguments."""
        return override_words(self.form, self.parameters, self.booleans, self.lists)

    def words(self, command: str) -> list[str]:
        """The command's arguments.

        Raises:
            Unspeakable: a text would become part of a program.
        """
        words: list[str] = []
        for word, reader in zip(split := shlex.split(command), readers(split), strict=True):
            if word == "{overrides}" and reader == "program":
                words += self.overrides
            else:
                words.append(self.fill(word, reader))
        for word in words:
            _refuse_unwritable(word)
        return words

    def fill(self, text: str, reader: str = "program") -> str:
        """The text with `{name}` replaced, for who reads it: program, shell or code. Other braces stay as they are."""

        def text_for(match: re.Match[str]) -> str:
            name = match[1]
            if name == "overrides":
                return self._overrides_for(text, match, reader)
            if name not in self.parameters and name not in self.words_of_run:
                return match[0]
            value = plain(self.parameters[name]) if name in self.parameters else self.words_of_run[name]
            return _for_reader(name, value, text, match, reader)

        return PLACEHOLDER.sub(text_for, text)

    def _overrides_for(self, text: str, match: re.Match[str], reader: str) -> str:
        words = self.overrides
        joined = shlex.join(words)
        if reader == "program" or all(_HARMLESS.fullmatch(word) for word in words):
            return joined
        if reader == "code" or _shell_state(text[: match.start()]) != "bare":
            raise Unspeakable(_no_place("overrides", joined))
        return joined


def _for_reader(name: str, value: str, text: str, match: re.Match[str], reader: str) -> str:
    if reader == "program" or _HARMLESS.fullmatch(value):
        return value
    state = _shell_state(text[: match.start()]) if reader == "shell" else None
    if state is None:
        raise Unspeakable(_no_place(name, value))
    if state == "bare":
        return shlex.quote(value)
    if state == "single":
        return value.replace("'", "'\\''")
    return re.sub(r'([\\"$`])', r"\\\1", value)


def _no_place(name: str, value: str) -> str:
    remedy = f"give it as an argument of its own (sh -c '... \"$1\"' sh {{{name}}}), or let the program read {{config}}"
    return f"{{{name}}} would put {value!r} into a program text; {remedy}"


def _shell_state(before: str) -> str | None:
    """How a shell reads what follows this part of a script: bare, single or double quoted; None = hard to say."""
    state, opened, escaped = "bare", 0, False
    for at, character in enumerate(before):
        if escaped:
            escaped = False
        elif character == "\\" and state != "single":
            escaped = True
        elif state == "bare" and character in "'\"":
            state, opened = ("single" if character == "'" else "double"), at
        elif (state, character) in (("single", "'"), ("double", '"')):
            state = "bare"
        elif state != "single" and _is_hard_to_say(state, before[at : at + 2]):
            return None
    if escaped or _EVALUATES.search(before if state == "bare" else before[:opened]):
        return None
    return state


def _is_hard_to_say(state: str, two: str) -> bool:
    """Whether a substitution, a here-document or a comment begins with these two characters of a script."""
    return two[0] == "`" or two in ("$(", "${", "<<", "$'") or (state == "bare" and two[0] == "#")


def readers(words: Sequence[str]) -> list[str]:
    """Who reads each word of a command: the program, a shell, or another language's interpreter ("code")."""
    found: list[str] = []
    interpreter, pending, joined, takes_word = "", "", False, False
    for word in words:
        name = PurePath(word).name
        kind = _interpreter(name)
        option = word.partition("=")[0] if word.startswith("--") else word
        reader = "shell" if joined else "program"
        if takes_word:
            takes_word = False
        elif pending and not (word.startswith("-") and interpreter == "shell"):
            reader, interpreter, pending = pending, "", ""
        elif interpreter and word.startswith("-"):
            evaluates = _evaluates(interpreter, option)
            if evaluates and "=" in word and word.startswith("--"):
                reader = evaluates
            else:
                pending = evaluates or pending
            takes_word = word in _TAKES_WORD or (interpreter == "shell" and word.endswith("o"))
            interpreter = "" if word == "-m" else interpreter  # a module: what follows are its arguments
        elif interpreter == "first word":
            reader, interpreter = "code", ""
        elif kind:
            interpreter = kind
        elif interpreter not in ("runs shell",):
            interpreter = ""  # a script's file: what follows are its arguments
        joined = joined or name in _JOINED
        found.append(reader)
    return found


def _interpreter(name: str) -> str:
    """What kind of program this is, as `readers` sees it; "" for any other."""
    if name in _SHELLS:
        return "shell"
    if name in _RUN_IN_SHELL:
        return "runs shell"
    if name in _FIRST_WORD_IS_CODE:
        return "first word"
    stem = re.sub(r"[\d.]+$", "", name)
    return stem if stem in _CODE_OPTION else ""


def _evaluates(interpreter: str, option: str) -> str:
    """Who reads the word after this option, "" when it is an option like any other."""
    if interpreter in ("shell", "runs shell"):
        return "shell" if _SHELL_OPTION.fullmatch(option) else ""
    pattern = _CODE_OPTION.get(interpreter)
    return "code" if pattern is not None and pattern.fullmatch(option) else ""


def _refuse_unwritable(word: str) -> None:
    """What no argument of a program can hold."""
    if "\0" in word:
        raise Unspeakable(f"{word!r}: no argument of a program holds a NUL")
    try:
        word.encode()
    except UnicodeEncodeError as error:
        raise Unspeakable(f"{word!r}: not a text that can be written down") from error
