"""A small music recommender: tracks with tags, likes that come in, and what to play next.

    python examples/recommender.py LIBRARY

The tracks are synthesised. A real service adds its own, under addresses of its own, and keeps the
likes of its listeners in its own database.
"""

from __future__ import annotations

import sys

import numpy as np

import soundsearch

RATE = 16_000
# Beats a minute, the lowest note in Hz and the share of noise: made-up genres.
GENRES = {"techno": (140, 55, 0.05), "ambient": (20, 220, 0.0), "rain": (5, 110, 0.9)}


def track(genre: str, number: int) -> np.ndarray:
    """Ten seconds of a track, samples in [-1, 1]."""
    beats, lowest, noise = GENRES[genre]
    random = np.random.default_rng(number)
    time = np.arange(10 * RATE) / RATE
    pulse = np.exp(-8 * (time * (beats + random.integers(-4, 5)) / 60 % 1)) if beats > 60 else 1
    notes = lowest * 2 ** (random.integers(0, 12, 3) / 12)
    tones = sum(np.sin(2 * np.pi * note * time) for note in notes) / 6
    sound: np.ndarray = pulse * ((1 - noise) * tones + noise * random.normal(0, 0.2, len(time)))
    return sound


def fill(lib: soundsearch.Library) -> None:
    """Add the tracks of the catalogue; what the library holds already is not embedded again."""
    with lib.writing():  # many at once
        for genre in GENRES:
            for number in range(8):
                tags = {"genre": genre, "artist": f"{genre} artist {number % 4}"}
                lib.add(track(genre, number), RATE, uri=f"track:{genre}-{number}", tags=tags)


def show(title: str, answer: soundsearch.Answer) -> None:
    print(f"{title}:")
    for hit in answer:
        print(f"  {hit.rank}. {hit.uri} ({hit.tags['artist']})")


def main(library: str) -> None:
    with soundsearch.open(library) as lib:
        fill(lib)

        # A listener, as a service knows one: tracks and how often each was played.
        plays = {"track:techno-0": 9, "track:techno-3": 4, "track:rain-1": 6}
        liked, counts = list(plays), list(plays.values())
        show("for you", lib.recommend(liked, k=6, weights=counts, per="tag[artist]:1"))

        # They skip the first one, and it was heard.
        skipped = lib.recommend(liked, k=1, weights=counts)[0].uri
        show("without the like of it", lib.recommend(liked, [skipped], k=3, weights=counts))

        # A session: the latest track counts most, and nothing is played twice.
        session = ["track:techno-0", "track:rain-1", "track:ambient-2"]
        for _ in range(3):
            [following] = lib.recommend(session, k=1, half_life=1, exclude=liked)
            session.append(following.uri)
        print("the session goes on:", *session[3:])

        # Only some of the catalogue.
        ambient = lib.where("tag['genre'] == 'ambient'")
        show("ambient for you", ambient.recommend(liked, k=3, diversity=0.5))


if __name__ == "__main__":
    main(*sys.argv[1:])
