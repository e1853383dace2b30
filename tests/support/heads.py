"""Heads with classes of their own, clips for them, and what they say of these."""

from __future__ import annotations

import numpy as np

from soundsearch.labels.head import Head, HeadSpec, write_head
from soundsearch.labels.ontology import ontology
from soundsearch.labels.predict import predict

from .stores import CLIPS, SETTINGS, new_clip

DOG = next(node.class_index for node in ontology().classes if node.name == "Dog")
NAMES = ("my drill", "Dog", "kettle")


def spec(seed=0, space=SETTINGS.space, dimension=16, names=NAMES, **fields):
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 0.5, (len(names), dimension)).astype(np.float32)
    return HeadSpec(space, ((weight, np.zeros(len(names), np.float32)),), names, **fields)


def written(path, head):
    write_head(path, head)
    return path


PEOPLES = new_clip("/given.wav", 5, 9, human_labels=(DOG,), tags={"mic": "AKG", "id": "g"})
MANY = [*CLIPS, PEOPLES, *(new_clip(f"/more/{n}.wav", 1 + n % 4, 20 + n) for n in range(12))]


def expected(head, clip):
    """What a head says of a new clip: of its segments, and of the whole."""
    [found] = predict(Head(head), [(clip.embeddings, clip.segments["level"])], 5, 10)
    return found


def best(labels, index):
    return max((score for each, score in labels.tolist() if each == index), default=0.0)


def check_labelled(lib, head, clips):
    """Whether a library's labels, stored and shown, are a head's."""
    vocabulary = Head(head).vocabulary
    store = lib._session.store
    for clip in clips:
        stored = store.clip_at(clip.record.uri)
        segments, labels = expected(head, clip)
        assert stored.record.labels.tolist() == labels.tolist()
        with store.reading() as reading:
            vectors, found = reading.rows([(stored.id, 0, stored.count)])
        np.testing.assert_array_equal(vectors, clip.embeddings)
        assert found["labels"].tolist() == segments.tolist()
        assert lib.clip(stored.uri).labels == vocabulary.named(labels)
    shown = {clip.uri: clip.labels for clip in lib}
    assert shown == {c.record.uri: vocabulary.named(expected(head, c)[1]) for c in clips}
