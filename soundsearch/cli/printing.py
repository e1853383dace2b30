"""What people see in a terminal: tables, reports, the progress bar."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from ..errors import SoundsearchError

if TYPE_CHECKING:
    from ..library import Library
    from ..results import Answer, Clip, Hit, IngestReport, Label, LabelledClip

__all__ = [
    "counted",
    "print_answer",
    "print_clip",
    "print_installed",
    "print_json",
    "print_labelled",
    "print_report",
    "print_warning",
    "progress",
    "run_ingest",
    "shown",
]


def run_ingest(
    lib: Library,
    targets: Iterable[str],
    prune: bool = False,
    retry_failed: bool = False,
    verbose: bool = False,
) -> IngestReport:
    """Ingest with a progress bar on standard error."""
    targets = list(targets)

    def count() -> int:
        from soundsearch_ingest.discover import discover, expand

        return sum(1 for _ in discover(expand(targets)))

    with progress(verbose, count) as watchers:
        return lib.ingest(targets, prune=prune, retry_failed=retry_failed, **watchers)


def print_answer(answer: Answer) -> None:
    """Print a query's own labels and a table of its hits."""
    click.echo(f"sounds like: {_names(answer.labels, paths=True)}\n")
    if not answer.hits:
        click.echo("the library is empty: soundsearch ingest FOLDER fills it")
        return
    click.echo(f"{'#':>3}  score  {'moment':17}  {'labels':38}  clip")
    for hit in answer:
        moment = f"{_clock(hit.start)}-{_clock(hit.end)}"
        click.echo(
            f"{hit.rank:>3}  {hit.score:5.3f}  {moment:17}  {_heard(hit):38.38}  {_short(hit.uri)}"
        )


def print_clip(clip: Clip) -> None:
    said = ", ".join(label.name for label in clip.human_labels)
    click.echo(
        f"{_clock(clip.duration):>10}  {said or _names(clip.labels):38.38}  {_short(clip.uri)}"
    )


def shown(text: str) -> str:
    """Text with everything escaped that a terminal would act on or could not print."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def print_json(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        click.echo(json.dumps(row))


def print_installed(name: str, facts: dict[str, Any]) -> None:
    click.echo(f"{name} is installed: {facts['file']}")
    if "difference" in facts:
        click.echo(f"  differs from TensorFlow's output by at most {facts['difference']:.1g}")
    if "cosine_mean" in facts:
        click.echo(
            f"  int8: cosine to fp32 on sound it was not fitted to: mean "
            f"{facts['cosine_mean']:.4f}, worst {facts['cosine_worst']:.4f}"
        )
    for mark, what in (("mark", "weights"), ("pca_mark", "weights and PCA")):
        if facts.get(mark):
            click.echo(
                f"  these are not Google's {what}, by what they make of a test tone: their space "
                f"has the name of its own ...{facts[mark]}",
                err=True,
            )
            break


def print_report(report: IngestReport, facts: dict[str, Any]) -> None:
    counts = [
        (len(report.failed), "failed"),
        (report.failed_before, "failed before"),
        (report.added, "added"),
        (report.replaced, "replaced"),
        (report.renamed, "renamed"),
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
    ]
    done = ", ".join(f"{count:,} {what}" for count, what in counts if count) or "nothing to do"
    click.echo(f"{done}; the library holds {counted(facts['clips'], 'clip')}")
    for what, count in report.skipped.items():
        click.echo(f"  skipped: {count:,} {what}", err=True)
    if report.warnings:
        click.echo(
            f"  {counted(report.warnings, 'clip')} held less than promised, or odd samples",
            err=True,
        )
    for failure in report.failed[:10]:
        click.echo(f"  failed: {shown(failure.uri)}: {shown(failure.reason)}", err=True)
    if len(report.failed) > 10:
        click.echo("  ... the rest: soundsearch failures", err=True)
    if report.missing:
        click.echo(
            f"  {counted(len(report.missing), 'file')} gone, still in the library; "
            "--prune takes them out",
            err=True,
        )


def print_labelled(labelled: LabelledClip) -> None:
    for found in labelled.labels:
        click.echo(str(found))
    click.echo("")
    for segment in labelled.segments:
        click.echo(f"{_clock(segment.start)}-{_clock(segment.end)}  {_names(segment.labels)}")


def _heard(hit: Hit) -> str:
    """The labels of a hit: predicted ones of its moment, else what people said of the clip."""
    said = ", ".join(label.name for label in hit.human_labels)
    return _names(hit.labels) if hit.labels or not said else said


def _names(labels: tuple[Label, ...], paths: bool = False) -> str:
    best = [
        f"{' > '.join(found.path) if paths else found.name} {found.score:.2f}"
        for found in labels[:3]
    ]
    return ", ".join(best) or "nothing known"


def _clock(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours:.0f}:{minutes:02.0f}:{rest:05.2f}" if hours else f"{minutes:.0f}:{rest:05.2f}"


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _short(uri: str) -> str:
    home = os.path.expanduser("~")
    return shown("~" + uri[len(home) :] if uri.startswith(home + os.sep) else uri)


@contextmanager
def progress(verbose: bool, count: Callable[[], int]) -> Iterator[dict[str, Any]]:
    """What `Library.ingest` tells, on a bar of files with their rate, after the first second.

    `count` gives the number of files; it is called from another thread, and need not succeed.
    """
    import threading

    from tqdm import tqdm

    lock = threading.Lock()
    sound = 0.0
    with tqdm(unit=" files", delay=1, disable=None, dynamic_ncols=True) as bar:

        def find_total() -> None:
            with suppress(SoundsearchError):  # the ingest itself will say so
                bar.total = count()

        def on_file(uri: str, outcome: str) -> None:
            if verbose:
                write(f"{outcome:9} {shown(uri)}")
            elapsed = bar.format_dict["elapsed"]
            bar.set_postfix_str(f"{sound / max(elapsed, 1e-9):,.0f}x real time", refresh=False)
            bar.update()

        def on_sound(seconds: float) -> None:
            nonlocal sound
            with lock:
                sound += seconds

        def write(text: str) -> None:
            bar.write(text, file=sys.stderr)

        if not bar.disable:  # counting goes on beside the work
            threading.Thread(target=find_total, daemon=True).start()
        yield {"on_file": on_file, "on_sound": on_sound, "on_step": write}


def print_warning(clip: str, warning: str | None) -> None:
    if warning is not None:
        click.echo(f"Warning: {shown(clip)}: {warning}", err=True)
