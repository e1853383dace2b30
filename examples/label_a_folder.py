"""Write a table of what can be heard in each file of a folder.

    python examples/label_a_folder.py FOLDER TABLE.csv

The folder becomes a library in a temporary place. Each row of the table is a clip: its path, how
long it is, and its best labels with their scores.
"""

from __future__ import annotations

import csv
import sys
import tempfile

import soundsearch


def main(folder: str, table: str) -> None:
    with tempfile.TemporaryDirectory() as temporary, open(table, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "seconds", "labels"])
        with soundsearch.open(f"{temporary}/library") as lib:
            report = lib.ingest(folder)
            for clip in lib:
                labels = ", ".join(f"{label.name} {label.score:.2f}" for label in clip.labels[:3])
                rows.writerow([clip.uri, f"{clip.duration:.1f}", labels])
    for failure in report.failed:
        print(f"{failure.uri}: {failure.reason}", file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
