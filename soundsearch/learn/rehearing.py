"""More clips to learn from: those that there are, heard again with their sound changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import pipeline
from soundsearch_ingest.decode import Decoder
from soundsearch_ingest.sources import opened, stat

from ..clips import Clips
from ..errors import ArgumentError, AudioError
from ..hints import command
from ..stores.records import StoredClip
from .bags import Bags, joined
from .data import Material, sounding_bags
from .sounds import CHANGES, changed

__all__ = ["Reheard", "reheard"]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Reheard:
    """Clips whose sound was changed.

    Attributes
    ----------
    bags : Bags
        What they are, and how much they count, is that of their originals.
    origins : int64 [clips]
        Which clip each was made of.
    """

    bags: Bags
    origins: Ints

    def __repr__(self) -> str:
        return f"<Reheard, {len(self.origins)} clips>"

    def of(self, originals: Bags, clips: Ints) -> Bags:
        """Those that were made of some of the originals."""
        rows = np.flatnonzero(np.isin(self.origins, clips))
        made_of = originals.targets[self.origins[rows]], originals.weights[self.origins[rows]]
        return replace(self.bags.take(rows), targets=made_of[0], weights=made_of[1])


def reheard(
    clips: Clips,
    read: Material,
    kinds: Collection[str],
    seed: int,
    *,
    whole: bool,
    on_step: Callable[[str], None],
) -> tuple[Reheard, tuple[str, ...]]:
    """Hear the files of labelled clips again, changed, with the encoder of their library.

    One is in memory at a time, and of a long one a minute. Segments and their shares are as at
    ingest; what is near-silent then is left out.

    Parameters
    ----------
    clips : Clips
    read : Material
        Of these clips.
    kinds : collection of str
        Those that are in `soundsearch.learn.sounds.CHANGES`, one after the other.
    seed : int
        With it and a file's content, the change is the same every time.
    whole : bool
        Keep only the mean embedding of each clip, in place of its segments.
    on_step : callable
        Called with how far it is.

    Returns
    -------
    Reheard
    tuple of str
        Warnings of clips that could not be heard again.

    Raises
    ------
    ArgumentError
        None of them can be heard again.
    """
    session = clips._session
    store = session.store
    stored = {clip.uri: clip for clip in store.clips(clips._filter_of(store))}
    there: list[tuple[int, StoredClip]] = []
    failed: list[str] = []
    for row, uri in enumerate(read.uris):
        try:
            _check_unchanged(stored[uri])
            there.append((row, stored[uri]))
        except AudioError as error:
            failed.append(str(error))
    wanted = [kind for kind in CHANGES if kind in kinds]
    nothing = (
        f"augment: expected clips that can be heard again, to change their sound "
        f"({', '.join(wanted)}), got none of {len(read.uris):,}; ingest their files again with: "
        f"{command('ingest FOLDER', session.address)}, or leave these kinds out: "
    )
    if not there:  # as in a library of features, which need no encoder either
        raise ArgumentError(nothing + failed[0])
    encoder = session.listener(pipeline.available_cores()).encoder
    parts: list[Bags] = []
    origins: list[int] = []
    began, seconds = time.monotonic(), 0.0
    for done, (row, clip) in enumerate(there):
        rate = seconds / max(time.monotonic() - began, 1e-9)
        on_step(f"hearing {done + 1:,} of {len(there):,} again, {rate:,.0f}x real time: {clip.uri}")
        try:
            for number, kind in enumerate(wanted):
                entropy = (seed, number, int.from_bytes(clip.record.digest[:8], "big"))
                with Decoder(clip.uri) as decoder:
                    blocks = changed(decoder, kind, entropy)
                    embeddings, levels, duration = pipeline.embed_sound(
                        blocks, encoder, store.settings.hop
                    )
                seconds += duration
                vectors = embeddings[:, : store.settings.dimension]
                bags, sounds = sounding_bags(
                    vectors, levels, [len(levels)], unit=read.one_label, whole=whole
                )
                if sounds.any():
                    parts.append(bags)
                    origins.append(row)
        except AudioError as error:
            failed.append(str(error))
    if not parts:
        raise ArgumentError(nothing + (failed[0] if failed else "all of it is near-silent"))
    warnings = []
    if failed:
        warnings.append(
            f"{len(failed):,} of {len(read.uris):,} clips could not be heard again, and are learnt "
            f"from as they are: {failed[0]}"
        )
    return Reheard(joined(parts), np.array(origins, np.int64)), tuple(warnings)


def _check_unchanged(clip: StoredClip) -> None:
    """Raise AudioError unless a clip's file holds the sound that has its label."""
    try:
        file = stat(clip.uri)
        if file == clip.record.file:
            return
        with opened(file) as source:
            same = pipeline.content_digest(source) == clip.record.digest
    except OSError as error:
        raise AudioError(clip.uri, error.strerror or str(error)) from error
    if not same:
        raise AudioError(clip.uri, "has changed since it was ingested")
