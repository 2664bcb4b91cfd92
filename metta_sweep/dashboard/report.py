"""The same figures as one HTML file that needs neither a server nor a network."""

from __future__ import annotations

import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from metta_sweep.analysis.estimates import totals
from metta_sweep.analysis.health import Finding
from metta_sweep.analysis.pareto import direction
from metta_sweep.analysis.recommend import head_lines, next_commands, sentences
from metta_sweep.config.patches import patch_text
from metta_sweep.dashboard.figure_input import FigureInput
from metta_sweep.dashboard.figures import theme
from metta_sweep.dashboard.pages import FIGURES
from metta_sweep.dashboard.runs_grid import Column, columns_of
from metta_sweep.dashboard.view import HOME, PAGES
from metta_sweep.dashboard.wealth import shown, wealth_of
from trainables.disk import write_whole

MAX_ROWS = 1000  # of the table: more make the file slow to open
STYLE = """
body { font-family: system-ui, sans-serif; margin: 0 auto; max-width: 1400px; padding: 1rem 2rem; }
figure { margin: 0 0 2rem 0; } figcaption { color: #7b8794; } .cards { display: flex; gap: 2rem; flex-wrap: wrap; }
.cards b { display: block; font-size: 1.4rem; } body.dark { background: #1b2027; color: #e4e7eb; }
.runs { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #7b879444; text-align: left; white-space: nowrap; }
td.number { text-align: right; } pre { overflow-x: auto; padding: .6rem; border: 1px solid #7b879466; }
"""


def write_report(inputs: FigureInput, path: Path) -> None:
    """Write the report; the directory is made when missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, report_html(inputs))


def report_html(inputs: FigureInput) -> str:
    """The whole page. Texts of the sweep are escaped; Plotly's own code is part of the file."""
    name = html.escape(inputs.snapshot.sweep.name)
    body = "\n".join(
        [
            f"<h1>Sweep {name}</h1>",
            summary(inputs),
            configuration(inputs),
            words(inputs),
            *sections(inputs),
            runs_table(inputs),
        ]
    )
    head = f'<meta charset="utf-8"><title>{name}</title><style>{STYLE}</style><script>{get_plotlyjs()}</script>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body class="{inputs.view.theme}">{body}</body></html>\n'


def sections(inputs: FigureInput) -> Iterator[str]:
    """A heading for each page with its figures; what has nothing to show is left out."""
    for page, figures in FIGURES.items():
        if page in (HOME, "runs"):  # whose figures need sweeps or runs that somebody ticks
            continue
        drawn = {name: figure.draw(inputs) for name, figure in figures.items()}
        full = {name: one for name, one in drawn.items() if one.data}
        if full:
            yield f"<h2>{html.escape(PAGES[page])}</h2>"
        for name, one in full.items():
            told = f"<b>{html.escape(figures[name].title)}</b> {html.escape(figures[name].help)}"
            yield f"<figure><figcaption>{told}</figcaption>{drawing(one, name)}</figure>"


def drawing(figure: go.Figure, name: str) -> str:
    """A figure as an HTML fragment that finds Plotly on the page."""
    page = {"full_html": False, "include_plotlyjs": False, "config": {"responsive": True, "displaylogo": False}}
    return str(figure.to_html(div_id=f"figure-{name}", **page))


def summary(inputs: FigureInput) -> str:
    """The cards of the dashboard."""
    all_runs = totals(inputs.snapshot.all_runs, inputs.goal)
    paid = wealth_of(inputs.snapshot).amounts[0]
    cards = {
        "runs": f"{all_runs.num_runs:,}",
        "best single score": theme.number(all_runs.best_score),
        "run cost": shown(paid.spent, paid.unit),
        "idle": shown(paid.idle, paid.unit),
        "node bill": shown(paid.node_bill, paid.unit),
        "average run time": theme.seconds(all_runs.mean_wall_seconds),
        "as of (UTC)": theme.when(inputs.snapshot.read_at),
    }
    boxes = (f"<div>{label}<b>{html.escape(value)}</b></div>" for label, value in cards.items())
    return f'<div class="cards">{"".join(boxes)}</div>'


def configuration(inputs: FigureInput) -> str:
    """The configuration to use: why, as a patch to copy, and the commands."""
    found, name = inputs.recommendation, inputs.snapshot.sweep.name
    if found is None:
        return "<h2>Use this configuration</h2><p>No run has a score yet.</p>"
    told = "".join(f"<p>{html.escape(text)}</p>" for text in sentences(found))
    patch = patch_text(found.winner.params, head_lines(name, found.winner))
    commands = "\n".join(next_commands(name, inputs.snapshot.address))
    to_copy = f"<pre>{html.escape(patch)}</pre><pre>{html.escape(commands)}</pre>"
    return f"<h2>Use this configuration</h2>{told}{to_copy}"


def runs_table(inputs: FigureInput) -> str:
    """The runs with the columns of the dashboard's table, the best single score first."""
    runs = inputs.runs
    if runs.empty:
        return "<h2>Runs</h2><p>No run has started yet.</p>"
    order = (direction(inputs.goal) * runs["score"]).sort_values(ascending=False, na_position="last").index
    shown = runs.loc[order].head(MAX_ROWS)
    columns = {name: one for name, one in columns_of(shown).items() if one.is_main}
    head = "".join(f"<th>{html.escape(title)}</th>" for title in ("run", *(one.title for one in columns.values())))
    rows = [
        f"<td>#{row['number']}</td>" + "".join(cell(row[name], one) for name, one in columns.items())
        for row in shown.to_dict("records")
    ]
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    note = f"<p>The best {len(shown):,} of {len(runs):,}.</p>" if len(shown) < len(runs) else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<h2>Runs</h2>{note}<div class="runs">{table}</div>'


def cell(value: Any, column: Column) -> str:
    """A value as the dashboard's table shows it; numbers stand at the right."""
    kind = ' class="number"' if column.format else ""
    return f"<td{kind}>{html.escape(column.written(value, unknown=''))}</td>"


def words(inputs: FigureInput) -> str:
    """Findings as a list."""
    return "<ul>" + "".join(f"<li>{sentence(one)}</li>" for one in inputs.findings) + "</ul>"


def sentence(one: Finding) -> str:
    return f"<b>{html.escape(one.title)}</b>: {html.escape(one.text)} {html.escape(one.advice)}"
