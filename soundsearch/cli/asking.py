"""``query``, ``similar`` and ``label``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

import soundsearch

from ..errors import AudioError
from ..hints import command
from .listening import print_live
from .neighbours import print_similar
from .options import (
    EXIT_ERROR,
    EXIT_SOME_FAILED,
    FORMATS,
    LABEL_WEIGHT,
    RANKINGS,
    ClipName,
    at_option,
    encoder_option,
    full_option,
    head_option,
    hop_option,
    json_option,
    k_option,
    library_option,
    max_duration_option,
    min_score_option,
    offset_option,
    per_option,
    ranking_option,
    where_option,
)
from .printing import (
    print_answer,
    print_events,
    print_json,
    print_labelled,
    print_warning,
    say,
    say_row,
)
from .progress import compare_progress, sound_progress
from .words import asked_in_words, match_option, matching, print_meaning, words_options

if TYPE_CHECKING:
    from ..results import Answer, LabelledClip
    from ..stores.records import ClipName as ClipNamed

__all__ = ["each_heard", "label", "named_apart", "query", "similar"]

OnSound = Callable[[float], None]

_Moments = tuple[float, float | None]
_Heard = TypeVar("_Heard")
_UNNAMED: Mapping[str, str] = MappingProxyType({})
_NO_LABEL = "No clip of the library has this label."
_NO_MATCH = "No clip of the library matches the filter."
_NO_MORE = "No more clips, or none with such a score."


@click.command()
@click.argument("clips", nargs=-1, type=click.Path(allow_dash=True))
@click.option(
    "--like",
    multiple=True,
    type=ClipName(),
    metavar="CLIP",
    help="In place of CLIPS: an example, a sound file or a clip of the library by its path or id. "
    "Give several times for several.",
)
@click.option(
    "--unlike",
    multiple=True,
    type=ClipName(),
    metavar="CLIP",
    help="An example of what is not meant.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="LABEL",
    help="What is to be heard: an AudioSet label by its name, id or path, such as 'Dog > Bark', "
    "alone or beside CLIPS or examples. Give several times for several at once.",
)
@words_options
@click.option(
    "--label-weight",
    type=click.FloatRange(0, 1),
    help="How much a label or words count beside CLIPS or examples, or the labels of --text beside "
    f"where its words lie.  [default: {LABEL_WEIGHT}; of --text alone 0.2]",
)
@library_option
@where_option
@match_option
@k_option
@offset_option
@min_score_option
@per_option
@ranking_option
@click.option("--segments", is_flag=True, help="Find moments, of one clip or many, not clips.")
@at_option
@max_duration_option
@head_option
@full_option
@json_option
def query(
    clips: tuple[str, ...],
    like: tuple[ClipNamed, ...],
    unlike: tuple[ClipNamed, ...],
    labels: tuple[str, ...],
    text: str | None,
    classes: tuple[str, ...],
    names: bool,
    label_weight: float | None,
    library: str | None,
    where: str | None,
    match: str | None,
    k: int,
    offset: int,
    min_score: float,
    per: str | None,
    ranking: str,
    segments: bool,
    at: _Moments | None,
    max_duration: float,
    head: str | None,
    full: bool,
    as_json: bool,
) -> None:
    """Find the clips nearest to each of CLIPS, sound files or - for standard input.

    With --like, find what all examples have in common; with --unlike, what those examples do not.
    With --label, find what has a label, or what is near and has it; with --text, say it in words.
    """
    if not (clips or like or labels or text is not None) or (clips and like):
        raise click.UsageError(
            "expected CLIPS, --like, --label or --text, what to search for; CLIPS or --like, not "
            "both"
        )
    if (text is not None and labels) or ((classes or names) and text is None):
        raise click.UsageError("--class and --names need --text, which is without --label")
    if (unlike and not like) or (at is not None and not clips):
        raise click.UsageError(f"{'--at needs CLIPS' if at else '--unlike needs --like'}")
    options: dict[str, Any] = {
        "ranking": ranking,
        "offset": offset,
        "min_score": min_score,
        "per": per,
        "segments": segments,
        "head": head,
    }
    with soundsearch.open(library) as lib:
        empty = f"The library is empty; `{command('ingest FOLDER', lib.address)}` fills it."
        nothing = empty if where is None and match is None else _NO_MATCH
        if offset or min_score > -1:
            nothing = _NO_MORE
        selection = matching(lib if where is None else lib.where(where), match)

        def ask(question: Any, on_sound: OnSound) -> Answer:
            if labels:
                weight = LABEL_WEIGHT if label_weight is None else label_weight
                question = soundsearch.Labelled(labels, question, weight)
            if text is not None:
                question = asked_in_words(text, classes, names, question, label_weight)
            with compare_progress() as told:
                return selection.query(question, k, **options, on_sound=on_sound, on_compared=told)

        if not clips:
            with sound_progress(lambda: None) as on_sound:
                examples = soundsearch.Examples(like, unlike) if like else None
                answer = ask(examples, on_sound)
            about = "the words" if text is not None else "the label"
            print_warning("the examples" if like else about, answer.warning)
            if nothing == empty and not answer.hits and len(lib):
                nothing = _NO_LABEL
            _print(answer, full, as_json, nothing, heard=False)

        def hear(source: Any, on_sound: OnSound) -> Answer:
            return ask(soundsearch.Sound(source, at, max_duration=max_duration), on_sound)

        for clip, answer in each_heard(clips, at, hear):
            print_warning(clip, answer.warning)
            with named_apart(clip, clips, as_json) as name:
                _print(answer, full, as_json, nothing, name)


@click.command()
@click.argument("clips", nargs=-1, required=True, type=ClipName())
@library_option
@where_option
@k_option
@offset_option
@min_score_option
@per_option
@ranking_option
@full_option
@json_option
def similar(
    clips: tuple[ClipNamed, ...],
    library: str | None,
    where: str | None,
    k: int,
    offset: int,
    min_score: float,
    per: str | None,
    ranking: str,
    full: bool,
    as_json: bool,
) -> None:
    """Find the clips nearest to each of CLIPS: of the library, by path, address, id or key:VALUE.

    Several are compared at once, as wholes, by their pooled vectors.
    """
    if len(clips) > 1 and (ranking != RANKINGS[0] or offset or min_score > -1 or per):
        raise click.UsageError("--ranking, --offset, --min-score and --per are for one clip")
    with soundsearch.open(library) as lib:
        selection = lib if where is None else lib.where(where)
        if len(clips) > 1:
            print_similar(selection.similar(clips, k), as_json)
            return
        page: dict[str, Any] = {"offset": offset, "min_score": min_score, "per": per}
        with compare_progress() as told:
            answer = selection.similar(clips[0], k, ranking=ranking, **page, on_compared=told)
        print_warning(str(clips[0]), answer.warning)
    nothing = "The library holds no other clip." if where is None else _NO_MATCH
    _print(answer, full, as_json, _NO_MORE if offset or min_score > -1 else nothing)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True))
@encoder_option
@head_option
@at_option
@max_duration_option
@click.option("--events", is_flag=True, help="Find events: labels with an onset and an offset.")
@hop_option
@click.option(
    "--format",
    "format",
    metavar=f"{'|'.join(FORMATS)}|CODING:HZ:CHANNELS",
    help="Write events for other programs; with --live, how raw sound comes in, as in "
    "s16le:16000:1.",
)
@click.option(
    "--live",
    is_flag=True,
    help="Tell of events while the sound comes in: a line when one begins, a line when it ends.",
)
@click.option(
    "--watch",
    metavar="LIBRARY",
    help="With --live, tell when something like a clip of this library is heard.",
)
@where_option
@click.option(
    "--min-score",
    type=click.FloatRange(-1, 1),
    help="With --watch, from which score on something is like a clip.  [default: 0.9]",
)
@full_option
@json_option
@click.pass_context
def label(
    context: click.Context,
    files: tuple[str, ...],
    encoder: str | None,
    head: str | None,
    at: _Moments | None,
    max_duration: float,
    events: bool,
    hop: float | None,
    format: str | None,
    live: bool,
    watch: str | None,
    where: str | None,
    min_score: float | None,
    full: bool,
    as_json: bool,
) -> None:
    """Predict the labels of each of FILES (or - for standard input) and of its segments.

    With --events, what is heard from when to when; with --events --live, as soon as it is.
    """
    if not events and (hop is not None or format is not None or live):
        raise click.UsageError("--hop, --format and --live are for --events")
    if not live and watch is not None:
        raise click.UsageError("--watch is for --live")
    if watch is None and (where is not None or min_score is not None):
        raise click.UsageError("--where and --min-score are for --watch")
    given = {"encoder": encoder, "head": head, "hop": hop, "format": format, "min_score": min_score}
    if live:
        if len(files) > 1 or at is not None:
            raise click.UsageError("--live is for one file, or -, and all of it")
        if context.get_parameter_source("max_duration") is not ParameterSource.DEFAULT:
            raise click.UsageError("--live goes on as long as the sound; leave out --max-duration")
        wanted = {name: value for name, value in given.items() if value is not None}
        print_live(files[0], watch, where, as_json, full, **wanted)
        return
    if format is not None and format not in FORMATS:
        raise click.BadParameter(
            f"expected one of {', '.join(FORMATS)}, got {format!r}; raw sound is for --live",
            param_hint="--format",
        )
    if as_json and format is not None:
        raise click.UsageError("expected --format or --json, got both")
    whose: dict[str, Any] = {"head": head} | ({} if encoder is None else {"encoder": encoder})

    def hear(source: Any, on_sound: OnSound) -> LabelledClip:
        sound = soundsearch.Sound(source, at, max_duration=max_duration)
        return soundsearch.label(sound, **whose, on_sound=on_sound)

    def find(source: Any, on_sound: OnSound) -> soundsearch.Timeline:
        sound = soundsearch.Sound(source, at, max_duration=max_duration)
        return soundsearch.events(sound, **whose, hop=hop, on_sound=on_sound)

    if events:
        _print_timelines(files, each_heard(files, at, find), format, full, as_json)
        return
    for file, labelled in each_heard(files, at, hear):
        print_warning(file, labelled.warning)
        with named_apart(file, files, as_json) as name:
            if as_json:
                print_json([{**name, **labelled.to_dict()}])
            else:
                print_labelled(labelled, full=full)


def _print_timelines(
    files: Sequence[str],
    found: Iterator[tuple[str, soundsearch.Timeline]],
    format: str | None,
    full: bool,
    as_json: bool,
) -> None:
    if format is not None:
        from ..timeline_formats import ONE_FILE, rows

        if len(files) > 1 and format in ONE_FILE:
            raise click.UsageError(f"--format {format} is for one file, got {len(files)}")
        for row in rows(format, _warned(found)):
            say_row(row)
        return
    for file, timeline in found:
        print_warning(file, timeline.warning)
        with named_apart(file, files, as_json) as name:
            if as_json:
                print_json({**name, **event.to_dict()} for event in timeline)
            else:
                print_events(timeline, full=full)


def _warned(found: Iterator[tuple[str, soundsearch.Timeline]]) -> Iterator[soundsearch.Timeline]:
    for file, timeline in found:
        print_warning(file, timeline.warning)
        yield timeline


def each_heard(
    files: Sequence[str], at: _Moments | None, hear: Callable[[Any, OnSound], _Heard]
) -> Iterator[tuple[str, _Heard]]:
    """Each file with what comes of it; of several, one that gives no sound stops no other."""
    if files.count("-") > 1:
        raise click.UsageError("standard input, -, can be read only once")
    failed = 0
    for file in files:
        try:
            with sound_progress(partial(_length, file, at)) as on_sound:
                heard = hear(sys.stdin.buffer if file == "-" else file, on_sound)
        except AudioError as error:
            if len(files) == 1:
                raise
            say(f"Error: {error}", err=True)
            failed += 1
        else:
            yield file, heard
    if failed:
        sys.exit(EXIT_SOME_FAILED if failed < len(files) else EXIT_ERROR)


def _length(file: str, at: _Moments | None) -> float | None:
    """How many seconds there are to hear, as far as the file's header says."""
    from soundsearch_ingest.decode import Decoder

    if file == "-":
        return None
    with Decoder(file) as decoder:
        promised = decoder.promised
    if promised is None or at is None:
        return promised
    start, end = at
    return (promised if end is None else min(end, promised)) - start


@contextmanager
def named_apart(file: str, files: Sequence[str], as_json: bool) -> Iterator[dict[str, str]]:
    """Set an answer apart from others by its file: by a heading, or by what is given in JSON."""
    if len(files) == 1:
        yield {}
    elif as_json:
        yield {"query": file}
    else:
        say(f"{file}:")
        yield {}
        say()


def _print(
    answer: Answer,
    full: bool,
    as_json: bool,
    nothing: str,
    name: Mapping[str, str] = _UNNAMED,
    heard: bool = True,
) -> None:
    if as_json:
        words = {} if answer.words is None else {"words": answer.words.to_dict()}
        print_json({**name, **hit.to_dict(), **words} for hit in answer)
        return
    if answer.words is not None:
        print_meaning(answer.words)
        say()
    print_answer(answer, nothing, full=full, heard=heard)
