"""A training's report as one HTML page, with pictures inside it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

import numpy as np

from .measures import Reliability
from .report import Report
from .training import Training

__all__ = ["page"]

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; }
h1, h2 { font-weight: 600; line-height: 1.2; }
table { border-collapse: collapse; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; }
svg { max-width: 100%; font: 12px system-ui, sans-serif; }
.pictures { display: flex; flex-wrap: wrap; gap: 2rem; }
.warning { color: #a40; }
pre { white-space: pre-wrap; background: #f4f4f4; padding: .6rem; }
"""

_SIZE = 300
_MARGIN = 42
# A confusion matrix with more classes than this is no picture any more.
_MOST_CLASSES = 80
_BLUE, _ORANGE = "#1668b0", "#d2691e"


def page(training: Training) -> str:
    """The report of a training as an HTML document that needs no other file."""
    head, found = training.head, training.report
    made = head.made
    parts = [
        f"<h1>A head of {len(head.names)} classes</h1>",
        f"<p>{made['clips']:,} clips, {made['groups']:,} groups, {made['folds']} folds; "
        f"{escape(str(made['model']))}, pooling {head.pooling}, {head.output}; space "
        f"{escape(head.space)}, seed {made['seed']}.</p>",
        *(f"<p class=warning>{escape(text)}</p>" for text in training.warnings),
    ]
    if found is None:
        parts.append("<p>Nothing was held back, so nothing was measured.</p>")
    else:
        parts += _report(training, found)
    parts.append(f"<h2>How it was made</h2><pre>{escape(_lines(made))}</pre>")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport "
        f'content="width=device-width"><title>soundsearch train</title><style>{_STYLE}</style>'
        f"{''.join(parts)}</html>\n"
    )


def _report(training: Training, found: Report) -> Iterable[str]:
    yield "<p>Each clip was scored by a model that was trained without its fold.</p>"
    columns = ["measure", "value", *(["without augmentation"] if training.without else [])]
    rows = [
        [name, f"{value:.3f}"] + ([f"{training.without[name]:.3f}"] if training.without else [])
        for name, value in found.measures.items()
    ]
    yield _table(columns, rows)
    yield "<div class=pictures>"
    yield f"<div><h2>Reliability</h2>{_reliability(found.before, found.after)}</div>"
    yield f"<div><h2>Steps of training</h2>{_learning(found)}</div>"
    if found.by_clips:
        yield f"<div><h2>Would more labels help?</h2>{_by_clips(found)}</div>"
    yield "</div>"
    yield "<h2>Classes</h2>"
    yield _table(
        ["class", "clips", "AP", "AUC", "d'", "precision", "recall"],
        [
            [
                each.name,
                f"{each.clips:,}",
                *map(
                    _number,
                    (each.average_precision, each.area, each.d_prime, each.precision, each.recall),
                ),
            ]
            for each in found.classes
        ],
    )
    if found.confused:
        yield "<h2>Taken for others</h2>"
        yield _table(["is", "taken for", "clips"], [[*pair, str(n)] for *pair, n in found.confused])
    if len(found.classes) <= _MOST_CLASSES:
        yield "<h2>Confusion matrix</h2><p>Rows are what clips are, as shares of each row.</p>"
        yield _matrix(found)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _lines(made: object) -> str:
    import json

    return json.dumps(made, indent=1, ensure_ascii=False)


# Pictures


def _frame(inside: str, x: str, y: str, low: str, high: str, ends: tuple[str, str]) -> str:
    """Axes around a square picture."""
    end = _MARGIN + _SIZE
    texts = [
        (_MARGIN + _SIZE / 2, end + 34, "middle", x),
        (_MARGIN, end + 16, "middle", ends[0]),
        (end, end + 16, "middle", ends[1]),
        (_MARGIN - 6, end, "end", low),
        (_MARGIN - 6, _MARGIN + 4, "end", high),
        (_MARGIN, _MARGIN - 12, "middle", y),
    ]
    marks = "".join(
        f"<text x={left:.0f} y={top:.0f} text-anchor={anchor}>{escape(text)}</text>"
        for left, top, anchor, text in texts
    )
    whole = _SIZE + 2 * _MARGIN
    return (
        f'<svg viewBox="0 0 {whole} {whole}" width={whole}><rect x={_MARGIN} y={_MARGIN} '
        f'width={_SIZE} height={_SIZE} fill=none stroke="#999"/>{marks}{inside}</svg>'
    )


def _line(points: Iterable[tuple[float, float]], colour: str) -> str:
    """A line through points in the unit square."""
    path = " ".join(f"{_MARGIN + x * _SIZE:.1f},{_MARGIN + (1 - y) * _SIZE:.1f}" for x, y in points)
    return f'<polyline points="{path}" fill=none stroke="{colour}" stroke-width=2 />'


def _names(orange: str, blue: str, *, top: int) -> str:
    """What the lines are, at the right: there the curves leave room, above or below."""
    return "".join(
        f"<text x={_MARGIN + _SIZE - 8} y={_MARGIN + top + 16 * row} text-anchor=end "
        f'fill="{colour}">{escape(name)}</text>'
        for row, (colour, name) in enumerate(((_ORANGE, orange), (_BLUE, blue)))
    )


def _reliability(before: Reliability, after: Reliability) -> str:
    lines = [
        _line(zip(each.scores.tolist(), each.shares.tolist(), strict=True), colour)
        for each, colour in ((before, _ORANGE), (after, _BLUE))
    ]
    inside = "".join((_line([(0, 0), (1, 1)], "#bbb"), *lines))
    inside += _names("before calibration", "after", top=_SIZE - 26)
    return _frame(inside, "score", "true", "0", "1", ("0", "1"))


def _learning(found: Report) -> str:
    losses = [loss for pair in found.curve for loss in pair]
    low, high = min(losses), max(losses)
    last = max(len(found.curve) - 1, 1)

    def placed(which: int) -> list[tuple[float, float]]:
        return [
            (step / last, (pair[which] - low) / max(high - low, 1e-12))
            for step, pair in enumerate(found.curve)
        ]

    lines = _line(placed(0), _ORANGE) + _line(placed(1), _BLUE)
    lines += _names("trained with", "held back", top=16)
    ends = f"{found.steps[0]:g}", f"{found.steps[-1]:g}"
    return _frame(lines, "step", "loss", f"{low:.2f}", f"{high:.2f}", ends)


def _by_clips(found: Report) -> str:
    """The first measure by clips that were trained with, twice as many at each step."""
    measure = next(iter(found.measures))
    counts = [clips for clips, _ in found.by_clips]
    values = [of[measure] for _, of in found.by_clips]
    low = min(values)
    span = max(1 - low, 1e-12)
    wide = np.log(counts[-1] / counts[0])
    points = [
        (float(np.log(clips / counts[0]) / wide), (value - low) / span)
        for clips, value in zip(counts, values, strict=True)
    ]
    marks = "".join(
        f"<circle cx={_MARGIN + x * _SIZE:.1f} cy={_MARGIN + (1 - y) * _SIZE:.1f} r=4 "
        f'fill="{_BLUE}"><title>{clips:,} clips: {value:.3f}</title></circle>'
        for (x, y), clips, value in zip(points, counts, values, strict=True)
    )
    ends = f"{counts[0]:,}", f"{counts[-1]:,}"
    inside = _line(points, _BLUE) + marks
    return _frame(inside, "clips trained with", measure, f"{low:.2f}", "1", ends)


def _matrix(found: Report) -> str:
    count = len(found.classes)
    cell = max(8, min(24, 600 // count))
    names = 170
    cells = []
    for row, counts in enumerate(found.confusion.tolist()):
        whole = max(1, found.classes[row].clips)
        is_ = escape(found.classes[row].name)
        cells.append(
            f"<text x={names - 4} y={names + (row + 0.8) * cell:.0f} text-anchor=end "
            f"font-size={min(12, cell)}>{is_}</text>"
            f'<text transform="translate({names + (row + 0.8) * cell:.0f},{names - 4}) rotate(-90)"'
            f" font-size={min(12, cell)}>{is_}</text>"
        )
        for column, number in enumerate(counts):
            if number:
                taken = escape(found.classes[column].name)
                colour = _BLUE if row == column else _ORANGE
                cells.append(
                    f"<rect x={names + column * cell} y={names + row * cell} width={cell} "
                    f'height={cell} fill="{colour}" fill-opacity={min(1, number / whole):.2f}>'
                    f"<title>{is_}, taken for {taken}: {number}</title></rect>"
                )
    side = names + count * cell
    return (
        f'<svg viewBox="0 0 {side} {side}" width={side}><rect x={names} y={names} '
        f'width={count * cell} height={count * cell} fill=none stroke="#999"/>'
        f"{''.join(cells)}</svg>"
    )
