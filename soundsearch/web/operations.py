"""What the API offers: one table makes the routes, the checks of input and the document."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from ..asking.labelled import LABEL_WEIGHT
from ..asking.ranking import DEFAULT_RANKING, RANKINGS, RELATED
from ..asking.words import WORDS_WEIGHT
from ..correctionfiles import HEARD
from ..labels.wording import MOST_PARTS
from ..mapping.methods import DEFAULT_METHOD, METHODS
from . import caring, keeping, looking, mapping, questions, sounds, suggesting
from .fields import Field
from .service import Call

__all__ = ["OPERATIONS", "PREFIX", "Operation"]

PREFIX = "/api/v1"

_IDS = 1000  # of clips in one request


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that can be asked.

    Attributes
    ----------
    name : str
        Its ``operationId``.
    method, path : str
        ``{id}`` in the path is the clip's.
    summary : str
    handle : coroutine function
        Takes a `Call`; gives JSON, or a response.
    answer : str
        The name of its shape, or a media type.
    fields : tuple of Field
        Of the address's query, or of a POST's body.
    upload : str or None
        The field of the body that may be a file; it is then a form.
    ranges : bool
        Whether ranges of the answer may be asked for.
    is_open : bool
        Whether it needs no token.
    meanwhile : str or None
        The name of the shape of what is answered, with 202, while the answer is being made.
    """

    name: str
    method: str
    path: str
    summary: str
    handle: Callable[[Call], Awaitable[Any]]
    answer: str
    fields: tuple[Field, ...] = ()
    upload: str | None = None
    ranges: bool = False
    is_open: bool = False
    meanwhile: str | None = None


ID = Field("id", "whole", "The clip's id.", least=0, required=True)
_WHERE = Field(
    "where", "text", "A filter, as in: label['Dog'] > 0.5 and duration < 10 and tag['mic'] == 'AKG'"
)
_OFFSET = Field("offset", "whole", "How many to pass over.", 0, 0, 100_000)
_AT = Field("at", "at", "Part of the sound, START-END in seconds, as in 3.0-6.5, 3- or -6.5.")


def _page(k: int) -> tuple[Field, ...]:
    return (
        _WHERE,
        Field("k", "whole", "How many clips to find.", k, 1, 1000),
        _OFFSET,
        Field("min_score", "number", "Leave out clips with a lower score.", -1.0, -1e6, 1e6),
        Field(
            "per",
            "text",
            "At most so many of a folder, tag or content: folder:2, tag[artist]:1; content:1 hides "
            "copies of files. Several between commas.",
        ),
    )


_RANKING = Field(
    "ranking", "text", "How clips are scored.", DEFAULT_RANKING, choices=(*RANKINGS, RELATED)
)


def _clips(name: str, help: str, required: bool = False) -> Field:
    return Field(name, "clip", help, several=_IDS, required=required)


_CLIP = "a clip of the library by its id, its uri or key:VALUE"
_PARTS = (Field("limit", "whole", "How many at most.", 100, 1, 1000), _OFFSET)

_LEAST = Field("least", "number", "The least score that counts.", 0.5, 0, 1)

OPERATIONS = (
    Operation(
        "query",
        "POST",
        "/query",
        "Find the clips nearest to a sound, a clip, examples, labels or words",
        questions.query,
        "Answer",
        (
            Field("clip", "clip", f"In place of a sound: {_CLIP}."),
            _clips("like", "Examples of what is wanted, beside a sound or clip or alone."),
            _clips("unlike", "Examples of what is not meant."),
            Field("label", "text", "What is to be heard: AudioSet labels by name.", several=5),
            Field("text", "text", "What is to be heard, in words, in place of labels."),
            Field(
                "classes",
                "weights",
                "In place of what the words become, as `words.classes` of an answer: labels and "
                "weights of what is to be heard at once, below 0 of what is not.",
                several=MOST_PARTS + 1,
            ),
            Field("names", "flag", "Clips with the words in their path count too.", False),
            Field(
                "label_weight",
                "number",
                f"How much labels count beside something else: {LABEL_WEIGHT} if left out, and "
                f"those of text alone {WORDS_WEIGHT} beside where the words lie.",
                None,
                0,
                1,
            ),
            *_page(10),
            _RANKING,
            _AT,
            Field("segments", "flag", "Find moments, not clips.", False),
            Field("peaks", "whole", "Of a sound: how many peaks of its wave to tell.", 0, 0, 4000),
        ),
        upload="sound",
    ),
    Operation(
        "similar",
        "GET",
        "/similar",
        "Find the clips nearest to one of the library",
        questions.similar,
        "Answer",
        (Field("clip", "clip", f"Which: {_CLIP}.", required=True), *_page(10), _RANKING),
    ),
    Operation(
        "complete",
        "GET",
        "/complete",
        "Tell which labels and clips may be meant by what is being typed",
        suggesting.complete,
        "Completion",
        (
            Field("text", "text", "What was typed so far.", required=True),
            Field("k", "whole", "How many of each at most.", 8, 1, 50),
        ),
    ),
    Operation(
        "examples",
        "GET",
        "/examples",
        "Tell what the library can be asked for: labels that are heard surely, and clips with them",
        suggesting.examples,
        "Examples",
    ),
    Operation(
        "recommend",
        "POST",
        "/recommend",
        "Recommend clips to someone who likes some of the library",
        questions.recommend,
        "Answer",
        (
            _clips("liked", "Clips that are liked.", required=True),
            _clips("disliked", "Clips that are not liked."),
            _clips("exclude", "Clips not to recommend."),
            Field(
                "weights",
                "number",
                "How much each liked clip counts.",
                least=0,
                most=1e9,
                several=_IDS,
            ),
            Field("half_life", "number", "In how many clips a liked one counts half.", most=1e9),
            Field("diversity", "number", "How unlike each other clips must be.", 0.3, 0, 1),
            *_page(20),
        ),
    ),
    Operation(
        "clips",
        "GET",
        "/clips",
        "List clips, in the order in which they came",
        questions.clips,
        "Clips",
        (
            _WHERE,
            Field("after", "whole", "Begin after the clip of this id: `next` of a page.", -1, -1),
            *_PARTS,
        ),
    ),
    Operation("clip", "GET", "/clips/{id}", "Show a clip", questions.clip, "Clip"),
    Operation(
        "audio",
        "GET",
        "/clips/{id}/audio",
        "Send a clip's sound, in a form that browsers play; a part of it as WAV",
        sounds.audio,
        "audio/*",
        (_AT,),
        ranges=True,
    ),
    Operation(
        "spectrogram",
        "GET",
        "/clips/{id}/spectrogram",
        "Draw a clip's levels, from -90 to 0 dB: time to the right, mel (HTK), 50 to 8000 Hz, up",
        sounds.spectrogram,
        "image/png",
        (
            _AT,
            Field("width", "whole", "Pixels.", 800, 1, 4000),
            Field("height", "whole", "Pixels.", 128, 1, 512),
        ),
    ),
    Operation(
        "export",
        "POST",
        "/export",
        "Send some clips or moments as a ZIP, a table (CSV) or a playlist (M3U)",
        keeping.export,
        "*/*",
        (
            _clips("clip", "Which, in this order.", required=True),
            Field("at", "at", "The part that is meant of each; none for all of all.", several=_IDS),
            Field("score", "number", "Of each, for the table.", None, -1e6, 1e6, several=_IDS),
            Field("format", "text", "What to send.", "zip", choices=keeping.FORMATS),
            Field(
                "sound",
                "text",
                "What a ZIP holds: the moments as WAV, or the files as they are.",
                keeping.SOUNDS[0],
                choices=keeping.SOUNDS,
            ),
        ),
    ),
    Operation(
        "peaks",
        "GET",
        "/clips/{id}/peaks",
        "Tell a clip's highest levels over time, to draw its wave",
        sounds.peaks,
        "Peaks",
        (_AT, Field("width", "whole", "How many.", 800, 1, 4000)),
    ),
    Operation(
        "events",
        "GET",
        "/clips/{id}/events",
        "Tell what is heard in a clip from when to when",
        sounds.events,
        "Events",
    ),
    Operation(
        "correct",
        "POST",
        "/clips/{id}/labels",
        "Say that a label is heard in a clip, or is not, whatever was predicted",
        caring.correct,
        "Events",
        (
            Field("label", "text", "A class of the library, by name or id.", required=True),
            Field("at", "at", "From when to when, seconds; left out for the clip as a whole."),
            Field(
                "heard",
                "text",
                "Whether it is; unsaid takes back what was said of this label and time.",
                "yes",
                choices=tuple(HEARD),
            ),
        ),
    ),
    Operation(
        "labels",
        "GET",
        "/labels",
        "List the classes that labels name, and how many clips have each or one below it",
        questions.labels,
        "Labels",
        (_WHERE, _LEAST),
    ),
    Operation(
        "facets",
        "GET",
        "/facets",
        "Count clips by what filters tell apart: labels, folders, durations, months of files",
        questions.facets,
        "Facets",
        (_WHERE, _LEAST),
    ),
    Operation(
        "tags",
        "GET",
        "/tags",
        "List tags, and their most frequent values",
        questions.tags,
        "Tags",
        (_WHERE,),
    ),
    Operation(
        "map",
        "GET",
        "/map",
        "Lay clips out in the plane, near each other where they sound alike; in the background",
        mapping.map,
        "Map",
        (
            _WHERE,
            Field("method", "text", "How they are laid out.", DEFAULT_METHOD, choices=METHODS),
        ),
        meanwhile="Making",
    ),
    Operation(
        "failures",
        "GET",
        "/failures",
        "List the files that could not be ingested, and why",
        questions.failures,
        "Failures",
        _PARTS,
    ),
    Operation("ingest", "GET", "/ingest", "Tell how far an ingest is", caring.ingest, "Ingest"),
    Operation(
        "start_ingest",
        "POST",
        "/ingest",
        "Start an ingest of a folder, if the server was started with --allow-ingest",
        caring.start_ingest,
        "Ingest",
        (
            Field("folder", "text", "One that may be ingested, or one in it.", required=True),
            Field("retry_failed", "flag", "Try files again that failed before.", False),
        ),
    ),
    Operation(
        "stop_ingest",
        "DELETE",
        "/ingest",
        "Stop the ingest; what is stored stays",
        caring.stop_ingest,
        "Ingest",
    ),
    Operation(
        "info",
        "GET",
        "/info",
        "Show what the library holds, how it was made, and the server's limits",
        looking.info,
        "Info",
    ),
    Operation(
        "metrics",
        "GET",
        "/metrics",
        "Show counts for Prometheus",
        looking.metrics,
        "text/plain",
    ),
    Operation(
        "health",
        "GET",
        "/health",
        "Tell whether the server runs",
        looking.health,
        "State",
        is_open=True,
    ),
    Operation(
        "ready",
        "GET",
        "/ready",
        "Tell whether the library can be asked",
        looking.ready,
        "State",
        is_open=True,
    ),
    Operation(
        "log_in",
        "POST",
        "/session",
        "Give the token, and keep a cookie in its place",
        looking.log_in,
        "State",
        (Field("token", "text", "The server's token.", required=True),),
        is_open=True,
    ),
    Operation(
        "log_out",
        "DELETE",
        "/session",
        "Let the cookie go",
        looking.log_out,
        "State",
        is_open=True,
    ),
)
