"""Train on a GPU: processes mix on every core, the GPU is both teacher and student."""

from __future__ import annotations

import copy
import mmap
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.multiprocessing as mp
import torch.nn.functional as func
from numpy.typing import NDArray
from onnx import numpy_helper
from soundsearch_ingest.logmel import BANDS, LOG_OFFSET
from soundsearch_ingest.logmel import PATCH_FRAMES as PATCH
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from . import teacher as cpu
from .mixing import PIECE_SHARES, PIECES, ROW, Mixer, heard, samples_of
from .model import Shape, Student, save
from .rounding import round_activations
from .teacher import COLUMNS, WIDTH, Projection
from .train import (
    WHOLE,
    Batch,
    Plan,
    blend,
    descend,
    file_classes,
    optimiser_of,
    prepare,
)
from .waves import open_store

# Rows of one length that a process hands over at once, and how many such blocks may wait.
BLOCK, WAITING = 48, 3
# Blocks that are taken at most before a step, where the device is what takes longest.
TAKEN = 2
# Steps between two moves of the averaged weights.
AVERAGED = 8
# The filter that doubles the sample rate: taps on either side, and the share of the band at whose
# end it is halfway down, as soxr's has it at the quality "HQ".
TAPS, PASSED = 80, 0.957


class Teacher:
    """mn04 as PyTorch operations: batches of sound in; slices of its feature map and scores out.

    Parameters
    ----------
    path : Path
        The ONNX file that `recipes.mini.teacher.Teacher` reads.
    device : torch.device
    """

    def __init__(self, path: Path, device: torch.device) -> None:
        graph = onnx.load(path).graph
        self._held = {
            t.name: torch.from_numpy(numpy_helper.to_array(t).copy()).to(device)
            for t in graph.initializer
        }
        last = next(i for i, node in enumerate(graph.node) if "fm" in node.output)
        unused = ("Flatten", "Identity")
        self._nodes = [node for node in graph.node[: last + 1] if node.op_type not in unused]
        self._layers = [torch.from_numpy(part.copy()).to(device) for part in cpu.head_of(path)]
        self._window = torch.from_numpy(cpu._window()).to(device)
        self._bank = torch.from_numpy(cpu._bank()).to(device)
        at = torch.arange(-TAPS, TAPS + 0.5, 0.5, dtype=torch.float64)
        taps = torch.sinc(PASSED * at) * torch.special.i0(9 * torch.sqrt(1 - (at / TAPS) ** 2))
        even, odd = taps[::2], taps[1::2]
        self._taps = torch.zeros(2, 1, len(even), device=device)
        self._taps[0, 0], self._taps[1, 0, 1:] = even / even.sum(), odd / odd.sum()

    def mel(self, sounds: Tensor) -> Tensor:
        """Return the log-mel [n, 128, frames] of sounds of 16 kHz, float32 [n, samples]."""
        phases = func.conv1d(func.pad(sounds[:, None], (TAPS, TAPS)), self._taps)
        doubled = phases.transpose(1, 2).flatten(1)
        steps = doubled[:, 1:] - 0.97 * doubled[:, :-1]
        steps = func.pad(steps[:, None], (cpu.FFT // 2,) * 2, "reflect")[:, 0]
        spectrum = torch.stft(
            steps, cpu.FFT, cpu.HOP, window=self._window, center=False, return_complex=True
        )[:, :-1]
        power = spectrum.real.square() + spectrum.imag.square()
        return (torch.log(self._bank.T @ power + 1e-5) + 4.5) / 5

    def feature_map(self, mel: Tensor) -> Tensor:
        """Return mn04's feature map, averaged over frequencies: [n, 384, columns]."""
        held = dict(self._held)
        held["mel"] = mel[:, None].contiguous(memory_format=torch.channels_last)
        for node in self._nodes:
            given = [held[name] for name in node.input]
            asked = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            held[node.output[0]] = _OPERATIONS[node.op_type](given, asked)
        return held["fm"]

    @torch.no_grad()
    def slices(self, sounds: Tensor, count: int) -> Tensor:
        """Return the feature map's mean over each segment, float32 [n, count, 384]."""
        mel = self.mel(sounds)
        kind = torch.bfloat16 if mel.is_cuda else torch.float32
        with torch.autocast(mel.device.type, kind, enabled=mel.is_cuda):
            columns = self.feature_map(mel).float()[:, :, : count * COLUMNS]
        missing = count * COLUMNS - columns.shape[2]
        if missing > 0:
            columns = torch.cat([columns, columns[:, :, -1:].expand(-1, -1, missing)], 2)
        return columns.reshape(len(sounds), WIDTH, count, COLUMNS).mean(3).transpose(1, 2)

    def scores(self, slices: Tensor) -> Tensor:
        """Return what the teacher's last two layers say of slices alone, [..., 527]."""
        first, first_bias, last, last_bias = self._layers
        hidden = func.hardswish(func.linear(slices, first, first_bias))
        return torch.sigmoid(func.linear(hidden, last, last_bias))


def _convolved(given: list[Tensor], asked: dict[str, Any]) -> Tensor:
    pads = asked.get("pads", [0, 0])[:2]
    return func.conv2d(
        *given, stride=asked.get("strides", 1), padding=pads, groups=asked.get("group", 1)
    )


_OPERATIONS: dict[str, Callable[[list[Tensor], dict[str, Any]], Tensor]] = {
    "Conv": _convolved,
    "HardSwish": lambda x, _: func.hardswish(x[0]),
    "Relu": lambda x, _: func.relu(x[0]),
    "Sigmoid": lambda x, _: torch.sigmoid(x[0]),
    "Add": lambda x, _: x[0] + x[1],
    "Mul": lambda x, _: x[0] * x[1],
    "GlobalAveragePool": lambda x, _: x[0].mean((2, 3), keepdim=True),
    "ReduceMean": lambda x, asked: x[0].mean(tuple(asked["axes"])),
}


@dataclass
class Block:
    """Where a process writes rows of one length, in memory that all processes see."""

    clean: NDArray[np.float32]
    mel: NDArray[np.float16]


def blocks(count: int) -> list[Block]:
    """Return so many blocks."""
    samples = max(ROW // piece * samples_of(piece) for piece in PIECES)

    def shared(kind: type, *shape: int) -> NDArray[Any]:
        size = int(np.prod(shape)) * np.dtype(kind).itemsize
        return np.frombuffer(mmap.mmap(-1, size), kind).reshape(shape)

    return [
        Block(shared(np.float32, BLOCK, samples), shared(np.float16, BLOCK, ROW * PATCH, BANDS))
        for _ in range(count)
    ]


def mix(
    work: Path, classes: NDArray[np.int64], seed: int, held: list[Block], free: Any, ready: Any
) -> None:
    """Fill the blocks whose numbers come from `free`, and say so to `ready`, for ever."""
    torch.set_num_threads(1)
    threadpool_limits(1)
    mixer = Mixer(open_store(work), seed, classes=classes)
    while True:
        number = free.get()
        piece = int(mixer.random.choice(PIECES, p=PIECE_SHARES))
        block = held[number]
        for row in range(BLOCK):
            fresh = mixer.row(piece)
            block.clean[row, : fresh.clean.size] = fresh.clean.ravel()
            block.mel[row] = fresh.mel.reshape(-1, BANDS)
        ready.put((number, piece))


def moved(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return a copy on the device, made beside the work that waits there."""
    if device.type != "cuda":
        return torch.from_numpy(array.copy())
    with torch.cuda.stream(_copies(device)):
        copied = torch.from_numpy(array).to(device, non_blocking=True)
        _copies(device).synchronize()
    copied.record_stream(torch.cuda.current_stream(device))
    return copied


@cache
def _copies(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


class Ring:
    """Rows of one length with the teacher's slices, on the device, the oldest replaced first."""

    def __init__(self, size: int, piece: int, device: torch.device) -> None:
        self.piece, self.made = piece, 0
        self.mel = torch.zeros(size, ROW * PATCH, BANDS, dtype=torch.float16, device=device)
        self.slices = torch.zeros(size, ROW, WIDTH, dtype=torch.float16, device=device)

    def add(self, block: Block, teacher: Teacher) -> None:
        """Take a block's rows, after the teacher has listened to them."""
        each = samples_of(self.piece)
        device = self.mel.device
        sounds, mel = moved(block.clean, device), moved(block.mel, device)
        sounds = sounds[:, : ROW // self.piece * each].reshape(-1, each)
        at = (torch.arange(len(mel), device=device) + self.made) % len(self.mel)
        self.slices[at] = teacher.slices(sounds, self.piece).reshape(-1, ROW, WIDTH).half()
        self.mel[at] = mel
        self.made += len(mel)


class Pool:
    """Rings of all lengths; what `recipes.mini.train.Pool` is to a core."""

    def __init__(
        self, size: int, teacher: Teacher, projection: Projection, power: float,
        device: torch.device, seed: int,
    ) -> None:  # fmt: skip
        self.teacher = teacher
        self.rings = {
            piece: Ring(max(BLOCK, int(size * share)), piece, device)
            for piece, share in zip(PIECES, PIECE_SHARES, strict=True)
        }
        self.mean = torch.from_numpy(projection.mean).to(device)
        self.matrix = torch.from_numpy(projection.matrix(power)).to(device)
        self.random = torch.Generator(device).manual_seed(seed)
        self.choose = np.random.default_rng(seed)

    @property
    def made(self) -> int:
        """Rows so far."""
        return sum(ring.made for ring in self.rings.values())

    def filled(self) -> bool:
        """Tell whether every ring holds something."""
        return all(ring.made for ring in self.rings.values())

    @torch.no_grad()
    def draw(self, count: int) -> Batch:
        """Return `count` random rows of one length."""
        piece = int(self.choose.choice(PIECES, p=PIECE_SHARES))
        ring = self.rings[piece]
        held = min(ring.made, len(ring.mel))
        rows = torch.randint(held, (count,), generator=self.random, device=ring.mel.device)
        mel = ring.mel[rows].float().reshape(-1, piece * PATCH, BANDS)
        mel = torch.log(heard(mel, self.random) + LOG_OFFSET)
        slices = ring.slices[rows].float().reshape(-1, piece, WIDTH)
        whole = slices.mean(1)
        asked = WHOLE * whole[:, None] + (1 - WHOLE) * slices
        target = (slices - self.mean) @ self.matrix.T
        return Batch(mel, target, self.teacher.scores(asked), self.teacher.scores(whole))


class Mixers:
    """Processes that mix for one device.

    Parameters
    ----------
    work : Path
        Scratch folder with the wave store.
    classes : int64 [sounds]
        The teacher's first class of each sound of the store.
    count, seed : int
        How many processes, and of the first one's mixes.
    """

    def __init__(self, work: Path, classes: NDArray[np.int64], count: int, seed: int) -> None:
        context = mp.get_context("fork")
        self.free, self.ready = context.SimpleQueue(), context.SimpleQueue()
        self.blocks = blocks(count * WAITING)
        for i in range(count):
            given = (work, classes, seed + i, self.blocks, self.free, self.ready)
            context.Process(target=mix, args=given, daemon=True).start()
        for number in range(len(self.blocks)):
            self.free.put(number)

    def lock_pages(self) -> None:
        """Keep the blocks where they are, so that a GPU reads them by itself: much faster."""
        for block in self.blocks:
            for part in (block.clean, block.mel):
                torch.cuda.cudart().cudaHostRegister(part.ctypes.data, part.nbytes, 0)

    def give(self, pool: Pool) -> None:
        """Wait for a block of mixes and put it into the pool."""
        number, piece = self.ready.get()
        pool.rings[piece].add(self.blocks[number], pool.teacher)
        self.free.put(number)


def train(
    work: Path,
    run: Path,
    mn04: Path,
    plan: Plan,
    shape: Shape,
    seconds: float,
    device: torch.device,
    rounded: bool = False,
    every: float = 60.0,
) -> Path:
    """Train for so many seconds, from the run's averaged weights if it has any.

    Parameters
    ----------
    work, run, mn04, plan, shape
        As in `recipes.mini.train.train`, but that the learning rate follows the clock instead of
        `plan.segments`; `plan.workers` processes mix, and on average a row is used `plan.reuse`
        times at most.
    seconds : float
        From the first step to the last.
    device : torch.device
    rounded : bool
        Round activations to 8 bits, for the end of a training.
    every : float
        Seconds between checkpoints.

    Returns
    -------
    Path
        Like the checkpoint of `recipes.mini.train.train`, without an optimiser's state.
    """
    projection = prepare(work, run, mn04, plan.seed)
    classes = file_classes(work, mn04)
    torch.manual_seed(plan.seed)
    path, student, begun = run / "student.pt", Student(shape), 0
    if path.exists():
        held = torch.load(path, map_location="cpu", weights_only=True)
        student.load_state_dict(held["average"])
        begun = held["seen"]
    # Before the device is touched: it does not survive a fork.
    mixers = Mixers(work, classes, plan.workers, plan.seed + begun)
    if device.type == "cuda":
        mixers.lock_pages()
    pool = Pool(plan.pool, Teacher(mn04, device), projection, plan.power, device, plan.seed)
    while not pool.filled() or pool.made < min(plan.pool // 4, 20 * plan.rows):
        mixers.give(pool)
    student = student.to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(student).requires_grad_(False)
    if rounded:
        round_activations(student)
    torch.backends.cudnn.benchmark = True
    optimiser = optimiser_of(student.parameters(), plan)
    first = last = told = time.monotonic()
    step = 0
    while True:
        now = time.monotonic()
        done = min(1.0, (now - first) / seconds)
        seen = begun + step * plan.rows * ROW
        if done >= 1.0 or now - last > every:
            save(
                path, student=on_cpu(student), average=on_cpu(average), optimiser=None,
                seen=seen, shape=asdict(shape), plan=asdict(plan),
            )  # fmt: skip
            last = now
        if done >= 1.0:
            return path
        warm = min(1.0, (step + 1) / 300)
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * warm * min(1.0, (1 - done) / plan.fall + 0.002)
        for _ in range(TAKEN):
            if not mixers.ready.empty():
                mixers.give(pool)
        while step * plan.rows > plan.reuse * pool.made:  # the device waits for the mixing
            mixers.give(pool)
        batch = pool.draw(plan.rows)
        with torch.autocast(device.type, torch.bfloat16):
            out = student(batch.mel)
        terms = descend(out, student, batch, optimiser, plan)
        step += 1
        if step % AVERAGED == 0:
            blend(average, student, min(plan.keep**AVERAGED, (1 + step) / (10 * AVERAGED + step)))
        if now - told > 5.0:
            text = " ".join(f"{name} {term.item():.4f}" for name, term in terms.items())
            print(f"{now - first:.0f} s: seen {seen}, {pool.made * ROW} fresh, {text}", flush=True)
            told = now


def on_cpu(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state, on the CPU."""
    return {name: value.cpu() for name, value in module.state_dict().items()}
