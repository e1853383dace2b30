"""The command line: parse, call the library, print."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .errors import SoundsearchError

if TYPE_CHECKING:
    from .library import Library
    from .results import Answer, IngestReport, Label, LabelledClip

__all__ = ["main"]

EXIT_ERROR = 1
EXIT_SOME_FAILED = 3
EXIT_INTERRUPTED = 130


class _Commands(click.Group):
    """Show errors as one message; a traceback only with --debug."""

    def invoke(self, ctx: click.Context) -> Any:
        debug = ctx.params.get("debug", False)
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo(
                "Stopped. What was done is stored; run the same command again to go on.", err=True
            )
            ctx.exit(EXIT_INTERRUPTED)
        except SoundsearchError as error:
            if debug:
                raise
            click.echo(f"Error: {shown(str(error))}", err=True)
            ctx.exit(EXIT_ERROR)
        except Exception as error:
            if debug:
                raise
            click.echo(
                f"Error: {type(error).__name__}: {shown(str(error))} (this is a fault of "
                "soundsearch; `soundsearch --debug ...` shows where)",
                err=True,
            )
            ctx.exit(EXIT_ERROR)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Search sounds by sound."""
    if not debug:
        _silence_c_libraries()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show is escaped
            stream.reconfigure(errors="backslashreplace")


def _silence_c_libraries() -> None:
    """Keep what C libraries write to descriptor 2 off the terminal; Python's own goes on.

    libmpg123 remarks on every odd frame of a damaged MP3 there, in the middle of a progress bar.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
    except (AttributeError, OSError, ValueError):
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = open(kept, "w", buffering=1)  # noqa: SIM115 - for as long as the process runs


_library_option = click.option(
    "--library",
    metavar="FOLDER",
    type=click.Path(),
    help="The library; by default SOUNDSEARCH_LIBRARY or one in the user's data folder.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")


class _Moments(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """``3.0-6.5``, ``3.0-`` or ``-6.5``: seconds."""

    name = "START-END"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, float | None]:
        start, dash, end = str(value).partition("-")
        try:
            moments = float(start or 0), float(end) if end else None
        except ValueError:
            dash = ""
            moments = 0.0, None
        if not dash or moments[0] < 0 or (moments[1] is not None and moments[1] <= moments[0]):
            self.fail(f"expected START-END in seconds, as in 3.0-6.5, got {value!r}", param, ctx)
        return moments


_at_option = click.option("--at", type=_Moments(), help="Only this part of the sound, seconds.")


@main.command()
@click.argument("targets", nargs=-1, type=click.Path())
@_library_option
@click.option("--encoder", help="For a new library: see `soundsearch models list`.")
@click.option("--hop", type=float, help="For a new library: seconds between segments.")
@click.option("--prune", is_flag=True, help="Take clips out whose file is gone.")
@click.option("--retry-failed", is_flag=True, help="Try files again that failed before.")
@click.option("--reembed", is_flag=True, help="First bring all clips to the encoder's version.")
@click.option("-v", "--verbose", is_flag=True, help="A line for each file once it is stored.")
def ingest(
    targets: tuple[str, ...],
    library: str | None,
    encoder: str | None,
    hop: float | None,
    prune: bool,
    retry_failed: bool,
    reembed: bool,
    verbose: bool,
) -> None:
    """Add folders, files or patterns to the library, or bring it up to date with them."""
    if not targets and not reembed:
        raise click.UsageError("Missing argument 'TARGETS...': a file, a folder or a pattern.")
    failed = False
    with _open(library, encoder=encoder, hop=hop) as lib:
        if reembed:
            with _progress(verbose, lambda: lib.info()["clips"]) as watchers:
                report = lib.reembed(prune=prune, **watchers)
            _print_report(report, lib.info())
            failed = bool(report.failed)
        if targets:
            report = run_ingest(lib, targets, prune, retry_failed, verbose)
            _print_report(report, lib.info())
            failed = failed or bool(report.failed)
    if failed:
        sys.exit(EXIT_SOME_FAILED)


@main.command()
@click.argument("clip", type=click.Path(allow_dash=True))
@_library_option
@click.option("-k", default=10, show_default=True, type=click.IntRange(1), help="Clips wanted.")
@_at_option
@click.option("--ranking", default="pooled", show_default=True, help="How clips are scored.")
@_json_option
def query(
    clip: str,
    library: str | None,
    k: int,
    at: tuple[float, float | None] | None,
    ranking: str,
    as_json: bool,
) -> None:
    """Find the clips nearest to CLIP, a sound file or - for standard input."""
    from .ranking import RANKINGS

    if ranking not in RANKINGS:
        raise click.BadParameter(
            f"expected one of {', '.join(RANKINGS)}, got {ranking!r}", param_hint="--ranking"
        )
    with _open(library) as lib:
        answer = lib.query(_source(clip), k, at=at, ranking=ranking)
    _warn(clip, answer.warning)
    if as_json:
        _print_json(hit.to_dict() for hit in answer)
    else:
        print_answer(answer)


@main.command()
@click.argument("file", type=click.Path(allow_dash=True))
@_at_option
@_json_option
def label(file: str, at: tuple[float, float | None] | None, as_json: bool) -> None:
    """Predict the labels of FILE (or - for standard input) and of each of its segments."""
    from .library import label as label_sound

    labelled = label_sound(_source(file), at=at)
    _warn(file, labelled.warning)
    if as_json:
        _print_json([labelled.to_dict()])
    else:
        _print_labelled(labelled)


@main.command()
@_library_option
@_json_option
def info(library: str | None, as_json: bool) -> None:
    """Show what the library holds and how it was made."""
    with _open(library) as lib:
        facts = lib.info()
    if as_json:
        _print_json([facts])
    else:
        installed = facts.pop("installed_space")
        for name, value in facts.items():
            click.echo(f"{name:10} {value:,}" if isinstance(value, int) else f"{name:10} {value}")
        if installed != facts["space"]:
            click.echo(
                f"The encoder that is installed gives the space {installed}; bring the library up "
                "to date with: soundsearch ingest --reembed",
                err=True,
            )


@main.command()
@_library_option
@_json_option
def failures(library: str | None, as_json: bool) -> None:
    """List the files that could not be ingested, and why."""
    with _open(library) as lib:
        failed = lib.failures()
    if as_json:
        _print_json(failure.to_dict() for failure in failed)
    else:
        for failure in failed:
            click.echo(f"{shown(failure.uri)}: {shown(failure.reason)}")


@main.command()
@click.argument("clips", nargs=-1, required=True)
@_library_option
def remove(clips: tuple[str, ...], library: str | None) -> None:
    """Take CLIPS, files or whole folders, out of the library. The files stay."""
    with _open(library) as lib:
        click.echo(f"{_count(lib.remove(clips), 'clip')} removed")


@main.command()
@_library_option
def rebuild(library: str | None) -> None:
    """Make the index anew and free the space of removed clips."""
    with _open(library) as lib:
        lost = lib.rebuild(lambda step: click.echo(step, err=True))
    click.echo("rebuilt" if not lost else f"rebuilt; {_count(lost, 'clip')} lost: ingest again")


@main.group()
def models() -> None:
    """The encoders on this machine."""


@models.command("list")
@_json_option
def list_models(as_json: bool) -> None:
    """List the encoders, their spaces and their files."""
    from ingest import encoders

    rows = []
    for name, path in encoders.available().items():
        encoder = encoders.load(name)
        rows.append(
            {
                "name": name,
                "space": encoder.space,
                "dimension": encoder.dimension,
                "hop": encoder.hop_seconds,
                "file": str(path),
            }
        )
    if as_json:
        _print_json(rows)
    else:
        for row in rows:
            click.echo("{name:8} {space:12} {dimension:5}-d  {hop} s  {file}".format(**row))


@main.command()
@click.option("--folder", type=click.Path(), help="Where to put the sounds and the library.")
def demo(folder: str | None) -> None:
    """Make some sounds, ingest them and search them: two minutes to see it all."""
    from pathlib import Path

    from .demo import run_demo
    from .library import default_path

    run_demo(Path(folder) if folder else default_path().with_name(f"demo-{__version__}"))


# Shared with the demo


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
        from ingest.discover import discover, expand

        return sum(1 for _ in discover(expand(targets)))

    with _progress(verbose, count) as watchers:
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
            f"{hit.rank:>3}  {hit.score:5.3f}  {moment:17}  {_names(hit.labels):38.38}  "
            f"{_short(hit.uri)}"
        )


def shown(text: str) -> str:
    """Text with everything escaped that a terminal would act on or could not print."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _open(library: str | None, **options: Any) -> Library:
    from .library import Library

    return Library(library, **options)


def _source(clip: str) -> Any:
    return sys.stdin.buffer if clip == "-" else clip


def _warn(clip: str, warning: str | None) -> None:
    if warning is not None:
        click.echo(f"Warning: {shown(clip)}: {warning}", err=True)


def _print_json(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        click.echo(json.dumps(row))


def _print_report(report: IngestReport, facts: dict[str, Any]) -> None:
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
    click.echo(f"{done}; the library holds {_count(facts['clips'], 'clip')}")
    for what, count in report.skipped.items():
        click.echo(f"  skipped: {count:,} {what}", err=True)
    if report.warnings:
        click.echo(
            f"  {_count(report.warnings, 'clip')} held less than promised, or odd samples", err=True
        )
    for failure in report.failed[:10]:
        click.echo(f"  failed: {shown(failure.uri)}: {shown(failure.reason)}", err=True)
    if len(report.failed) > 10:
        click.echo("  ... the rest: soundsearch failures", err=True)
    if report.missing:
        click.echo(
            f"  {_count(len(report.missing), 'file')} gone, still in the library; "
            "--prune takes them out",
            err=True,
        )


def _print_labelled(labelled: LabelledClip) -> None:
    for found in labelled.labels:
        click.echo(str(found))
    click.echo("")
    for segment in labelled.segments:
        click.echo(f"{_clock(segment.start)}-{_clock(segment.end)}  {_names(segment.labels)}")


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


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _short(uri: str) -> str:
    home = os.path.expanduser("~")
    return shown("~" + uri[len(home) :] if uri.startswith(home + os.sep) else uri)


@contextmanager
def _progress(verbose: bool, count: Callable[[], int]) -> Iterator[dict[str, Any]]:
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
