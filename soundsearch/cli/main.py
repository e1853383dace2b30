"""The command line: parse, call the library, print."""

from __future__ import annotations

import _thread
import os
import sys
import threading
from typing import TYPE_CHECKING, Any

import click

from .. import __version__
from ..errors import SoundsearchError
from .printing import (
    counted,
    print_answer,
    print_clip,
    print_installed,
    print_json,
    print_labelled,
    print_report,
    print_warning,
    progress,
    run_ingest,
    shown,
)

if TYPE_CHECKING:
    from ..library import Library
    from ..results import Answer

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
        except BaseException as error:
            if _interrupted(error):
                click.echo(
                    "Stopped. What was done is stored; run the same command again to go on.",
                    err=True,
                )
                ctx.exit(EXIT_INTERRUPTED)
            if debug or not isinstance(error, Exception):
                raise
            message = shown(str(error))
            if not isinstance(error, SoundsearchError):
                message = (
                    f"{type(error).__name__}: {message} (this is a fault of soundsearch; "
                    "`soundsearch --debug ...` shows where)"
                )
            click.echo(f"Error: {message}", err=True)
            ctx.exit(EXIT_ERROR)


def _interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C led to an error: one between two steps of a lock ends as another error."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__)
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Search sounds by sound."""
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _raise_interrupts
    if not debug:
        _silence_c_libraries()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show is escaped
            stream.reconfigure(errors="backslashreplace")


def _raise_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
    """Let a Ctrl-C that fell into a finalizer, where Python drops it, count all the same."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        # Not at once: what is raised before this function ends is dropped too.
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)


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
    metavar="FOLDER|URI",
    help="A folder, milvus://host:19530/name or milvus-lite:file.db; by default "
    "SOUNDSEARCH_LIBRARY or a folder in the user's data.",
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


def _wish_options(command: Any) -> Any:
    """How many clips are wanted, and in which order."""
    ranking = click.option(
        "--ranking", default="pooled", show_default=True, help="How clips are scored."
    )
    number = click.option(
        "-k", default=10, show_default=True, type=click.IntRange(1), help="Clips wanted."
    )
    return number(ranking(command))


def _known_ranking(ranking: str) -> str:
    from ..asking.ranking import RANKINGS

    if ranking not in RANKINGS:
        raise click.BadParameter(
            f"expected one of {', '.join(RANKINGS)}, got {ranking!r}", param_hint="--ranking"
        )
    return ranking


def _print(answer: Answer, as_json: bool) -> None:
    if as_json:
        print_json(hit.to_dict() for hit in answer)
    else:
        print_answer(answer)


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
            with progress(verbose, lambda: lib.info()["clips"]) as watchers:
                report = lib.reembed(prune=prune, **watchers)
            print_report(report, lib.info())
            failed = bool(report.failed)
        if targets:
            report = run_ingest(lib, targets, prune, retry_failed, verbose)
            print_report(report, lib.info())
            failed = failed or bool(report.failed)
    if failed:
        sys.exit(EXIT_SOME_FAILED)


@main.command()
@click.argument("clip", type=click.Path(allow_dash=True))
@_library_option
@_wish_options
@_at_option
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
    with _open(library) as lib:
        answer = lib.query(_source(clip), k, at=at, ranking=_known_ranking(ranking))
    print_warning(clip, answer.warning)
    _print(answer, as_json)


@main.command()
@click.argument("clip")
@_library_option
@_wish_options
@_json_option
def similar(clip: str, library: str | None, k: int, ranking: str, as_json: bool) -> None:
    """Find the clips nearest to CLIP, one of the library, by path or address."""
    with _open(library) as lib:
        answer = lib.similar(clip, k, ranking=_known_ranking(ranking))
    _print(answer, as_json)


@main.command()
@click.argument("file", type=click.Path(allow_dash=True))
@_at_option
@_json_option
def label(file: str, at: tuple[float, float | None] | None, as_json: bool) -> None:
    """Predict the labels of FILE (or - for standard input) and of each of its segments."""
    from ..hearing import label as label_sound

    labelled = label_sound(_source(file), at=at)
    print_warning(file, labelled.warning)
    if as_json:
        print_json([labelled.to_dict()])
    else:
        print_labelled(labelled)


@main.command()
@_library_option
@_json_option
def info(library: str | None, as_json: bool) -> None:
    """Show what the library holds and how it was made."""
    with _open(library) as lib:
        facts = lib.info()
    if as_json:
        print_json([facts])
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
@click.option("--human-label", metavar="LABEL", help="Only clips that people gave this label.")
@_json_option
def clips(library: str | None, human_label: str | None, as_json: bool) -> None:
    """List the clips with their labels."""
    with _open(library) as lib:
        for clip in lib.clips(human_label):
            if as_json:
                print_json([clip.to_dict()])
            else:
                print_clip(clip)


@main.command()
@_library_option
@_json_option
def failures(library: str | None, as_json: bool) -> None:
    """List the files that could not be ingested, and why."""
    with _open(library) as lib:
        failed = lib.failures()
    if as_json:
        print_json(failure.to_dict() for failure in failed)
    else:
        for failure in failed:
            click.echo(f"{shown(failure.uri)}: {shown(failure.reason)}")


@main.command()
@click.argument("clips", nargs=-1, required=True)
@_library_option
def remove(clips: tuple[str, ...], library: str | None) -> None:
    """Take CLIPS, files or whole folders, out of the library. The files stay."""
    with _open(library) as lib:
        click.echo(f"{counted(lib.remove(clips), 'clip')} removed")


@main.command()
@_library_option
def rebuild(library: str | None) -> None:
    """Make the index anew and free the space of removed clips."""
    with _open(library) as lib:
        lost = lib.rebuild(lambda step: click.echo(step, err=True))
    click.echo("rebuilt" if not lost else f"rebuilt; {counted(lost, 'clip')} lost: ingest again")


@main.command("copy")
@_library_option
@click.option("--to", "target", required=True, metavar="FOLDER|URI", help="Made if need be.")
def copy_library(library: str | None, target: str) -> None:
    """Copy the library with its vectors and labels to another place, a folder or Milvus.

    An interrupted copy goes on where it was.
    """
    from tqdm import tqdm

    from ..copying import copy
    from ..library import default_path

    with tqdm(unit=" clips", delay=1, disable=None, dynamic_ncols=True) as bar:

        def advance(_uri: str) -> None:
            bar.update()

        report = copy(
            library if library is not None else default_path(),
            target,
            advance,
            lambda text: bar.write(text, file=sys.stderr),
        )
    done = ", ".join(
        f"{count:,} {what}"
        for count, what in (
            (report.copied, "copied"),
            (report.replaced, "replaced"),
            (report.unchanged, "unchanged"),
        )
        if count
    )
    failures = f", {counted(report.failures, 'failure')}" if report.failures else ""
    click.echo(
        f"{done or 'nothing to copy'}{failures}; {counted(report.compared, 'clip')} compared, equal"
    )


@main.group()
def models() -> None:
    """The encoders on this machine."""


_precision_options = (
    click.option("--precision", default="fp32", show_default=True, help="fp32, or int8: faster."),
    click.option(
        "--audio",
        multiple=True,
        type=click.Path(),
        help="Real sound that int8 is fitted to and checked on: files or folders.",
    ),
    click.option("--pca", type=click.Path(), help="vggish_pca_params.npz: adds its two spaces."),
)


def _precision(command: Any) -> Any:
    for option in reversed(_precision_options):
        command = option(command)
    return command


@models.command("pull")
@click.argument("name")
@_precision
def pull_model(name: str, **options: Any) -> None:
    """Fetch the encoder NAME (vggish, yamnet) from TensorFlow Hub."""
    from ..models import pull_model

    print_installed(name, pull_model(name, **_checked(options)))


@models.command("import")
@click.argument("name")
@click.argument("path", type=click.Path())
@_precision
def import_model(name: str, path: str, **options: Any) -> None:
    """Install the encoder NAME (vggish, yamnet) from weights in PATH.

    For vggish a SavedModel folder, a TensorFlow checkpoint, .h5, .pth or .npz; for yamnet a
    SavedModel folder or .tflite.
    """
    from pathlib import Path

    from ..models import import_model

    print_installed(name, import_model(name, Path(path).expanduser(), **_checked(options)))


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options of `pull` and `import` as Python wants them."""
    from pathlib import Path

    from ..models import PRECISIONS

    precision, audio, pca = options["precision"], options["audio"], options["pca"]
    if precision not in PRECISIONS:
        raise click.BadParameter(
            f"expected one of {', '.join(PRECISIONS)}, got {precision!r}", param_hint="--precision"
        )
    if (precision == "int8") != bool(audio):
        raise click.UsageError(
            "--precision int8 and --audio need each other: some of your own sound, which the 8-bit "
            "numbers are fitted to and checked on"
        )
    return {
        "precision": precision,
        "audio": [Path(path).expanduser() for path in audio],
        "pca": Path(pca).expanduser() if pca else None,
        "on_step": lambda text: click.echo(text, err=True),
    }


@models.command("list")
@_json_option
def list_models(as_json: bool) -> None:
    """List the encoders, their spaces and their files."""
    from soundsearch_ingest import encoders
    from soundsearch_ingest.encoders.installation import origin

    rows: list[dict[str, Any]] = []
    for name, path in encoders.available().items():
        encoder = encoders.load(name)
        rows.append(
            {
                "name": name,
                "space": encoder.space,
                "dimension": encoder.dimension,
                "hop": encoder.hop_seconds,
                "file": str(path),
                **origin(path.parent),
            }
        )
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            line = "{name:16} {space:16} {dimension:5}-d  {hop} s  {file}".format(**row)
            click.echo(f"{line}  ({row['precision']})" if "precision" in row else line)


@main.group()
def audioset() -> None:
    """AudioSet's lists and features."""


@audioset.command()
@click.argument("files", nargs=-1, required=True, type=click.Path())
@_json_option
def stats(files: tuple[str, ...], as_json: bool) -> None:
    """Count the clips of each class in FILES, segment lists (.csv) and TFRecord files."""
    from tqdm import tqdm

    from ..audioset import stats as count

    found = count(tqdm(files, unit=" files", delay=1, disable=None, leave=False))
    if as_json:
        print_json([found.to_dict()])
    else:
        click.echo(f"{counted(found.clips, 'clip')}, {found.mean_labels:.2f} labels a clip\n")
        for row in found.classes:
            click.echo(f"{row.clips:>9,}  {row.mid:12}  {shown(row.name)}")


@main.command()
@click.option("--folder", type=click.Path(), help="Where to put the sounds and the library.")
def demo(folder: str | None) -> None:
    """Make some sounds, ingest them and search them: two minutes to see it all."""
    from pathlib import Path

    from ..library import default_path, user_data
    from .demo import run_demo

    if folder is None:
        default = default_path()
        beside = default.parent if isinstance(default, Path) else user_data()
        folder = str(beside / f"demo-{__version__}")
    run_demo(Path(folder))


def _open(library: str | None, **options: Any) -> Library:
    from ..library import Library

    return Library(library, **options)


def _source(clip: str) -> Any:
    return sys.stdin.buffer if clip == "-" else clip
