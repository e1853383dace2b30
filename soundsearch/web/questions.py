"""Questions, recommendations and lists: what the API asks the library."""

from __future__ import annotations

import dataclasses
import os
import threading
from typing import Any

import numpy as np

from ..asking.labelled import Labelled
from ..asking.questions import Embeddings, Examples, Stored
from ..clips import Clips
from ..errors import ArgumentError
from ..labels.kept import kept_head, vocabulary_of
from ..library import Library
from ..results import Answer, Label
from ..selection import shown
from ..stores.base import Reading
from .facets import facets_of
from .fields import Values
from .service import Call
from .surveying import labels_of, tags_of

__all__ = ["clip", "clips", "facets", "failures", "labels", "query", "recommend", "similar", "tags"]

# Of a question without an upload.
_NOTHING: tuple[Embeddings | None, tuple[Label, ...], str | None] = None, (), None
_PAGE = ("k", "offset", "min_score", "per", "ranking")


def _selected(library: Library, values: Values) -> Clips:
    return library if values["where"] is None else library.where(values["where"])


def _told(answer: Answer) -> dict[str, Any]:
    """An answer as JSON: hits as the command line prints them, and what was heard."""
    return {
        "hits": [hit.to_dict() for hit in answer],
        "labels": [label.to_dict() for label in answer.labels],
        "warning": answer.warning,
    }


async def query(call: Call) -> dict[str, Any]:
    """The clips nearest to an upload, a clip, examples or labels, or to several of these."""
    values = call.values
    given = [call.upload is not None, values["clip"] is not None, bool(values["like"])]
    if sum(given[:2]) > 1:
        raise ArgumentError("expected sound or clip, what to search for, got both")
    if not any(given) and not values["label"]:
        raise ArgumentError("expected sound, clip, like or label, what to search for; got none")
    if values["unlike"] and not any(given):
        raise ArgumentError("unlike: expected sound, clip or like beside it")
    if values["at"] is not None and call.upload is None:
        raise ArgumentError("at: expected a sound beside it, part of which is meant")
    if call.upload is None:
        heard, labels, warning = _NOTHING
    else:
        heard, labels, warning = await _heard(call)

    def ask(library: Library) -> Answer:
        options = {name: values[name] for name in _PAGE}
        asked = _question(values, heard)
        return _selected(library, values).query(asked, segments=values["segments"], **options)

    answer = await call.ask(ask)
    if heard is not None:
        both = "; ".join(text for text in (warning, answer.warning) if text) or None
        answer = dataclasses.replace(answer, labels=labels, warning=both)
    return _told(answer)


def _question(values: Values, heard: Embeddings | None) -> Any:
    """The question that values pose; no name in it is ever taken for a file."""
    like: list[Any] = [Stored(clip) for clip in values["like"]]
    unlike = [Stored(clip) for clip in values["unlike"]]
    first: Any = heard if values["clip"] is None else Stored(values["clip"])
    if first is not None:
        like.insert(0, first)
    asked: Any = None
    if len(like) > 1 or unlike or (like and first is None):
        asked = Examples(like, unlike)
    elif like:
        asked = like[0]
    return Labelled(values["label"], asked, values["label_weight"]) if values["label"] else asked


async def _heard(call: Call) -> tuple[Embeddings, tuple[Label, ...], str | None]:
    """An upload's embeddings, its labels and its warning; heard by a worker."""
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
    }
    facts, content = await call.work(upload.name, job)
    count, dimension = facts["shape"]
    numbers = np.frombuffer(content, np.float32)
    vectors = numbers[: count * dimension].reshape(count, dimension)
    found = Embeddings(vectors, numbers[count * dimension :], None, facts["space"])
    labels = tuple(Label(**each | {"path": tuple(each["path"])}) for each in facts["labels"])
    return found, labels, facts["warning"]


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
    return _told(
        await call.ask(lambda lib: _selected(lib, values).similar(values["clip"], **options))
    )


async def recommend(call: Call) -> dict[str, Any]:
    """Clips for someone who likes some."""
    values = dict(call.values)
    where = {"where": values.pop("where")}
    values["weights"] = values["weights"] or None
    return _told(await call.ask(lambda lib: _selected(lib, where).recommend(**values)))


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

    return await call.ask(page)


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
