"""A worker of a cluster: hears files and stores their clips, in a process of its own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, cast

from soundsearch_ingest import pipeline
from soundsearch_ingest.files import AudioFile
from soundsearch_ingest.outcomes import Embedded, Failed, Known
from soundsearch_ingest.urls import is_url

from .. import __version__
from ..engines import Reuse
from ..errors import LibraryBusy, SoundsearchError
from ..ingesting import new_clip
from ..session import Session
from ..stores.milvus.lease import Permit
from ..stores.milvus.store import MilvusStore
from ..stores.milvus.uri import MilvusUri
from ..stores.records import CLIP_LABELS, SEGMENT_LABELS
from ..waiting import Patience
from .messages import Done, Inserted, Progress, Ready, Refused, Wanted

__all__ = ["Worker"]


class Worker:
    """Hears on one core. Of two calls of `hear` at a time, one hears while the other stores.

    Parameters
    ----------
    place : MilvusUri
        Of the library.
    permit : Permit
        Of the driver's lease; see `Delegate`.
    version : str
        The driver's, of soundsearch.
    """

    def __init__(self, place: MilvusUri, permit: Permit, version: str) -> None:
        self._place = place
        self._permit = permit
        self._version = version
        self._node = socket.gethostname()
        self._hearing = threading.Lock()
        self._counting = threading.Lock()
        self._decoded = Progress()

    def ready(self) -> Ready | Refused:
        """Open the library, and the encoder that gives its space."""
        if self._version != __version__:
            return Refused(
                f"the node {self._node} has soundsearch {__version__}, but this is soundsearch "
                f"{self._version}; install the same version on all nodes"
            )
        try:
            session = Session(self._place, None, None, Patience.of(False, lambda _text: None))
            self._store = cast(MilvusStore, session.store)
            self._listener = session.listener(1)
            self._delegate = self._store.delegate(self._permit)
        except SoundsearchError as error:
            return self._refused(error)
        return Ready(self._node)

    def hear(self, wanted: Sequence[Wanted], reuse: Reuse) -> Done | Refused:
        """Hear files and store their clips; one outcome for each file."""
        try:
            with self._hearing:
                results = self._heard(wanted, reuse)
            embedded = [each for each in results if isinstance(each, Embedded)]
            rest = [each for each in results if not isinstance(each, Embedded)]
            return Done([*self._stored(embedded, wanted), *rest], self.decoded())
        except SoundsearchError as error:
            return self._refused(error)

    def decoded(self) -> Progress:
        """How much was decoded since the last call."""
        with self._counting:
            decoded, self._decoded = self._decoded, Progress()
        return decoded

    def _refused(self, error: SoundsearchError) -> Refused:
        return Refused(f"{error} (on the node {self._node})", isinstance(error, LibraryBusy))

    def _heard(self, wanted: Sequence[Wanted], reuse: Reuse) -> list[Embedded | Known | Failed]:
        remote = [each.file for each in wanted if is_url(each.file.uri)]
        results = self._identified(
            [each.file for each in wanted if not is_url(each.file.uri)], reuse
        )
        # What must be fetched is fetched once: a query each takes less time.
        results += self._run(remote, is_known=lambda digest: bool(self._known([digest], reuse)))
        return [self._placed(each) for each in results]

    def _identified(
        self, files: Sequence[AudioFile], reuse: Reuse
    ) -> list[Embedded | Known | Failed]:
        """Hear files on disk, all of which are identified first: one query says which are known."""
        hashed = list(self._run(files, is_known=lambda _digest: True))
        digests = {each.file.uri: each.digest for each in hashed if isinstance(each, Known)}
        known = self._known(list(set(digests.values())), reuse)
        results = [each for each in hashed if not isinstance(each, Known) or each.digest in known]
        new = [each.file for each in hashed if isinstance(each, Known) and each.digest not in known]
        for result in self._run(new, identify=False):
            if result.digest is not None:
                result = replace(result, digest=digests[result.file.uri])
            results.append(result)
        return results

    def _run(
        self, files: Sequence[AudioFile], **options: Any
    ) -> Iterator[Embedded | Known | Failed]:
        if not files:
            return iter(())
        told: Any = {"on_sound": self._on_sound, "on_long": self._on_long, "workers": 1}
        encoder, hop = self._listener.encoder, self._store.settings.hop
        return pipeline.run(files, encoder, hop, **told, **options)

    def _known(self, digests: Sequence[bytes], reuse: Reuse) -> set[bytes]:
        if not (reuse.clips or reuse.failures):
            return set()
        return self._delegate.known(digests, reuse.clips, reuse.failures)

    def _placed(self, result: Embedded | Known | Failed) -> Embedded | Known | Failed:
        """Say where a file cannot be read: on another node it may be."""
        if isinstance(result, Failed) and result.digest is None:
            return replace(result, reason=f"{result.reason} (on the node {self._node})")
        return result

    def _stored(self, embedded: Sequence[Embedded], wanted: Sequence[Wanted]) -> list[Inserted]:
        listener = self._listener
        heard = [
            listener.heard(each.embeddings, each.levels, each.duration, each.warning)
            for each in embedded
        ]
        labels = listener.labels(heard, SEGMENT_LABELS, CLIP_LABELS)
        wanted_at = {each.file.uri: each for each in wanted}
        pairs = []
        for each, sound, labelled in zip(embedded, heard, labels, strict=True):
            mine = wanted_at[each.file.uri]
            clip = new_clip(each.file, each.digest, sound, labelled, mine.before)
            pairs.append((clip, mine.numbers))
        rows = self._delegate.add(pairs) if pairs else []
        return [
            Inserted(each.file, each.digest, each.duration, each.warning, each.sample_rate, row)
            for each, row in zip(embedded, rows, strict=True)
        ]

    def _on_sound(self, seconds: float) -> None:
        with self._counting:
            self._decoded = replace(self._decoded, seconds=self._decoded.seconds + seconds)

    def _on_long(self, uri: str, heard: float, promised: float) -> None:
        with self._counting:
            self._decoded.long[uri] = heard, promised
