"""A map as a picture: SVG without more, PNG by Pillow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.extras import needs

from .columns import COLOURS

__all__ = ["png", "svg"]

Floats = NDArray[np.float32]
# Name, colour and count of each kind of clips.
Legend = Sequence[tuple[str, int, int]]

# Pixels: the square that clips are in, the room around it, and the legend beside it.
_SIDE, _MARGIN, _BESIDE, _LINE = 1000, 24, 300, 24
_LONGEST_NAME = 34
# The picture is drawn so many times as large and made smaller, so that edges are smooth.
_FINER = 2


def _radius(count: int) -> float:
    return 6.0 if count < 300 else 4.0 if count < 3000 else 2.5 if count < 30_000 else 1.4


def _drawn(places: Floats) -> NDArray[np.float64]:
    """Where clips are in the picture, in pixels, float64 [n, 2]."""
    if not len(places):
        return np.empty((0, 2))
    low, high = places.min(axis=0).astype(np.float64), places.max(axis=0).astype(np.float64)
    scale = _SIDE / (float((high - low).max()) or 1)
    centred = (places - (low + high) / 2) * scale * [1, -1]
    placed: NDArray[np.float64] = centred + _MARGIN + _SIDE / 2
    return placed


def _named(name: str, count: int) -> str:
    # What XML has no place for, and what would turn a line around.
    plain = "".join(c if c.isprintable() and not 0xD800 <= ord(c) < 0xE000 else "�" for c in name)
    cut = plain if len(plain) <= _LONGEST_NAME else f"…{plain[1 - _LONGEST_NAME :]}"
    return f"{cut}  {count:,}"


def _order(count: int) -> NDArray[np.int64]:
    """An order to draw in that favours no colour, always the same."""
    order: NDArray[np.int64] = np.random.default_rng(0).permutation(count)
    return order


def svg(places: Floats, colours: Sequence[int], legend: Legend) -> bytes:
    """Clips in their colours, and what these mean, as an SVG document.

    Parameters
    ----------
    places : float32 [n, 2]
    colours : sequence of int
        Places in a list of `COLOURS`.
    legend : sequence of (str, int, int)
        Name, colour and count of each kind.
    """
    radius = _radius(len(places))
    width, height = _SIDE + 2 * _MARGIN + _BESIDE, _SIDE + 2 * _MARGIN
    drawn = _drawn(places).tolist()
    dots = "".join(
        f'<circle class="c{colours[row]}" cx="{drawn[row][0]:.1f}" cy="{drawn[row][1]:.1f}" '
        f'r="{radius}"/>\n'
        for row in _order(len(drawn)).tolist()
    )
    styles = "".join(f".c{at}{{fill:{colour}}}" for at, colour in enumerate(COLOURS["light"]))
    left = _SIDE + 2 * _MARGIN
    lines = "".join(
        f'<circle class="c{colour}" cx="{left + 8}" cy="{_MARGIN + _LINE * row + 8}" r="7"/>'
        f'<text x="{left + 24}" y="{_MARGIN + _LINE * row + 13}">{escape(_named(name, count))}'
        "</text>\n"
        for row, (name, colour, count) in enumerate(legend)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" role="img"><title>{len(places):,} clips</title>'
        f"<style>{styles}text{{font:15px system-ui,sans-serif;fill:#222}}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>\n<g fill-opacity=".85">\n{dots}</g>\n'
        f"{lines}</svg>\n"
    ).encode()


def png(places: Floats, colours: Sequence[int], legend: Legend) -> bytes:
    """The same as a PNG file; raises MissingExtra."""
    image_of = needs("PIL.Image", "map")
    draw_on = needs("PIL.ImageDraw", "map")
    font = needs("PIL.ImageFont", "map").load_default(15)
    size = _SIDE + 2 * _MARGIN + _BESIDE, _SIDE + 2 * _MARGIN
    fine = image_of.new("RGB", (size[0] * _FINER, size[1] * _FINER), "#fff")
    drawing = draw_on.Draw(fine)
    palette = COLOURS["light"]

    def dot(x: float, y: float, radius: float, colour: int) -> None:
        box = [value * _FINER for value in (x - radius, y - radius, x + radius, y + radius)]
        drawing.ellipse(box, fill=palette[colour])

    drawn, radius = _drawn(places).tolist(), _radius(len(places))
    for row in _order(len(drawn)).tolist():
        dot(drawn[row][0], drawn[row][1], radius, colours[row])
    left = _SIDE + 2 * _MARGIN
    for row, (_, colour, _) in enumerate(legend):
        dot(left + 8, _MARGIN + _LINE * row + 8, 7, colour)
    picture = fine.resize(size, image_of.Resampling.BOX)
    writing = draw_on.Draw(picture)
    for row, (name, _, count) in enumerate(legend):
        writing.text((left + 24, _MARGIN + _LINE * row), _named(name, count), "#222", font)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=False)
    return out.getvalue()
