"""Questions, recommendations and lists: what the API asks the library."""

from __future__ import annotations

import dataclasses
import os
import threading
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..asking.labelled import LABEL_WEIGHT, Labelled
from ..asking.questions import Embeddings, Examples, Stored
from ..asking.words import Words
from ..clips import Clips
from ..errors import ArgumentError
from ..labels.kept import kept_head, vocabulary_of
from ..library import Library
from ..results import Answer, Clip, Label
from ..selection import shown
from ..stores.base import Reading
from .facets import facets_of
from .fields import Values
from .service import Call
from .surveying import labels_of, tags_of

__all__ = ["clip", "clips", "facets", "failures", "labels", "query", "recommend", "similar", "tags"]

_PAGE = ("k", "offset", "min_score", "per", "ranking")


def _selected(library: Library, values: Values) -> Clips:
    return library if values["where"] is None else library.where(values["where"])


def _told(
    answer: Answer, clip: Clip | None = None, heard: dict[str, Any] | None = None
) -> dict[str, Any]:
    """An answer as JSON: hits as the command line prints them, and how the question was read."""
    return {
        "hits": [hit.to_dict() for hit in answer],
        "labels": [label.to_dict() for label in answer.labels],
        "warning": answer.warning,
        "words": None if answer.words is None else answer.words.to_dict(),
        "clip": None if clip is None else clip.to_dict(),
        "heard": heard,
    }


async def query(call: Call) -> dict[str, Any]:
    """The clips nearest to an upload, a clip, examples, labels or words, or to several of these."""
    values = call.values
    given = [call.upload is not None, values["clip"] is not None, bool(values["like"])]
    if sum(given[:2]) > 1:
        raise ArgumentError("expected sound or clip, what to search for, got both")
    if not any(given) and not values["label"] and values["text"] is None:
        raise ArgumentError(
            "expected sound, clip, like, label or text, what to search for; got none"
        )
    if values["label"] and values["text"] is not None:
        raise ArgumentError("expected label or text, what is to be heard, got both")
    if (values["classes"] or values["names"]) and values["text"] is None:
        name = "classes" if values["classes"] else "names"
        raise ArgumentError(f"{name}: expected text beside it")
    if values["unlike"] and not any(given):
        raise ArgumentError("unlike: expected sound, clip or like beside it")
    if values["at"] is not None and call.upload is None and values["clip"] is None:
        raise ArgumentError("at: expected sound or clip beside it, part of which is meant")
    heard = None if call.upload is None else await _heard(call)

    def ask(library: Library) -> tuple[Answer, Clip | None]:
        options = {name: values[name] for name in _PAGE}
        asked = _question(values, None if heard is None else heard.embeddings)
        selected = _selected(library, values)
        answer = selected.query(asked, segments=values["segments"], **options)
        return answer, None if values["clip"] is None else library.clip(values["clip"])

    answer, clip = await call.question(ask)
    if heard is None:
        return _told(answer, clip)
    both = "; ".join(text for text in (heard.warning, answer.warning) if text) or None
    answer = dataclasses.replace(answer, labels=heard.labels, warning=both)
    return _told(answer, clip, heard.told)


def _question(values: Values, heard: Embeddings | None) -> Any:
    """The question that values pose; no name in it is ever taken for a file."""
    like: list[Any] = [Stored(clip) for clip in values["like"]]
    unlike = [Stored(clip) for clip in values["unlike"]]
    first: Any = heard
    if values["clip"] is not None:
        first = Stored(values["clip"], values["at"])
    if first is not None:
        like.insert(0, first)
    asked: Any = None
    if len(like) > 1 or unlike or (like and first is None):
        asked = Examples(like, unlike)
    elif like:
        asked = like[0]
    weight = values["label_weight"]
    if values["text"] is not None:
        return Words(values["text"], values["classes"] or None, asked, weight, values["names"])
    if values["label"]:
        return Labelled(values["label"], asked, LABEL_WEIGHT if weight is None else weight)
    return asked


@dataclass(frozen=True, slots=True)
class _Heard:
    """What a worker made of an upload."""

    embeddings: Embeddings
    labels: tuple[Label, ...]
    warning: str | None
    told: dict[str, Any]  # `Heard` of the answer


async def _heard(call: Call) -> _Heard:
    service, upload = call.service, call.upload
    folder = service.folder
    settings, head = await call.ask(lambda library: _hearing(library, folder))
    job = {
        "job": "hear",
        "file": upload.path,
        "name": upload.name,
        "at": call.values["at"],
        "longest": service.limits.longest,
        "encoder": settings.encoder,
        "hop": settings.hop,
        "head": head,
        "peaks": call.values["peaks"],
    }
    facts, content = await call.work(upload.name, job)
    count, dimension = facts["shape"]
    numbers = np.frombuffer(content, np.float32)
    vectors = numbers[: count * dimension].reshape(count, dimension)
    found = Embeddings(vectors, numbers[count * dimension :], None, facts["space"])
    labels = tuple(Label(**each | {"path": tuple(each["path"])}) for each in facts["labels"])
    told = {name: facts[name] for name in ("duration", "events", "wave")}
    return _Heard(found, labels, facts["warning"], told)


def _hearing(library: Library, folder: str) -> tuple[Any, str | None]:
    """What a worker must know of a library: its settings, and where a copy of its head is."""
    store = library._session.store
    digest = store.head_digest()
    if digest is None or kept_head(store) is None:
        return store.settings, None
    path = os.path.join(folder, f"head-{digest}")
    if not os.path.exists(path):
        part = f"{path}.{threading.get_ident()}"  # another thread may write it, too
        with open(part, "wb") as file:
            file.write(store.head())
        os.replace(part, path)
    return store.settings, path


async def similar(call: Call) -> dict[str, Any]:
    """The clips nearest to one of the library."""
    values = call.values
    options = {name: values[name] for name in _PAGE}

    def ask(library: Library) -> tuple[Answer, Clip]:
        answer = _selected(library, values).similar(values["clip"], **options)
        return answer, library.clip(values["clip"])

    return _told(*await call.question(ask))


async def recommend(call: Call) -> dict[str, Any]:
    """Clips for someone who likes some."""
    values = dict(call.values)
    where = {"where": values.pop("where")}
    values["weights"] = values["weights"] or None
    return _told(await call.question(lambda lib: _selected(lib, where).recommend(**values)))


async def clips(call: Call) -> dict[str, Any]:
    """A page of clips, in the order in which they came."""
    values = call.values

    def page(library: Library) -> dict[str, Any]:
        selected = _selected(library, values)

        def read(reading: Reading) -> dict[str, Any]:
            ids = reading.ids(selected._filter_of(reading))
            begin = int(np.searchsorted(ids, values["after"], side="right"))
            wanted = ids[begin + values["offset"] :][: values["limit"]].tolist()
            found = reading.clips_by_id(wanted)
            vocabulary = vocabulary_of(reading)
            rows = [shown(found[each], vocabulary).to_dict() for each in wanted if each in found]
            is_last = begin + values["offset"] + len(wanted) >= len(ids)
            following = None if is_last or not wanted else wanted[-1]
            return {"clips": rows, "total": len(ids), "next": following}

        return selected._read(read)

    return await call.question(page)


async def clip(call: Call) -> dict[str, Any]:
    """One clip."""
    return await call.ask(lambda library: library.clip(call.values["id"]).to_dict())


async def failures(call: Call) -> dict[str, Any]:
    """A page of the files that could not be ingested."""
    found = await call.ask(lambda library: library.failures())
    begin, limit = call.values["offset"], call.values["limit"]
    rows = [failure.to_dict() for failure in found[begin : begin + limit]]
    return {"failures": rows, "total": len(found)}


async def labels(call: Call) -> dict[str, Any]:
    """The classes that labels name, and how many clips have each."""
    where, least = call.values["where"], call.values["least"]
    found: dict[str, Any] = await call.service.summary(
        ("labels", where, least), lambda library: labels_of(_selected(library, call.values), least)
    )
    return found


async def facets(call: Call) -> dict[str, Any]:
    """What filters can tell apart, and how many clips there are of each."""
    where, least = call.values["where"], call.values["least"]
    found: dict[str, Any] = await call.service.summary(
        ("facets", where, least), lambda library: facets_of(_selected(library, call.values), least)
    )
    return found


async def tags(call: Call) -> dict[str, Any]:
    """The tags of clips, with their most frequent values."""
    found: dict[str, Any] = await call.service.summary(
        ("tags", call.values["where"]), lambda library: tags_of(_selected(library, call.values))
    )
    return found
