"""Several examples as one question: what a mean finds, and what a linear model finds.

    python -m benchmarks.examples DATA

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``, which are ingested into a library. Each class
is asked for with examples from as many source recordings, and at times as many examples against:
clips of other classes among the nearest. Clips of these recordings do not count. Mean average
precision over the first 50 clips, mean over all classes and two draws.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np

import soundsearch
from soundsearch.asking import examples
from soundsearch.evaluate import average_precision

COUNTS = [(1, 0), (2, 0), (3, 0), (5, 0), (8, 0), (1, 1), (2, 2), (3, 3), (5, 5), (8, 8)]
DEPTH, DRAWS = 50, 2
# From how many examples on the model is used: never, and always.
WAYS = {"mean": 1 << 30, "model": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    folder = parser.parse_args().data / "esc50"
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = {str(folder / "audio" / row["filename"]): row for row in csv.DictReader(file)}
    with tempfile.TemporaryDirectory() as temporary, soundsearch.open(f"{temporary}/l") as lib:
        lib.ingest(list(rows))
        print("for  against  " + "  ".join(f"{way:>6}" for way in WAYS))
        for like, unlike in COUNTS:
            found = mean_precision(lib, rows, like, unlike)
            print(
                f"{like:3}  {unlike:7}  " + "  ".join(f"{mean:6.3f}" for mean in found), flush=True
            )


def mean_precision(
    lib: soundsearch.Library, rows: dict[str, dict[str, str]], like: int, unlike: int
) -> list[float]:
    """The mean average precision of each of `WAYS`, for the same examples."""
    rng = np.random.default_rng(0)
    found: list[list[float]] = []
    for kind in sorted({row["category"] for row in rows.values()}):
        of_kind = [uri for uri, row in rows.items() if row["category"] == kind]
        for _ in range(DRAWS):
            by_source = {rows[uri]["source"]: uri for uri in rng.permutation(of_kind).tolist()}
            wanted = list(by_source.values())[:like]
            near = lib.query(soundsearch.Examples(wanted), 100)
            others = [hit.uri for hit in near if rows[hit.uri]["category"] != kind]
            unwanted = rng.permutation(others[: 3 * unlike])[:unlike].tolist()
            seen = {rows[uri]["source"] for uri in (*wanted, *unwanted)}
            total = sum(rows[uri]["source"] not in seen for uri in of_kind)
            if total:
                question = soundsearch.Examples(wanted, unwanted)
                found.append(
                    [
                        precision(lib, question, rows, kind, seen, total, few)
                        for few in WAYS.values()
                    ]
                )
    return [float(mean) for mean in np.mean(found, axis=0)]


def precision(
    lib: soundsearch.Library,
    question: soundsearch.Examples,
    rows: dict[str, dict[str, str]],
    kind: str,
    seen: set[str],
    total: int,
    few: int,
) -> float:
    """The average precision over the first 50 clips of recordings that were not seen."""
    examples.FEW = few
    hits = lib.query(question, DEPTH + 4 * len(seen))
    relevant = [
        rows[hit.uri]["category"] == kind for hit in hits if rows[hit.uri]["source"] not in seen
    ]
    return average_precision(relevant[:DEPTH], total=total)


if __name__ == "__main__":
    main()
