"""The systems of the papers, one command each: see README.md beside this file."""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

from soundsearch.errors import SoundsearchError

from .job import Job

# Modules beside this one; each has run(job), which returns its report as Markdown.
SYSTEMS = {
    "aziz": "a CNN on ten seconds as an image of 10 x 128, and its settings",
    "outputs": "several labels at once: formulations that fail and one that works",
    "transfer": "three layers on VGGish features; accuracy against the number of classes",
    "grzywalski": "labels that agree with the ontology, and transfer to other classes",
    "frozen": "Dense(128) and softmax on frozen embeddings; t-SNE of these",
    "attention": "attention and multi-level attention over the seconds of a clip",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(
        prog="python -m recipes.papers",
        description=__doc__,
        epilog="\n".join(f"{name:12} {what}" for name, what in SYSTEMS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("system", choices=SYSTEMS, metavar="NAME", help="one of those below")
    top.add_argument(
        "data", type=Path, metavar="DATA", help="folder with esc50/, audioset/ or TFRecord files"
    )
    top.add_argument("--quick", action="store_true", help="a miniature, under a minute")
    top.add_argument(
        "--out", type=Path, help="results, report and pictures; the same command goes on there"
    )
    top.add_argument("--seed", type=int, default=1, help="the first seed (default: 1)")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run a system and print its report; 0 if all is well, 1 after an error, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        try:
            job = Job(options.system, options.data, out, options.quick, options.seed)
            report = importlib.import_module(f".{options.system}", __package__).run(job)
        except SoundsearchError as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            kept = f"the same command goes on from {out}" if options.out else "--out keeps results"
            print(f"\ninterrupted; {kept}", file=sys.stderr)
            return 130
        (out / f"{options.system}.md").write_text(report, "utf-8")
    print(report, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
