"""Records of AudioSet features -> clips."""

from __future__ import annotations

from collections.abc import Sequence

import blake3
import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.audioset import Record
from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.postprocess import dequantise

from .labels.head import Head, unlabelled
from .labels.ontology import CLASSES
from .labels.predict import predict
from .stores.records import (
    CLIP_LABELS,
    SEGMENT,
    SEGMENT_LABELS,
    ClipRecord,
    NewClip,
    StoredClip,
)
from .tags import inherited

__all__ = ["featured"]


def featured(
    records: Sequence[tuple[Record, AudioFile, StoredClip | None]],
    head: Head | None,
    segment_seconds: float,
) -> list[NewClip]:
    """Make clips of records, together, as many small arrays cost more than a few large ones.

    Parameters
    ----------
    records : sequence of (Record, AudioFile, StoredClip or None)
        Each with at least one segment, the clip's uri in its file, and the clip that is there.
    head : Head or None
        What predicts labels; without, there are none.
    segment_seconds : float
        How much sound one embedding stands for.
    """
    counts = [len(record.features) for record, _, _ in records]
    edges = np.cumsum(counts)[:-1]
    embeddings = np.split(dequantise(np.concatenate([r.features for r, _, _ in records])), edges)
    rows = np.zeros(sum(counts), SEGMENT)  # all equal, because their levels are unknown
    rows["labels"] = unlabelled(SEGMENT_LABELS)
    segments: list[NDArray[np.void]] = np.split(rows, edges)
    labels = [unlabelled(CLIP_LABELS)] * len(records)
    if head is not None:
        heard = [(part, mine["level"]) for part, mine in zip(embeddings, segments, strict=True)]
        for number, (predicted, best) in enumerate(
            predict(head, heard, SEGMENT_LABELS, CLIP_LABELS)
        ):
            segments[number]["labels"] = predicted
            labels[number] = best
    digests = [blake3.blake3(record.features.tobytes()).digest() for record, _, _ in records]
    return [
        NewClip(
            record=ClipRecord(
                file=file,
                digest=digest,
                duration=max(record.end - record.start, len(mine) * segment_seconds),
                labels=best,
                **{
                    "human_labels": tuple(label for label in record.labels if label < CLASSES),
                    **inherited(before.record if before else None, digest),
                },
            ),
            embeddings=part,
            segments=mine,
        )
        for (record, file, before), digest, part, mine, best in zip(
            records, digests, embeddings, segments, labels, strict=True
        )
    ]
