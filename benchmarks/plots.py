"""`python -m benchmarks.plots RESULTS.json … --out docs/performance`: bars as SVG, and the tables of `FOLDER.md`.

A result is what `python -m benchmarks NAME --json` printed. Tables go between the page's marks, `<!-- NAME -->` and
`<!-- end -->`: no figure of the page is typed.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT, LINE, TOP = 720, 220, 90, 26, 34
_STYLE = """
text { font: 13px sans-serif; fill: #24292f } .title { font-weight: bold }
.bar { fill: #8c959f } .ours { fill: #0969da }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .bar { fill: #6e7681 } .ours { fill: #58a6ff } }
"""


def bars(title: str, values: Mapping[str, float]) -> str:
    """An SVG of a bar for each value, Retouch's in another colour; readable on light and on dark."""
    most = max(values.values(), default=0) or 1
    lines = [_bar(TOP + LINE * row, name, value, value / most) for row, (name, value) in enumerate(values.items())]
    height = TOP + LINE * len(values) + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'role="img"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<text class="title" x="8" y="20">{escape(title)}</text>{"".join(lines)}</svg>\n'
    )


def _bar(y: int, name: str, value: float, share: float) -> str:
    kind = "bar ours" if name.startswith("Retouch") else "bar"
    length = max(share * (WIDTH - LEFT - RIGHT), 1)
    return (
        f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{y + 3}" width="{length:.1f}" height="{LINE - 8}" rx="2"/>'
        f'<text x="{LEFT + length + 6:.1f}" y="{y + 16}">{shown(value)}</text>'
    )


def shown(value: float) -> str:
    """A number with three digits that count, in full."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def slug(text: str) -> str:
    """A text as part of a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def plots(result: Mapping[str, Any]) -> dict[str, str]:
    """By file name, a plot of each case's first measure, where several are compared."""
    return {
        plot_of(result, row): bars(f"{row['case']}: {measure}", values)
        for row in result["rows"]
        for measure, values in list(row["numbers"].items())[:1]
        if len(values) > 1
    }


def plot_of(result: Mapping[str, Any], row: Mapping[str, Any]) -> str:
    """The file name of a case's plot."""
    return f"{result['benchmark']}-{slug(row['case'].partition(':')[0])}.svg"


def tables(result: Mapping[str, Any], folder: str) -> str:
    """Each case of a result as a table with its plot in `folder`, then when and where it was measured."""
    drawn = plots(result)
    parts = []
    for row in result["rows"]:
        verdict = "reached" if row["good"] else "missed"
        wanted = "" if row["wanted"] == "nothing" else f" Wanted: {row['wanted']}; **{verdict}**."
        lines = [f"**{row['case']}.**{wanted}", "", "| | |", "|---|---|"]
        lines += [f"| {name} | {' '.join(value.split())} |" for name, value in row["figures"].items()]
        if (file := plot_of(result, row)) in drawn:
            lines += ["", f"![{row['case']}]({folder}/{file})"]
        parts.append("\n".join(lines))
    machine = ", ".join(f"{name} {value}" for name, value in result["machine"].items())
    return "\n\n".join([*parts, f"Measured on {result['date']}: {machine}."])


def filled(page: str, results: Sequence[Mapping[str, Any]], folder: str) -> str:
    """The page with the tables of these results between their marks; others stay."""
    for result in results:
        before, mark, rest = page.partition(f"<!-- {result['benchmark']} -->\n")
        if mark:
            page = f"{before}{mark}\n{tables(result, folder)}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    return page


def main() -> None:
    """Write the plots into the folder, copy the results there, and fill the page beside it, `FOLDER.md`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plots")
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/performance"))
    given = parser.parse_args()
    results = [json.loads(path.read_text()) for path in given.results]
    given.out.mkdir(parents=True, exist_ok=True)
    for result in results:
        name = result["benchmark"]
        for old in given.out.glob(f"{name}-*.svg"):
            old.unlink()
        (given.out / f"{name}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        for file, svg in plots(result).items():
            (given.out / file).write_text(svg)
    page = given.out.with_suffix(".md")
    if page.exists():
        page.write_text(filled(page.read_text(), results, given.out.name))


if __name__ == "__main__":
    main()
