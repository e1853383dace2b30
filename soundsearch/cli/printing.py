"""What people and programs see: tables, reports, JSON lines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from ..results import Answer, Clip, CopyReport, IngestReport, Label, LabelledClip, TagReport
    from ..tagfiles import TagsFile

__all__ = [
    "counted",
    "print_answer",
    "print_clip",
    "print_copied",
    "print_info",
    "print_ingested",
    "print_installed",
    "print_json",
    "print_labelled",
    "print_tag_problems",
    "print_warning",
    "say",
    "shown",
]

_FAILURES_SHOWN = 10
_PROBLEMS_SHOWN = 20
_TAGS_WIDTH = 60


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line; nothing in it, wherever it came from, acts on a terminal.

    The command line prints by this alone: names of files, tags and messages may hold anything.
    """
    click.echo(shown(text), err=err)


def print_answer(answer: Answer, nothing: str) -> None:
    """Print a question's own labels and a table of the hits, or `nothing` where there are none."""
    say(f"sounds like: {_names(answer.labels, paths=True)}")
    say()
    if not answer.hits:
        say(nothing)
        return
    say(f"{'#':>3}  score  {'moment':17}  {'labels':38}  clip")
    for hit in answer:
        moment = f"{_clock(hit.start)}-{_clock(hit.end)}"
        heard = _names(hit.labels) if hit.labels or not hit.human_labels else _given(hit)
        say(
            f"{hit.rank:>3}  {hit.score:5.3f}  {moment:17}  {heard:38.38}  "
            f"{_short(hit.uri)}{_tags(hit.tags)}"
        )


def print_clip(clip: Clip) -> None:
    heard = _given(clip) or _names(clip.labels)
    say(f"{_clock(clip.duration):>10}  {heard:38.38}  {_short(clip.uri)}{_tags(clip.tags)}")


def print_labelled(labelled: LabelledClip) -> None:
    for label in labelled.labels:
        say(str(label))
    say()
    for segment in labelled.segments:
        say(f"{_clock(segment.start)}-{_clock(segment.end)}  {_names(segment.labels)}")


def print_ingested(report: IngestReport, facts: dict[str, Any]) -> None:
    counts = [
        (len(report.failed), "failed"),
        (report.failed_before, "failed before"),
        (report.added, "added"),
        (report.replaced, "replaced"),
        (report.renamed, "renamed"),
        (report.unchanged, "unchanged"),
        (report.removed, "removed"),
    ]
    done = _listed(counts) or "nothing to do"
    say(f"{done}; the library holds {counted(facts['clips'], 'clip')}")
    for what, count in report.skipped.items():
        say(f"  skipped: {count:,} {what}", err=True)
    if report.warnings:
        say(
            f"  {counted(report.warnings, 'clip')} held less than promised, or odd samples",
            err=True,
        )
    for failure in report.failed[:_FAILURES_SHOWN]:
        say(f"  failed: {failure.uri}: {failure.reason}", err=True)
    if len(report.failed) > _FAILURES_SHOWN:
        say("  ... and more; `soundsearch failures` lists them all", err=True)
    if report.missing:
        say(
            f"  {counted(len(report.missing), 'file')} gone but still in the library; "
            "--prune takes them out",
            err=True,
        )


def print_tag_problems(file: TagsFile, report: TagReport) -> None:
    """Print what kept rows of a tags file from being used, by their lines."""
    problems = [(problem.line, problem.reason) for problem in file.problems]
    problems += [(file.lines[uri], f"no clip of the library is at {uri}") for uri in report.unknown]
    for line, reason in sorted(problems)[:_PROBLEMS_SHOWN]:
        say(f"  {file.path}, line {line}: {reason}", err=True)
    if len(problems) > _PROBLEMS_SHOWN:
        say(f"  ... and {len(problems) - _PROBLEMS_SHOWN:,} more lines", err=True)


def print_copied(report: CopyReport) -> None:
    counts = [
        (report.copied, "copied"),
        (report.replaced, "replaced"),
        (report.unchanged, "unchanged"),
    ]
    failures = f", {counted(report.failures, 'failure')}" if report.failures else ""
    say(
        f"{_listed(counts) or 'nothing to copy'}{failures}; "
        f"{counted(report.compared, 'clip')} compared, equal"
    )


def print_info(facts: dict[str, Any]) -> None:
    installed = facts.pop("installed_space")
    for name, value in facts.items():
        say(f"{name:10} {value:,}" if isinstance(value, int) else f"{name:10} {value}")
    if installed is not None and installed != facts["space"]:
        say(
            f"The installed encoder gives the space {installed}; to bring the library up to date, "
            "run: soundsearch ingest --reembed",
            err=True,
        )


def print_installed(name: str, facts: dict[str, Any]) -> None:
    say(f"{name} is installed: {facts['file']}")
    if "difference" in facts:
        say(f"  differs from TensorFlow's output by at most {facts['difference']:.1g}")
    if "cosine_mean" in facts:
        say(
            f"  int8: cosine to fp32 on sound that it was not fitted to: mean "
            f"{facts['cosine_mean']:.4f}, worst {facts['cosine_worst']:.4f}"
        )
    for mark, what in (("mark", "weights"), ("pca_mark", "weights and PCA")):
        if facts.get(mark):
            say(
                f"  these are not Google's {what}, judging by their answer to a test tone; their "
                f"space gets a name of its own, ...{facts[mark]}",
                err=True,
            )
            break


def print_json(rows: Iterable[dict[str, Any]]) -> None:
    import json

    for row in rows:
        say(json.dumps(row))


def print_warning(clip: str, warning: str | None) -> None:
    if warning is not None:
        say(f"Warning: {clip}: {warning}", err=True)


def shown(text: str) -> str:
    """Text with everything escaped that a terminal would act on or could not print."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _listed(counts: Iterable[tuple[int, str]]) -> str:
    return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def _names(labels: tuple[Label, ...], paths: bool = False) -> str:
    best = [
        f"{' > '.join(label.path) if paths else label.name} {label.score:.2f}"
        for label in labels[:3]
    ]
    return ", ".join(best) or "nothing known"


def _given(clip: Any) -> str:
    """The labels that people gave a clip."""
    return ", ".join(label.name for label in clip.human_labels)


def _tags(tags: Mapping[str, str | float | bool]) -> str:
    """Tags in brackets, after a clip's path; cut where they are long."""
    if not tags:
        return ""
    text = shown(", ".join(f"{key}={_value(value)}" for key, value in tags.items()))
    return f"  [{text if len(text) <= _TAGS_WIDTH else text[: _TAGS_WIDTH - 3] + '...'}]"


def _value(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _clock(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    return f"{hours:.0f}:{minutes:02.0f}:{rest:05.2f}" if hours else f"{minutes:.0f}:{rest:05.2f}"


def _short(uri: str) -> str:
    home = os.path.expanduser("~")
    return "~" + uri[len(home) :] if uri.startswith(home + os.sep) else uri
