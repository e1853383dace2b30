"""How many clips of ESC-50 a map's colours tell nothing of, by label and by category.

    python -m benchmarks.map_colours DATA

DATA holds ``esc50/audio/``. Its clips are ingested into a library that is deleted again. For each
choice of what clips are coloured by: the legend, and the share of clips that are in none of its
nine most frequent values.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import soundsearch
from soundsearch.labels.kept import vocabulary_of
from soundsearch.mapping.columns import coloured, values_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="a folder with esc50/")
    folder = parser.parse_args().data / "esc50" / "audio"
    with tempfile.TemporaryDirectory() as place, soundsearch.open(Path(place) / "l") as library:
        library.ingest(folder)
        store = library._session.store
        clips, vocabulary = list(store.clips()), vocabulary_of(store)
        for by in ("label", "category"):
            _, legend = coloured(values_of(clips, vocabulary, by))
            others = sum(count for name, _, count in legend if name == "other")
            shown = ", ".join(f"{name} {count}" for name, _, count in legend)
            print(f"{by}: {others / len(clips):.1%} are others; {shown}")


if __name__ == "__main__":
    main()
