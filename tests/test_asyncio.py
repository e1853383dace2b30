"""A library from asyncio: answers come from threads, and the loop goes on."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest
from support.sounds import tone, write

import soundsearch


@pytest.fixture
def lib(sounds, tmp_path):
    with soundsearch.open(tmp_path / "sounds.lib") as library:
        library.ingest([sounds])
        yield library


def hits(answer):
    return [(hit.uri, round(hit.score, 6), hit.start) for hit in answer]


class Held:
    """What a question is told while it is heard: it says so to a loop, and waits to go on."""

    def __init__(self):
        self.loop = asyncio.get_running_loop()
        self.heard = asyncio.Event()
        self.may_go_on = threading.Event()

    def __call__(self, _seconds):
        self.loop.call_soon_threadsafe(self.heard.set)
        assert self.may_go_on.wait(30)


def test_the_loop_goes_on_while_a_question_is_heard(lib, sounds):
    async def ask():
        held = Held()
        slow = asyncio.create_task(asyncio.to_thread(lib.query, sounds / "low.wav", on_sound=held))
        await asyncio.wait_for(held.heard.wait(), 30)
        beside = await asyncio.to_thread(lib.similar, sounds / "low.wav")
        assert not slow.done()
        held.may_go_on.set()
        return beside, await slow

    beside, answer = asyncio.run(ask())
    assert hits(beside) == hits(lib.similar(sounds / "low.wav"))
    assert hits(answer) == hits(lib.query(sounds / "low.wav"))


def test_many_at_once_get_the_answers_of_one(lib):
    uris = [clip.uri for clip in lib] * 4
    short = lib.where("duration < 4.5")

    async def ask():
        asked = [asyncio.to_thread(clips.similar, uri) for uri in uris for clips in (lib, short)]
        return await asyncio.gather(*asked)

    expected = [clips.similar(uri) for uri in uris for clips in (lib, short)]
    assert [hits(answer) for answer in asyncio.run(ask())] == [hits(one) for one in expected]


def test_what_is_cancelled_leaves_the_library_usable(lib, sounds, tmp_path):
    expected = hits(lib.similar(sounds / "low.wav"))
    new = write(tmp_path / "new.wav", tone(330, 3))

    async def cancel(method, *arguments):
        held = Held()
        task = asyncio.create_task(asyncio.to_thread(method, *arguments, on_sound=held))
        await asyncio.wait_for(held.heard.wait(), 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert hits(await asyncio.to_thread(lib.similar, sounds / "low.wav")) == expected
        held.may_go_on.set()

    asyncio.run(cancel(lib.query, sounds / "low.wav"))
    assert hits(lib.similar(sounds / "low.wav")) == expected
    asyncio.run(cancel(lib.ingest, [new]))  # its thread goes on to the end
    assert new in lib and lib.tag({str(new): {"mic": "AKG"}}).tagged == 1


def test_a_reader_sees_what_is_added_while_the_writer_holds_the_library(lib):
    with soundsearch.open(lib.address) as reader:
        assert len(reader) == 6
        with lib.writing():
            for number in range(2):
                samples = np.random.default_rng(number).normal(0, 0.1, 16_000)
                uri = lib.add(samples, 16_000, uri=f"track:{number}").uri
                assert len(reader) == 7 + number and uri in reader
                found = asyncio.run(asyncio.to_thread(reader.similar, uri, k=10))
                assert len(found) == 6 + number
