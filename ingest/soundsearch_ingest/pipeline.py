"""Files -> decode -> log-mel -> encoder batches -> one result for every file.

Every worker thread does whatever is most urgent: log-mel and encoder on a batch that is full,
else decode the next file. A worker that fills batches faster than others empty them encodes
one itself, so that the cores stay busy, queues stay bounded, and one long file is decoded on
one core and encoded on the others. Decoders, FFT and network release the interpreter lock.
"""

from __future__ import annotations

import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from .decode import SAMPLE_RATE, Decoder
from .encoders import Encoder
from .errors import ArgumentError, AudioError, MissingExtra
from .files import AudioFile
from .keeping import LONG_SECONDS, Keeper, Kept
from .logmel import FRAME_SECONDS, PATCH_FRAMES
from .outcomes import Embedded, Failed, Known, Result
from .sources import begun, is_unchanged, opened
from .stretches import SegmentStream, Stretch, context_frames, embed, embed_stream

__all__ = [
    "Embedded",
    "Failed",
    "Known",
    "Result",
    "available_cores",
    "content_digest",
    "embed_sound",
    "hop_frames",
    "run",
]

# Segments in a batch: the network's speed is flat from here on.
_BATCH = 32
# Full batches that may wait, and finished files that may wait for the caller, per worker.
_READY_PER_WORKER = 2
_RESULTS_PER_WORKER = 32
_HASH_BLOCK = 1 << 16


def content_digest(source: str | BinaryIO) -> bytes:
    """BLAKE3 of the bytes of a file at a path or open, 32 of them; raises AudioError or OSError.

    An open one is at its beginning before and after. A long WAV file is hashed five times faster
    than with SHA-256, which is felt.
    """
    import blake3

    digest = blake3.blake3()
    buffer = memoryview(bytearray(_HASH_BLOCK))
    if isinstance(source, str):
        if not stat.S_ISREG(os.stat(source).st_mode):
            raise AudioError(source, "is not a regular file")
        with open(source, "rb", buffering=0) as file:
            while size := file.readinto(buffer):
                digest.update(buffer[:size])
    else:
        while block := source.read(_HASH_BLOCK):
            digest.update(block)
        source.seek(0)
    return digest.digest()


def embed_sound(
    blocks: Iterable[NDArray[np.float32]], encoder: Encoder, hop: float
) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """Embed one sound in the calling thread.

    Parameters
    ----------
    blocks : iterable of float32 [n]
        Mono 16 kHz sound.
    encoder : Encoder
    hop : float
        Seconds from one segment's start to the next one's.

    Returns
    -------
    embeddings : float32 [segments, dimension]
    levels : float32 [segments]
        See `soundsearch_ingest.logmel.levels`.
    duration : float
        Seconds.
    """
    samples = 0

    def counted() -> Iterator[NDArray[np.float32]]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    parts = list(embed_stream(counted(), encoder, hop_frames(hop)))
    embeddings, loudness = (np.concatenate(column) for column in zip(*parts, strict=True))
    return embeddings, loudness, samples / SAMPLE_RATE


def run(
    files: Iterable[AudioFile],
    encoder: Encoder,
    hop: float,
    *,
    is_known: Callable[[bytes], bool] = lambda _digest: False,
    on_sound: Callable[[float], None] = lambda _seconds: None,
    on_long: Callable[[str, float, float], None] = lambda _uri, _heard, _all: None,
    keeper: Keeper | None = None,
    identify: bool = True,
    workers: int | None = None,
) -> Generator[Result, None, None]:
    """Embed files on all cores; one bad file never stops the others.

    Closing the iterator, or an exception in the loop that consumes it, stops the workers.

    Parameters
    ----------
    files : iterable of AudioFile
        Consumed lazily, from the worker threads, one item at a time; small ones on servers some
        ahead, as they are fetched before they are wanted.
    encoder : Encoder
        Opened with one thread: parallelism comes from the workers.
    hop : float
        Seconds from one segment's start to the next one's.
    is_known : callable
        Whether content with this digest need not be decoded; called from the workers.
    on_sound : callable
        Told how many seconds of sound were decoded since it was last called; called from
        the workers.
    on_long : callable
        Told of a file of `LONG_SECONDS` or more, by its uri, how many seconds of it were decoded,
        and of how many; called from the workers.
    keeper : Keeper, optional
        Keeps what was heard of long files. Who stores a file drops it there.
    identify : bool
        Whether the files' digests are wanted; else they are empty.
    workers : int, optional
        Threads; by default one for each core this process may use.

    Yields
    ------
    Embedded, Known or Failed
        One for each file, in the order in which they are finished.
    """
    count = workers or available_cores()
    state = _Run(iter(files), encoder, hop_frames(hop), is_known, on_sound, count)
    state.on_long, state.keeper, state.identify = on_long, keeper, identify
    threads = [threading.Thread(target=state.work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield from state.results()
    finally:
        state.stop()
        for thread in threads:
            thread.join()
        state.close()


def available_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def hop_frames(hop: float) -> int:
    """A hop of so many seconds in frames; raises ArgumentError when there is none."""
    frames = round(hop / FRAME_SECONDS) if 0 < hop < 1 else 0
    if not 1 <= frames <= PATCH_FRAMES or abs(frames * FRAME_SECONDS - hop) > 1e-6:
        raise ArgumentError(
            f"hop: expected {FRAME_SECONDS} to {PATCH_FRAMES * FRAME_SECONDS:.2f} s "
            f"in steps of {FRAME_SECONDS} s, got {hop}"
        )
    return frames


@dataclass(slots=True, eq=False)
class _Job:
    """A file on its way: what came out of it so far."""

    file: AudioFile
    digest: bytes
    embeddings: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    levels: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    segments: int = 0
    pending: int = 0
    is_long: bool = False
    kept: Kept | None = None
    finish: Callable[[NDArray[np.float32], NDArray[np.float32]], Embedded] | None = None

    def result(self) -> Embedded | None:
        """The whole result once the last segment is embedded."""
        if self.finish is None or self.pending:
            return None
        return self.finish(
            np.concatenate([self.embeddings[first] for first in sorted(self.embeddings)]),
            np.concatenate([self.levels[first] for first in sorted(self.levels)]),
        )


_Batch = list[tuple[_Job, int, Stretch]]


class _Run:
    """What the workers share; `_changed` guards every attribute that changes."""

    def __init__(
        self,
        files: Iterator[AudioFile],
        encoder: Encoder,
        hop_frames: int,
        is_known: Callable[[bytes], bool],
        on_sound: Callable[[float], None],
        workers: int,
    ) -> None:
        self.on_long: Callable[[str, float, float], None]
        self.keeper: Keeper | None
        self.identify: bool
        self._files = begun(files)
        self._encoder = encoder
        self._hop_frames = hop_frames
        self._context_frames = context_frames(encoder)
        self._is_known = is_known
        self._on_sound = on_sound
        self._ready_limit = _READY_PER_WORKER * workers
        self._results_limit = _RESULTS_PER_WORKER * workers
        self._next_file = threading.Lock()
        self._changed = threading.Condition()
        self._filling: _Batch = []
        self._filled = 0
        self._ready: deque[_Batch] = deque()
        self._results: deque[Result] = deque()
        self._busy = 0
        self._decoding = 0
        self._exhausted = False
        self._stopped = False
        self._error: BaseException | None = None

    def results(self) -> Iterator[Result]:
        while True:
            with self._changed:
                while not self._results and not self._stopped:
                    self._changed.wait()
                if self._error is not None:
                    raise self._error
                if not self._results:
                    return
                results, self._results = self._results, deque()
                self._changed.notify_all()
            yield from results

    def close(self) -> None:
        """Let go of what was fetched ahead, once the workers are done."""
        self._files.close()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def work(self) -> None:
        try:
            while (task := self._next_task()) is not None:
                task()
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()
        except BaseException as error:  # shown to the caller, who is in another thread
            self._error = error
            self.stop()

    def _next_task(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._stopped:
                if self._ready:
                    self._busy += 1
                    return partial(self._encode, self._ready.popleft())
                if not self._exhausted and len(self._results) < self._results_limit:
                    self._busy += 1
                    self._decoding += 1
                    return self._decode_next
                if self._exhausted and not self._decoding and self._filling:
                    self._busy += 1
                    return partial(self._encode, self._take_filling())
                if self._exhausted and not self._busy:
                    self._stopped = True
                    self._changed.notify_all()
                    return None
                self._changed.wait()
        return None

    def _decode_next(self) -> None:
        try:
            with self._next_file:
                file, copy = next(self._files, (None, None))
            if file is None:
                with self._changed:
                    self._exhausted = True
            else:
                self._decode(file, copy)
        finally:
            with self._changed:
                self._decoding -= 1

    def _decode(self, file: AudioFile, copy: Future[BinaryIO] | None) -> None:
        digest = None
        try:
            with opened(file, copy, lambda: self._stopped) as source:
                digest = content_digest(source) if self.identify else b""
                if self._is_known(digest):
                    self._emit(Known(file, digest))
                else:
                    self._embed(_Job(file, digest), source)
        except AudioError as error:
            passing = isinstance(error.__cause__, OSError)
            self._fail(file, None if passing else digest, error.reason)
        except OSError as error:
            self._fail(file, None, error.strerror or str(error))
        except MissingExtra as error:  # where others found the file, the package is installed
            self._fail(file, None, str(error))
        except MemoryError:
            self._fail(file, None, "there was not enough memory for it")
        except Exception as error:  # one bad file never stops a run
            self._fail(file, digest, f"unexpected {type(error).__name__}: {error}")

    def _fail(self, file: AudioFile, digest: bytes | None, reason: str) -> None:
        origin = f" ({file.origin})" if file.origin else ""
        self._emit(Failed(file, digest, reason + origin))

    def _embed(self, job: _Job, source: str | BinaryIO) -> None:
        stream = SegmentStream(self._hop_frames, self._context_frames)
        samples = 0
        with Decoder(source) as decoder:
            promised = decoder.promised or 0.0
            job.is_long = promised >= LONG_SECONDS
            if job.is_long and self.keeper is not None:
                job.kept = self.keeper.of(job.digest)
            for block in decoder:
                if self._stopped:
                    return
                samples += len(block)
                self._put(job, stream.push(block))
                self._on_sound(len(block) / SAMPLE_RATE)
                if job.is_long:
                    self.on_long(job.file.uri, samples / SAMPLE_RATE, promised)
        last = stream.finish()
        self._put(job, last)
        if not is_unchanged(job.file):
            raise OSError("changed while it was read; ingest it again")

        def finish(embeddings: NDArray[np.float32], loudness: NDArray[np.float32]) -> Embedded:
            return Embedded(
                file=job.file,
                digest=job.digest,
                duration=samples / SAMPLE_RATE,
                embeddings=embeddings,
                levels=loudness,
                padded=last is not None and last.padded,
                warning=decoder.warning,
                sample_rate=decoder.sample_rate,
            )

        with self._changed:
            job.finish = finish
            result = job.result()
        if result is not None:
            self._emit(result)

    def _put(self, job: _Job, stretch: Stretch | None) -> None:
        if stretch is None:
            return
        with self._changed:
            first = job.segments
            job.segments += stretch.count
            if job.kept is not None:
                known = job.kept.stretches.pop((first, stretch.count), None)
                if known is not None:
                    job.embeddings[first], job.levels[first] = known
                    return
            job.pending += 1
            if job.is_long:
                # By itself, so that its embeddings are the same whatever is heard beside it.
                self._ready.append([(job, first, stretch)])
            else:
                self._filling.append((job, first, stretch))
                self._filled += stretch.count
                if self._filled < _BATCH:
                    return
                self._ready.append(self._take_filling())
            self._changed.notify_all()
            overdue = self._ready.popleft() if len(self._ready) > self._ready_limit else None
        if overdue is not None:
            self._encode(overdue)

    def _take_filling(self) -> _Batch:
        batch, self._filling, self._filled = self._filling, [], 0
        return batch

    def _encode(self, batch: _Batch) -> None:
        # The front end too: one long file is decoded on one core, and the others do the rest.
        stretches = [stretch for _, _, stretch in batch]
        parts = embed(stretches, self._encoder, self._hop_frames)
        for (job, first, _), part in zip(batch, parts, strict=True):
            if job.kept is not None and is_unchanged(job.file):
                job.kept.add(first, *part)
        done = []
        with self._changed:
            for (job, first, _), (embeddings, loudness) in zip(batch, parts, strict=True):
                job.embeddings[first] = embeddings
                job.levels[first] = loudness
                job.pending -= 1
                if (result := job.result()) is not None:
                    done.append(result)
        for result in done:
            self._emit(result)

    def _emit(self, result: Result) -> None:
        with self._changed:
            self._results.append(result)
            self._changed.notify_all()
