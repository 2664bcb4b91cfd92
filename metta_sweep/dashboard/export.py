"""Files that leave the dashboard: the runs as CSV and Parquet."""

from __future__ import annotations

import io

import pandas as pd

from metta_sweep.analysis.frame import PARAM


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """The frame without its dict column; parameters stand in `param.<path>`."""
    return runs.drop(columns="params")


def csv_text(runs: pd.DataFrame) -> str:
    """One line per run, full precision."""
    return table(runs).to_csv(index=False)


def parquet_bytes(runs: pd.DataFrame) -> bytes:
    """The same as Parquet; a parameter whose values have several types becomes text."""
    flat = table(runs)
    mixed = [name for name in flat.columns if name.startswith(PARAM) and flat[name].map(type).nunique() > 1]
    buffer = io.BytesIO()
    flat.astype(dict.fromkeys(mixed, "str")).to_parquet(buffer, index=False)
    return buffer.getvalue()
