"""``ingest``, ``tag``, ``remove``, ``check``, ``rebuild`` and ``copy``: the care of a library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

import soundsearch

from ..errors import LibraryNotFound
from ..hints import command, default_library
from .options import (
    EXIT_ERROR,
    EXIT_SOME_FAILED,
    as_named,
    json_option,
    library_option,
    wait_option,
)
from .printing import (
    counted,
    print_copied,
    print_findings,
    print_ingested,
    print_json,
    print_row_problems,
    say,
)
from .progress import check_progress, clip_progress, file_progress, targets_counter

if TYPE_CHECKING:
    from ..duplicates.found import DuplicatePair
    from ..results import IngestReport, TagReport
    from ..tagfiles import TagsFile

__all__ = ["check", "copy", "ingest", "rebuild", "remove", "tag"]


@click.command()
@click.argument("targets", nargs=-1, type=click.Path())
@library_option
@click.option(
    "--manifest",
    metavar="FILE",
    type=click.Path(),
    help="A list of more files: a path or URL a line; - for standard input.",
)
@click.option(
    "--tags", metavar="FILE", type=click.Path(), help="Tag the clips of this run: see `tag`."
)
@click.option("--encoder", help="For a new library: see `soundsearch models list`.")
@click.option("--hop", type=float, help="For a new library: seconds between segments.")
@click.option("--head", metavar="FILE", type=click.Path(), help="For a new library: its head.")
@click.option("--prune", is_flag=True, help="Take out clips whose file is gone.")
@click.option("--prune-all", is_flag=True, help="Also where most or all of them are gone.")
@click.option("--retry-failed", is_flag=True, help="Try files again that failed before.")
@click.option("--again", is_flag=True, help="Embed unchanged files too: see `check`.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    help="ray: heard by the workers of a Ray cluster, into Milvus.",
)
@click.option(
    "--address",
    metavar="ADDRESS",
    help="Of the Ray cluster: auto, HOST:PORT or ray://HOST:PORT. Default: started here.",
)
@click.option(
    "--shard", metavar="I/N", help="Only the I-th of N parts; others may be written meanwhile."
)
@click.option(
    "--report-duplicates",
    is_flag=True,
    help="Say which new clips are the same sound as one that is stored.",
)
@click.option("--reembed", is_flag=True, help="First bring all clips to the encoder's version.")
@wait_option
@click.option("-v", "--verbose", is_flag=True, help="Print a line for each file once it is stored.")
@json_option
def ingest(
    targets: tuple[str, ...],
    library: str | None,
    manifest: str | None,
    tags: str | None,
    encoder: str | None,
    hop: float | None,
    head: str | None,
    prune: bool,
    prune_all: bool,
    retry_failed: bool,
    again: bool,
    engine: str,
    address: str | None,
    shard: str | None,
    report_duplicates: bool,
    reembed: bool,
    wait: bool,
    verbose: bool,
    as_json: bool,
) -> None:
    """Add TARGETS to the library: files, folders, patterns or archives, here or at URLs.

    What is there already is brought up to date.
    """
    has_files = bool(targets) or manifest is not None
    if not has_files and not reembed:
        raise click.UsageError("Missing argument 'TARGETS...': a file, a folder or a pattern.")
    if reembed and engine != "local":
        raise click.UsageError(
            f"--reembed hears on this machine; leave out --engine {engine}, or --reembed."
        )
    if tags is not None and not has_files:
        instead = command("tag FILE", library or default_library())
        raise click.UsageError(f"--tags needs TARGETS; `{instead}` tags clips that are there.")
    if shard is not None and (reembed or tags is not None):
        raise click.UsageError("--shard cannot be given with --reembed or --tags.")
    file = None if tags is None else _read_tags(tags)
    failed = damaged = False
    # Shards take turns when they make a library and when they draw numbers.
    waits = wait or shard is not None
    with _opened(library, waits, encoder=encoder, hop=hop, head=head) as lib:
        if reembed:
            with file_progress(verbose, lambda: len(lib)) as watchers:
                report = lib.reembed(prune=prune, prune_all=prune_all, **watchers)
            damaged = _print_ingested("reembed", report, lib, as_json)
            failed = bool(report.failed)
        if has_files:
            with file_progress(verbose, targets_counter(targets, manifest, shard)) as watchers:
                report = lib.ingest(
                    targets,
                    manifest=manifest,
                    prune=prune,
                    prune_all=prune_all,
                    retry_failed=retry_failed,
                    again=again,
                    tags=None if file is None else file.tags,
                    engine=engine,
                    address=address,
                    shard=shard,
                    on_duplicate=_teller(as_json) if report_duplicates else None,
                    **watchers,
                )
            damaged = _print_ingested("ingest", report, lib, as_json) or damaged
            failed = failed or bool(report.failed)
            if file is not None and report.tags is not None:
                failed = _print_tagged(file, report.tags, as_json) or failed
    if damaged or failed:
        sys.exit(EXIT_ERROR if damaged else EXIT_SOME_FAILED)


@click.command()
@click.argument("file", type=click.Path(), required=False)
@library_option
@click.option(
    "--key",
    metavar="TAG",
    help="Declare a tag as the key of clips: key:VALUE then names one. No two may have the same.",
)
@wait_option
def tag(file: str | None, library: str | None, key: str | None, wait: bool) -> None:
    """Attach the tags in FILE to clips of the library.

    FILE is a table (.csv) whose first row names its columns, or JSON objects, one a line (.jsonl).
    The column or key `path` says which clip; the others are tags. An empty cell leaves a tag as it
    is, null takes it away.
    """
    if file is None and key is None:
        raise click.UsageError("Missing argument 'FILE': a file of tags; or --key.")
    content = None if file is None else _read_tags(file)
    with _opened(library, wait) as lib:
        if key is not None:
            lib.use_key(key)
            say(f"the tag {key!r} is the key")
        if content is None:
            return
        report = lib.tag(content.tags)
    if _print_tagged(content, report):
        sys.exit(EXIT_SOME_FAILED)


@click.command()
@click.argument("clips", nargs=-1, required=True)
@library_option
@wait_option
def remove(clips: tuple[str, ...], library: str | None, wait: bool) -> None:
    """Take CLIPS, files, whole folders or patterns, out of the library. The files stay.

    Patterns are put in quotes, so that the shell leaves them alone: '~/Sounds/**/*.wav'.
    """
    with _opened(library, wait) as lib:
        say(f"{counted(lib.remove(map(as_named, clips)), 'clip')} removed")


@click.command()
@library_option
@json_option
def check(library: str | None, as_json: bool) -> None:
    """Compare all that is stored with its checksums; name what is damaged, and what to do.

    The exit code is 1 if something is damaged. The sound files are not read.
    """
    with soundsearch.open(library) as lib:
        counts = lib.info()
        with check_progress(counts["clips"]) as watchers:
            findings = lib.check(**watchers)
    if as_json:
        print_json(finding.to_dict() for finding in findings)
    else:
        print_findings(findings, counts)
    if findings:
        sys.exit(EXIT_ERROR)


@click.command()
@library_option
@wait_option
def rebuild(library: str | None, wait: bool) -> None:
    """Build the index again and free the space of removed clips."""
    with _opened(library, wait) as lib:
        lost = lib.rebuild(lambda text: say(text, err=True))
    say("rebuilt" if not lost else f"rebuilt; {counted(lost, 'clip')} lost: ingest again")


@click.command()
@library_option
@click.option(
    "--to", "target", required=True, metavar="FOLDER|URI", help="Created if it does not exist."
)
@wait_option
def copy(library: str | None, target: str, wait: bool) -> None:
    """Copy the library, with its vectors, labels and tags, to another folder or to Milvus.

    An interrupted copy continues where it stopped.
    """
    with _opened(library, wait) as lib, clip_progress() as watchers:
        report = lib.copy(target, **watchers)
    print_copied(report)


def _opened(library: str | None, wait: bool, **options: Any) -> soundsearch.Library:
    """The library, to write to it."""
    return soundsearch.open(library, wait=wait, on_wait=partial(say, err=True), **options)


def _teller(as_json: bool) -> Callable[[DuplicatePair], None]:
    from .duplicates import print_duplicate

    return partial(print_duplicate, as_json=as_json)


def _read_tags(path: str) -> TagsFile:
    from ..tagfiles import read_tags

    return read_tags(path)


def _print_ingested(
    action: str, report: IngestReport, lib: soundsearch.Library, as_json: bool
) -> bool:
    """Print what an ingest did; returns whether it met damage."""
    clips = None
    with suppress(LibraryNotFound):  # there was nothing to make one for
        clips = len(lib)
    if as_json:
        print_json([{"action": action, **report.to_dict(), "clips": clips or 0}])
    else:
        print_ingested(report, clips, lib.address)
    return report.damage is not None


def _print_tagged(file: TagsFile, report: TagReport, as_json: bool = False) -> bool:
    """Print what became of a tags file; returns whether some of it was no use."""
    if not as_json:  # there, the report of the ingest holds it
        say(f"{counted(report.tagged, 'clip')} tagged")
    problems = [(problem.line, problem.reason) for problem in file.problems]
    problems += [(file.lines[uri], f"no clip of the library is at {uri}") for uri in report.unknown]
    problems += [(file.lines[uri], reason) for uri, reason in report.refused.items()]
    print_row_problems(file.path, problems)
    return bool(problems)
