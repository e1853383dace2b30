"""Train the student on fresh mixes; resumes from its checkpoint."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as func
from numpy.typing import NDArray
from soundsearch_ingest.logmel import BANDS, LOG_OFFSET
from soundsearch_ingest.logmel import PATCH_FRAMES as PATCH
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from .mixing import PIECES, ROW, Mix, Mixer, heard, known_classes, samples_of
from .model import SIZE, Shape, Student, save
from .start import begin_with
from .teacher import CLASSES, WIDTH, Projection, Teacher, fit_projection, load_projection
from .waves import open_store

Floats = NDArray[np.float32]
# How much of the whole piece is in what the teacher's last layers are asked about a segment.
WHOLE = 0.5
# Rows on which a student that begins with an earlier one is fitted.
STARTED = 480


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    Attributes
    ----------
    segments : int
        Segments seen in the whole run, earlier parts of a resumed run counted in. The learning
        rate is even until its `fall` begins, and ends at nothing: a run may be resumed with
        another total.
    rows, pool, reuse : int
        Rows (of ten segments) in a step, rows kept, and how often each is used on average.
    rate, fall, decay : float
        Peak learning rate, the share of the run in which it falls, weight decay of AdamW.
    power : float
        Of the target's whitening: 0 leaves it as it is.
    seed : int
    workers : int
        Processes that train.
    keep : float
        Share of the averaged weights that a step keeps.
    frozen : int
        Layers of the body, from the first on, that stay as they are, which saves their part of
        the backward pass; for a trunk that was trained before.
    without : tuple of str
        Terms of the loss that are left out.
    """

    segments: int = 6_000_000
    rows: int = 24
    pool: int = 3000
    reuse: int = 4
    rate: float = 2e-3
    fall: float = 0.3
    decay: float = 1e-3
    power: float = 0.5
    seed: int = 1
    workers: int = 2
    keep: float = 0.998
    frozen: int = 0
    without: tuple[str, ...] = ()


@dataclass
class Batch:
    """What a step sees.

    Attributes
    ----------
    mel : float32 [n, 96 k, 64]
        What the student hears, log-mel; or, of a body that is known, its columns.
    target : float32 [n, k, 128]
    scores : float32 [n, k, 527]
        Of each segment as a part of its piece.
    whole : float32 [n, 527]
        Of the pieces.
    """

    mel: Tensor
    target: Tensor
    scores: Tensor
    whole: Tensor


class Pool:
    """A ring of rows with the teacher's answers, refreshed as it is used.

    Parameters
    ----------
    size : int
        Rows held.
    mixer : Mixer
    teacher : Teacher
    projection : Projection
    power : float
        See `Plan`.
    seed : int
    """

    def __init__(
        self, size: int, mixer: Mixer, teacher: Teacher, projection: Projection, power: float,
        seed: int,
    ) -> None:  # fmt: skip
        self.mixer, self.teacher, self.projection, self.power = mixer, teacher, projection, power
        self.random = torch.Generator().manual_seed(seed)
        self.mel = torch.zeros(size, ROW * PATCH, BANDS, dtype=torch.float16)
        self.slices = np.zeros((size, ROW, WIDTH), np.float16)
        self.piece = torch.zeros(size, dtype=torch.int64)
        self.made = 0

    def refresh(self, count: int) -> None:
        """Replace the oldest `count` rows by fresh ones."""
        for _ in range(count):
            row = self.made % len(self.mel)
            mix = self.mixer.row()
            self.mel[row] = torch.from_numpy(mix.mel.reshape(-1, BANDS))
            self.slices[row] = listened(self.teacher, mix)
            self.piece[row] = mix.piece
            self.made += 1

    def draw(self, count: int) -> Batch:
        """Return `count` random rows whose pieces have one length."""
        first = int(torch.randint(min(self.made, len(self.mel)), (1,), generator=self.random))
        piece = int(self.piece[first])
        same = torch.nonzero(self.piece == piece)[:, 0]
        rows = same[torch.randint(len(same), (count,), generator=self.random)]
        mel = self.mel[rows].float().reshape(-1, piece * PATCH, BANDS)
        mel = torch.log(heard(mel, self.random) + LOG_OFFSET)
        slices = self.slices[rows.numpy()]
        return batch_of(mel, slices, piece, self.teacher, self.projection, self.power)


def batch_of(
    heard: Tensor, slices: NDArray[np.float16], piece: int, teacher: Teacher,
    projection: Projection, power: float,
) -> Batch:  # fmt: skip
    """Return rows with what the student should say of them.

    Parameters
    ----------
    heard : float32 [n, ...]
        What it hears of each piece.
    slices : float16 [rows, 10, 384]
        What the teacher heard.
    piece : int
        Segments in a piece.
    teacher : Teacher
    projection : Projection
    power : float
        See `Plan`.
    """
    pieces = slices.astype(np.float32).reshape(-1, piece, WIDTH)
    whole = pieces.mean(1)
    target = projection.apply(pieces.reshape(-1, WIDTH), power)
    asked = WHOLE * whole[:, None] + (1 - WHOLE) * pieces
    scores = teacher.scores(asked.reshape(-1, WIDTH))
    return Batch(
        heard,
        torch.from_numpy(target.reshape(-1, piece, SIZE)),
        torch.from_numpy(scores.reshape(-1, piece, CLASSES)),
        torch.from_numpy(teacher.scores(whole)),
    )


def listened(teacher: Teacher, mix: Mix) -> Floats:
    """Return the teacher's slices of a row, float32 [10, 384]."""
    return np.concatenate([teacher(sound, mix.piece)[0] for sound in mix.clean])


def losses(out: Tensor, student: Student, batch: Batch) -> dict[str, Tensor]:
    """Return the terms of the loss.

    Parameters
    ----------
    out : float32 [n, k, 128]
        The student's embeddings.
    student : Student
        For its head.
    batch : Batch

    Returns
    -------
    dict of str to scalar tensor
    """

    def cosines(x: Tensor) -> Tensor:
        x = func.normalize(x, dim=1)
        return x @ x.T

    def entropy(embeddings: Tensor, scores: Tensor) -> Tensor:
        weight = 1 + 20 * scores
        logits = student.head(embeddings)
        return func.binary_cross_entropy_with_logits(logits, scores, weight) * CLASSES * 0.05

    flat, target = out.reshape(-1, SIZE), batch.target.reshape(-1, SIZE)
    mean, mean_target = out.mean(1), batch.target.mean(1)
    return {
        "value": func.smooth_l1_loss(flat, target) * 2,
        "cosine": 2 * (1 - func.cosine_similarity(flat, target).mean()),
        "relations": 10 * func.mse_loss(cosines(flat), cosines(target)),
        "pieces": 5 * func.mse_loss(cosines(mean), cosines(mean_target)),
        "scores": entropy(flat, batch.scores.reshape(-1, CLASSES)) / 2,
        "whole": entropy(mean, batch.whole) / 2,
    }


def file_classes(work: Path, mn04: Path) -> NDArray[np.int64]:
    """Return the teacher's first class of a stretch of each sound of the store (kept)."""
    store = open_store(work)
    held = known_classes(work, store)
    if held is not None:
        return held
    folder = work / "classes"
    folder.mkdir(exist_ok=True)
    teacher, mixer = Teacher(mn04), Mixer(store, 0)
    need = samples_of(5)
    found = []
    for group, name in enumerate(store.names):
        path = folder / f"{name}.npy"
        sounds = np.flatnonzero(store.groups == group)
        classes = np.load(path) if path.exists() else np.zeros(0, np.int64)
        if len(classes) != len(sounds):
            classes = np.array(
                [teacher(mixer.single(int(i), need), 1)[1].argmax() for i in sounds], np.int64
            )
            np.save(path, classes)
        found.append(classes)
    together = np.concatenate(found)
    np.savez(work / "classes.npz", classes=together)
    return together


def prepare(work: Path, run: Path, mn04: Path, seed: int, rows: int = 1500) -> Projection:
    """Fit (once a run) the PCA of the teacher's slices on mixes."""
    run.mkdir(parents=True, exist_ok=True)
    path = run / "teacher.npz"
    if path.exists():
        return load_projection(path)
    mixer = Mixer(open_store(work), seed + 1000, classes=file_classes(work, mn04))
    teacher = Teacher(mn04)
    projection = fit_projection(
        np.concatenate([listened(teacher, mixer.row()) for _ in range(rows)])
    )
    projection.save(path)
    return projection


def train(
    work: Path,
    run: Path,
    mn04: Path,
    plan: Plan,
    shape: Shape,
    start: Path | None = None,
    every: float = 120.0,
    make_pool: Callable[..., Pool] = Pool,
) -> Path:
    """Train until the plan's segments were seen; return the checkpoint.

    Every worker is a process with one thread, its own mixes and its own optimiser; all update
    the same weights without waiting for each other. With one worker and as many steps, a run
    repeats itself; with more it does so only statistically.

    Parameters
    ----------
    work : Path
        Scratch folder with the wave store.
    run : Path
        Folder of this run: the teacher's PCA, the checkpoint `student.pt` and, where the
        student began with an earlier one, that one's name.
    mn04 : Path
        The teacher's ONNX file.
    plan : Plan
    shape : Shape
    start : Path, optional
        ONNX file of an earlier mini whose convolutions a new run begins with.
    every : float
        Seconds between checkpoints.
    make_pool : callable
        Makes a worker's pool.

    Returns
    -------
    Path
        The checkpoint; it holds the average weights (EMA) as `average`.
    """
    torch.set_num_threads(1)  # before any work: a thread pool does not survive a fork
    torch.manual_seed(plan.seed)
    projection = prepare(work, run, mn04, plan.seed)
    classes = file_classes(work, mn04)
    student = Student(shape).to(memory_format=torch.channels_last)
    path = run / "student.pt"
    held: dict[str, Any] = {}
    if path.exists():
        held = torch.load(path, map_location="cpu", weights_only=True)
        student.load_state_dict(held["student"])
    elif start is not None:
        mixer = Mixer(open_store(work), plan.seed, classes=classes)
        pool = make_pool(STARTED, mixer, Teacher(mn04), projection, plan.power, plan.seed)
        pool.refresh(STARTED - pool.made)
        drawn = [pool.draw(plan.rows) for _ in range(STARTED // plan.rows)]
        begin_with(student, start, [(batch.mel, batch.target) for batch in drawn])
        (run / "start.txt").write_text(f"{start.stem}\n", "utf-8")
    student.share_memory()
    counter = torch.zeros(plan.workers, dtype=torch.int64).share_memory_()
    counter += held.get("seen", 0) // (plan.rows * ROW) // plan.workers

    def work_on(rank: int) -> None:
        threadpool_limits(1)  # NumPy's threads would wait for each other where the cores are busy
        seed = plan.seed + 100 * rank + held.get("seen", 0)
        mixer = Mixer(open_store(work), seed, classes=classes)
        pool = make_pool(plan.pool, mixer, Teacher(mn04), projection, plan.power, seed)
        learn(rank, student, counter, pool, plan, run, held, every)

    context = mp.get_context("fork")
    workers = [context.Process(target=work_on, args=(rank,)) for rank in range(plan.workers)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a training worker failed")
    return path


def learn(
    rank: int,
    student: Student,
    counter: Tensor,
    pool: Pool,
    plan: Plan,
    run: Path,
    held: dict[str, Any],
    every: float,
) -> None:
    """Do one learner's part of the training; the first also averages, saves and reports."""
    torch.set_num_threads(1)
    torch.manual_seed(plan.seed + rank)
    frozen = student.body[: plan.frozen]
    still = set(frozen.parameters())
    for parameter in still:
        parameter.requires_grad_(False)
    optimiser = optimiser_of((p for p in student.parameters() if p not in still), plan)
    average = copy.deepcopy(student).requires_grad_(False)
    step = begun = int(counter[rank])
    if held:
        average.load_state_dict(held["average"])
        kept = held["optimiser"]  # None after a training on a GPU
        if kept and sizes_of(kept) == sizes_of(optimiser.state_dict()):
            optimiser.load_state_dict(kept)
    pool.refresh(len(PIECES) * plan.rows)
    last = time.monotonic()
    shown: dict[str, float] = {}
    while True:
        now = time.monotonic()
        seen = int(counter.sum()) * plan.rows * ROW
        done = min(1.0, seen / plan.segments)
        if rank == 0 and (done >= 1.0 or now - last > every):
            save(
                run / "student.pt",
                student=student.state_dict(),
                average=average.state_dict(),
                optimiser=optimiser.state_dict(),
                seen=seen,
                shape=asdict(student.shape),
                plan=asdict(plan),
            )
            last = now
        if done >= 1.0:
            return
        for group in optimiser.param_groups:
            warm = min(1.0, (step - begun + 1) / 200)
            group["lr"] = plan.rate * warm * min(1.0, (1 - done) / plan.fall + 0.005)
        filling = pool.made < 2 * len(pool.mel) // 3
        pool.refresh(plan.rows // (1 if filling else plan.reuse))
        batch = pool.draw(plan.rows)
        student.train()
        frozen.eval()
        with torch.autocast("cpu", torch.bfloat16):
            out = student(batch.mel)
        terms = descend(out, student, batch, optimiser, plan)
        step += 1
        counter[rank] = step
        if rank:
            continue
        blend(average, student, min(plan.keep, (1 + step) / (10 + step)))
        if step % 10 == 0:
            for name, term in terms.items():
                shown[name] = 0.8 * shown.get(name, term.item()) + 0.2 * term.item()
        if step % 50 == 0:
            text = " ".join(f"{name} {value:.4f}" for name, value in shown.items())
            seen = int(counter.sum()) * plan.rows * ROW
            print(f"seen {seen} of {plan.segments} {text}", flush=True)


def descend(
    out: Tensor, student: Student, batch: Batch, optimiser: torch.optim.Optimizer, plan: Plan
) -> dict[str, Tensor]:
    """Take a step down the terms of the loss that the plan wants; return all terms."""
    terms = losses(out, student, batch)
    optimiser.zero_grad(set_to_none=True)
    used = [term for name, term in terms.items() if name not in plan.without]
    torch.stack(used).sum().backward()
    nn.utils.clip_grad_norm_(student.parameters(), 2.0)
    optimiser.step()
    return terms


@torch.no_grad()
def blend(average: nn.Module, student: nn.Module, keep: float) -> None:
    """Move the average weights towards the student's, all at once."""
    pairs = list(zip(average.state_dict().values(), student.state_dict().values(), strict=True))
    moved = [(old, new) for old, new in pairs if old.dtype.is_floating_point]
    torch._foreach_lerp_([old for old, _ in moved], [new for _, new in moved], 1 - keep)
    for old, new in pairs:
        if not old.dtype.is_floating_point:
            old.copy_(new)


def optimiser_of(parameters: Iterable[nn.Parameter], plan: Plan) -> torch.optim.AdamW:
    """Return the optimiser; matrices decay, the rest does not."""
    every = list(parameters)
    groups = [
        {"params": [p for p in every if p.ndim > 1]},
        {"params": [p for p in every if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, plan.rate, (0.9, 0.98), weight_decay=plan.decay)


def sizes_of(state: dict[str, Any]) -> list[int]:
    """Return how many parameters each group of an optimiser's state has."""
    return [len(group["params"]) for group in state["param_groups"]]
