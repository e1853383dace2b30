"""What people and programs see: tables, reports, JSON lines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..hints import command
from .layout import clocks, columns, cut, fitted, moments, padded, room, short_path

if TYPE_CHECKING:
    import soundsearch

    from ..evaluate import Retrieval
    from ..results import (
        Answer,
        Clip,
        CopyReport,
        Finding,
        Hit,
        IngestReport,
        Label,
        LabelledClip,
    )

__all__ = [
    "counted",
    "print_answer",
    "print_clip",
    "print_copied",
    "print_evaluated",
    "print_events",
    "print_findings",
    "print_head",
    "print_info",
    "print_ingested",
    "print_installed",
    "print_json",
    "print_labelled",
    "print_row_problems",
    "print_warning",
    "say",
    "say_row",
    "shown",
]

_FAILURES_SHOWN = 10
_CLASSES_SHOWN = 10
# Of a list of numbers or names.
_LISTED = 5
_PROBLEMS_SHOWN = 20
_TAGS_WIDTH = 60
# Columns of the table of clips, which is printed row by row.
_DURATION = 11
_LABELS = 38


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line; nothing in it, wherever it came from, acts on a terminal.

    The command line prints by this alone: names of files, tags and messages may hold anything.
    """
    click.echo(shown(text), err=err)


def say_row(fields: Iterable[str]) -> None:
    """Print fields on a line, tabs between them, and none in them."""
    click.echo("\t".join(map(shown, fields)))


def print_answer(answer: Answer, nothing: str, *, full: bool = False, heard: bool = True) -> None:
    """Print a question's own labels, if it was `heard`, and a table of the hits.

    Where there are none, print `nothing`.

    It fits the terminal, unless `full` is set.
    """
    width = room(full)
    if heard:
        _print_listed("sounds like: ", _scored(answer.labels, paths=True), width)
        say()
    if not answer.hits:
        say(nothing)
        return
    times = moments([(hit.start, hit.end) for hit in answer])
    beside = max(len(times[0]), len("moment"))
    labels_of = [_heard(hit) for hit in answer]
    left = None if width is None else width - len("  #  score    ") - beside - 2
    share = _share(labels_of, left)
    say(f"{'#':>3}  score  {'moment':{beside}}  {'labels':{share}}  clip")
    for hit, moment, names in zip(answer, times, labels_of, strict=True):
        labels = padded(fitted(names, None if left is None else share), share)
        clip = _clip(hit, None if left is None else left - share - 2)
        say(f"{hit.rank:>3}  {hit.score:5.3f}  {moment:{beside}}  {labels}  {clip}")


def print_clip(clip: Clip, *, full: bool = False, warning: bool = False) -> None:
    """Print a row of the table of clips; with its `warning`, if wanted, on a line of its own."""
    width = room(full)
    [duration] = clocks([clip.duration])
    left = None if width is None else width - _DURATION - 2
    names = _given(clip) or _scored(clip.labels)
    share = _LABELS if left is None else min(_LABELS, left // 2)
    labels = padded(fitted(names, None if left is None else share), share)
    tail = _clip(clip, None if left is None else left - share - 2)
    say(f"{duration:>{_DURATION}}  {labels}  {tail}")
    if warning:
        say(f"{'':{_DURATION}}  {clip.warning}")


def print_labelled(labelled: LabelledClip, *, full: bool = False) -> None:
    width = room(full)
    for label in _scored(labelled.labels, paths=True):
        say(fitted([label], width))
    say()
    times = moments([(segment.start, segment.end) for segment in labelled.segments])
    for segment, moment in zip(labelled.segments, times, strict=True):
        left = None if width is None else width - len(moment) - 2
        say(f"{moment}  {fitted(_scored(segment.labels), left)}")


def print_events(timeline: soundsearch.Timeline, *, full: bool = False) -> None:
    """Print a table of the events, which fits the terminal unless `full` is set."""
    if not timeline.events:
        say("No event: nothing is heard clearly enough.")
        return
    width = room(full)
    times = moments([(event.onset, event.offset) for event in timeline])
    beside = max(len(times[0]), len("moment"))
    say(f"{'moment':{beside}}  score  label")
    for event, moment in zip(timeline, times, strict=True):
        name = shown(" > ".join(event.label.path))
        if width is not None:
            name = cut(name, width - beside - len("  0.00   "), keep_end=True)
        say(f"{moment:{beside}}  {event.label.score:5.2f}  {name}")


def _print_listed(title: str, names: Sequence[tuple[str, str]], width: int | None) -> None:
    """Print a title and names after it, on as many lines as they need."""
    left = None if width is None else width - len(title)
    line: list[tuple[str, str]] = []
    for name, after in names:
        joined = fitted([*line, (name, after)], None)
        if line and left is not None and columns(joined) > left - 1:
            say(f"{title}{fitted(line, left)},")
            title, line = " " * len(title), []
        line.append((name, after))
    say(f"{title}{fitted(line, left)}")


def print_ingested(report: IngestReport, clips: int | None, library: object) -> None:
    """Print what an ingest did to a library of so many clips now; None where none was made."""
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
    holds = (
        "no library was made" if clips is None else f"the library holds {counted(clips, 'clip')}"
    )
    say(f"{done}; {holds}")
    for what, count in report.skipped.items():
        say(f"  skipped: {count:,} {what}", err=True)
    if report.warnings:
        say(
            f"  {counted(report.warnings, 'clip')} held less than promised, or odd samples; "
            f"`{command('clips --damaged', library)}` names them",
            err=True,
        )
    if report.ultrasonic:
        were = "was" if report.ultrasonic == 1 else "were"
        say(
            f"  {counted(report.ultrasonic, 'file')} {were} recorded at up to "
            f"{report.highest_rate / 1000:g} kHz; what is above 8 kHz is not heard",
            err=True,
        )
    for failure in report.failed[:_FAILURES_SHOWN]:
        say(f"  failed: {failure.uri}: {failure.reason}", err=True)
    if len(report.failed) > _FAILURES_SHOWN:
        say(f"  ... and more; `{command('failures', library)}` lists them all", err=True)
    if report.missing:
        say(
            f"  {counted(len(report.missing), 'file')} gone but still in the library; "
            "--prune takes them out",
            err=True,
        )
    if report.damage is not None:
        say(f"Error: {report.damage}", err=True)


def print_row_problems(file: object, problems: Sequence[tuple[int | None, str]]) -> None:
    """Print what kept rows from being used, by their lines in a file; None for those of no file."""
    for line, reason in sorted(problems, key=lambda each: each[0] or 0)[:_PROBLEMS_SHOWN]:
        say(f"  {reason}" if line is None else f"  {file}, line {line}: {reason}", err=True)
    if len(problems) > _PROBLEMS_SHOWN:
        say(f"  ... and {len(problems) - _PROBLEMS_SHOWN:,} more", err=True)


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


def print_findings(findings: Sequence[Finding], counts: Mapping[str, int]) -> None:
    """Print what a check of so many clips and segments found."""
    for finding in findings:
        say(finding.what)
        for uri in finding.clips:
            say(f"  {uri}")
        say(f"  What to do: {finding.remedy}")
    if not findings:
        held = f"{counted(counts['clips'], 'clip')} and {counted(counts['segments'], 'segment')}"
        say(f"nothing is damaged; checked {held}")


def print_info(facts: dict[str, Any]) -> None:
    installed, index = facts.pop("installed_space"), facts.pop("index")
    if facts["key"] is None:
        del facts["key"]
    if facts["head"] is None:
        del facts["head"]
    else:
        facts["head"] = _kind_of_head(facts["head"])
    for name, value in facts.items():
        say(f"{name:10} {value:,}" if isinstance(value, int) else f"{name:10} {value}")
    if index is not None:
        say(
            f"{'index':10} recall@10 {index['recall']:.3f} (of {index['queries']:,} queries), "
            f"{index['cells']:,} of {index['all_cells']:,} cells, {index['candidates']} candidates"
        )
        if index["warning"]:
            say(f"The index is approximate: {index['warning']}.", err=True)
    if installed is not None and installed != facts["space"]:
        say(
            f"The installed encoder gives the space {installed}; to bring the library up to date, "
            f"run: {command('ingest --reembed', facts['store'])}",
            err=True,
        )


def _kind_of_head(facts: Mapping[str, Any]) -> str:
    own = len(facts["own_classes"])
    which = f", {own:,} of them its own" if own else ", all AudioSet's"
    count = len(facts["classes"])
    classes = f"{count:,} class{'' if count == 1 else 'es'}"
    return f"{classes}{which}; {facts['output']}, {facts['pooling']}"


def print_head(facts: Mapping[str, Any]) -> None:
    """Print what a head is; numbers of each class are in the JSON."""
    say(_kind_of_head(facts))
    layers = " > ".join(map(str, facts["layers"]))
    scaled = ", scaled to length 1" if facts["normalised"] else ""
    say(f"{'space':10} {facts['space']}{scaled}")
    say(f"{'layers':10} {layers}")
    for name, value in facts["made"].items():
        if name != "classes":
            say(f"{name:10} {_brief(value)}")
    own = set(facts["own_classes"])
    names = (name if name in own else f"{name} (AudioSet's)" for name in facts["classes"])
    say(f"{'classes':10} {', '.join(names)}")


def _brief(value: Any) -> str:
    """A value of JSON on one line; of long lists the beginning, of equal numbers one."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_brief(each)}" for name, each in value.items())
    if isinstance(value, list):
        if len(value) > 1 and all(each == value[0] for each in value):
            return f"{_brief(value[0])} for each"
        more = ", ..." if len(value) > _LISTED else ""
        return ", ".join(map(_brief, value[:_LISTED])) + more if value else "-"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return f"{value:.4g}" if isinstance(value, float) else shown(str(value))


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


def print_evaluated(found: Retrieval, other: Retrieval | None, *, full: bool = False) -> None:
    """Print the measures; the classes that are found worst, all of them if `full`."""
    means, intervals = found.means(), found.intervals()
    by_class = sorted(found.by_class().items(), key=lambda item: item[1]["mAP"])
    worst = by_class if full else by_class[:_CLASSES_SHOWN]
    cells_width = sum(_measure_width(name) + 1 for name in means)
    widest = max(len("difference"), *(columns(shown(name)) for name, _ in worst))
    width = min(widest, max(len("difference"), (room(full) or widest + cells_width) - cells_width))

    def row(title: str, cells: Iterable[str]) -> None:
        fields = (
            f" {cell:>{_measure_width(name)}}" for name, cell in zip(means, cells, strict=True)
        )
        say(padded(cut(shown(title), width), width) + "".join(fields))

    row("", means)
    row("mean", (f"{mean:.3f}" for mean in means.values()))
    row("95 %", (f"{low:.2f}-{high:.2f}" for low, high in intervals.values()))
    if other is not None:
        changes = found.changes(other).values()
        row("against", (f"{mean:.3f}" for mean in other.means().values()))
        row("difference", (f"{change.difference:+.3f}" for change in changes))
        row("p", (f"{change.p:.4f}" for change in changes))
    if len(by_class) > 1:
        say()
        say(f"by class{'' if len(worst) == len(by_class) else ', the worst'}")
        for name, values in worst:
            row(name, (f"{value:.3f}" for value in values.values()))


def _measure_width(name: str) -> int:
    return max(len(name), len("0.00-0.00"))


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


def _scored(labels: tuple[Label, ...], paths: bool = False) -> list[tuple[str, str]]:
    """The best labels, each with its score after it."""
    best = [
        (shown(" > ".join(label.path) if paths else label.name), f" {label.score:.2f}")
        for label in labels[:3]
    ]
    return best or [("nothing known", "")]


def _given(clip: Clip | Hit) -> list[tuple[str, str]]:
    """The labels that people gave a clip."""
    return [(shown(label.name), "") for label in clip.human_labels]


def _heard(hit: Hit) -> list[tuple[str, str]]:
    return _scored(hit.labels) if hit.labels or not hit.human_labels else _given(hit)


def _share(heard: Sequence[Sequence[tuple[str, str]]], left: int | None) -> int:
    """How wide the column of labels is, of what is left for it and the clips."""
    widest = max(len("labels"), *(columns(fitted(names, None)) for names in heard))
    return widest if left is None else min(widest, left // 2)


def _clip(clip: Clip | Hit, width: int | None) -> str:
    """A clip's path and tags: the end of the path is kept, and the beginning of the tags."""
    path, tags = shown(short_path(clip.uri)), _tags(clip.tags)
    if width is None:
        return f"{path}{tags}"
    if tags and columns(path) + columns(tags) > width:
        tags = cut(tags, max(width // 3, width - columns(path)))
    return cut(path, width - columns(tags), keep_end=True) + tags


def _tags(tags: Mapping[str, str | float | bool]) -> str:
    """Tags in brackets, after a clip's path; cut where they are long."""
    if not tags:
        return ""
    text = shown(", ".join(f"{key}={_value(value)}" for key, value in tags.items()))
    return f"  [{cut(text, _TAGS_WIDTH)}]"


def _value(value: str | float | bool) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)
