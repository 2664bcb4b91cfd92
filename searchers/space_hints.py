"""What somebody meant who wrote a word that we do not know: a near one, or what another tool's word is called here."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

# Words of other tools' search spaces, and ours
FOREIGN_KEYS = {
    "values": "choices",
    "low": "min",
    "high": "max",
    "lower": "min",
    "upper": "max",
    "type": "distribution",
    "default": "mean",
}
# Names of distributions in W&B's, Ray Tune's, Optuna's and CARBS' search spaces, in small letters without "_", and ours
FOREIGN_DISTRIBUTIONS = {
    **dict.fromkeys(("quniform", "floatdistribution", "uniformdistribution", "suggestfloat"), "uniform"),
    **dict.fromkeys(("normal", "qnormal", "randn", "qrandn", "linearspace", "discreteuniformdistribution"), "uniform"),
    **dict.fromkeys(("loguniform", "qloguniform", "loguniformvalues", "qloguniformvalues"), "log_normal"),
    **dict.fromkeys(("invloguniform", "invloguniformvalues", "loguniformdistribution", "logspace"), "log_normal"),
    **dict.fromkeys(("qlognormal", "logfloat"), "log_normal"),
    **dict.fromkeys(("randint", "qrandint", "intdistribution", "intuniformdistribution", "suggestint"), "int_uniform"),
    **dict.fromkeys(("lograndint", "qlograndint", "intloguniformdistribution"), "int_log_normal"),
    **dict.fromkeys(("choice", "gridsearch", "categoricalwprobabilities", "categoricaldistribution"), "categorical"),
    "suggestcategorical": "categorical",
    "logitspace": "logit_normal",
    "constant": "{value: ...} without a distribution",
}


def nearest(key: str, known: Sequence[str]) -> str:
    """'; did you mean ...?', or the list of what is known."""
    near = difflib.get_close_matches(key, known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"


def key_hint(key: str, known: Sequence[str]) -> str:
    """`nearest` for a key of a parameter."""
    return f"; did you mean {FOREIGN_KEYS[key]}?" if key in FOREIGN_KEYS else nearest(key, known)


def distribution_hint(kind: str, known: Sequence[str]) -> str:
    """`nearest` for the name of a distribution."""
    foreign = FOREIGN_DISTRIBUTIONS.get(kind.lower().removeprefix("tune.").replace("_", ""))
    return f"; did you mean {foreign}?" if foreign else nearest(kind, known)
