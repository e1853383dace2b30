"""Train the student on fresh mixes; resumes from its checkpoint."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as func
from numpy.typing import NDArray
from soundsearch_ingest.logmel import BANDS, LOG_OFFSET
from soundsearch_ingest.logmel import PATCH_FRAMES as PATCH
from torch import Tensor, nn

from .mels import open_store
from .mixing import Mixer, heard, known_classes, level_ok, loudness
from .model import Shape, Student
from .teacher import CLASSES, Teacher, Whitening, fit_whitening, load_whitening


@dataclass(frozen=True)
class Plan:
    """How long and how to train.

    Attributes
    ----------
    patches : int
        Patches seen in the whole run, earlier parts of a resumed run counted in. The learning
        rate is a cosine of the share that was seen: a run may be resumed with another total.
    batch, pool, reuse : int
        Patches in a step, mixes kept, and how often each is used on average.
    rate, decay : float
        Peak learning rate and weight decay of AdamW.
    seed : int
    workers : int
        Processes that train, or, where there is a GPU, that mix for it.
    keep : float
        Share of the averaged weights that a step keeps.
    without : tuple of str
        Terms of the loss that are left out.
    """

    patches: int = 6_000_000
    batch: int = 256
    pool: int = 32768
    reuse: int = 2
    rate: float = 2e-3
    decay: float = 1e-3
    seed: int = 1
    workers: int = 2
    keep: float = 0.998
    without: tuple[str, ...] = ()


class Pool:
    """A ring of mixes with the teacher's answers, refreshed as it is used.

    Parameters
    ----------
    size : int
        Mixes held.
    mixes : callable
        Gives so many fresh mixes, float32 or float16 [count, 96, 64].
    teacher : Teacher
        On `device`.
    white : Whitening
    device : torch.device
    seed : int
    """

    def __init__(
        self,
        size: int,
        mixes: Callable[[int], NDArray[np.floating[Any]]],
        teacher: Teacher,
        white: Whitening,
        device: torch.device,
        seed: int,
    ) -> None:
        self.mixes, self.teacher, self.white, self.device = mixes, teacher, white, device
        self.random = torch.Generator(device).manual_seed(seed)
        self.mel = torch.zeros(size, PATCH, BANDS, dtype=torch.float16, device=device)
        self.target = torch.zeros(size, len(white.axes), device=device)
        self.scores = torch.zeros(size, CLASSES, dtype=torch.bfloat16, device=device)
        self.filled = 0
        self.made = 0

    def refresh(self, count: int) -> None:
        """Replace the oldest `count` mixes by fresh ones."""
        mel = torch.from_numpy(self.mixes(count)).to(self.device)
        embedding, logits = self.teacher(mel.float())
        rows = (torch.arange(count, device=self.device) + self.made) % len(self.mel)
        self.mel[rows] = mel.half()
        self.target[rows] = self.white.apply(embedding, 0.5) / scale(self.white)
        self.scores[rows] = torch.sigmoid(logits).bfloat16()
        self.made += count
        self.filled = min(self.made, len(self.mel))

    def draw(self, count: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return student input, target and scores of `count` random mixes."""
        rows = torch.randint(self.filled, (count,), generator=self.random, device=self.device)
        patches = torch.log(heard(self.mel[rows].float(), self.random) + LOG_OFFSET)
        return patches, self.target[rows], self.scores[rows].float()


def scale(white: Whitening) -> float:
    """Return the root mean square of the half-whitened target."""
    return float(np.sqrt(white.deviation.mean()))


def losses(out: Tensor, logits: Tensor, target: Tensor, scores: Tensor) -> dict[str, Tensor]:
    """Return the terms of the loss.

    Parameters
    ----------
    out, target : float32 [n, 128]
        Student's embedding and the half-whitened target.
    logits, scores : float32 [n, 521]
        Student's logits and the teacher's scores.

    Returns
    -------
    dict of str to scalar tensor
    """

    def cosines(x: Tensor) -> Tensor:
        x = func.normalize(x, dim=1)
        return x @ x.T

    weight = 1 + 20 * scores
    return {
        "value": func.smooth_l1_loss(out, target) * 2,
        "cosine": 2 * (1 - func.cosine_similarity(out, target).mean()),
        "relations": 10 * func.mse_loss(cosines(out), cosines(target)),
        "scores": func.binary_cross_entropy_with_logits(logits, scores, weight) * CLASSES * 0.05,
    }


def file_classes(work: Path, yamnet: Path) -> NDArray[np.int64]:
    """Return the teacher's first class of a stretch of each file of the store (kept)."""
    store = open_store(work)
    held = known_classes(work, store)
    if held is not None:
        return held
    teacher = Teacher(yamnet, torch.bfloat16)
    mixer = Mixer(store, 0)
    found = []
    for at in range(0, len(store.lengths), 256):
        files = range(at, min(at + 256, len(store.lengths)))
        mel = np.stack([mixer.patch(file) for file in files])
        mel *= (2.5 / np.maximum(loudness(mel), 1e-4))[:, None, None]
        found.append(teacher(torch.from_numpy(mel))[1].argmax(1).numpy())
    classes = np.concatenate(found).astype(np.int64)
    np.savez(work / "classes.npz", classes=classes)
    return classes


def prepare(work: Path, run: Path, yamnet: Path, seed: int, count: int = 40000) -> Whitening:
    """Fit (once a run) the PCA of the teacher's embedding on single sounds."""
    run.mkdir(parents=True, exist_ok=True)
    path = run / "teacher.npz"
    if path.exists():
        return load_whitening(path)
    mixer = Mixer(open_store(work), seed + 1000, classes=file_classes(work, yamnet))
    teacher = Teacher(yamnet, torch.bfloat16)
    parts = []
    for _ in range(max(1, count // 512)):
        mel = mixer.singles(512)
        parts.append(teacher(torch.from_numpy(mel))[0].numpy()[level_ok(mel)])
    white = fit_whitening(np.concatenate(parts))
    white.save(path)
    return white


def save(path: Path, **parts: object) -> None:
    """Write a checkpoint so that a cut leaves the old one."""
    temporary = path.with_suffix(".tmp")
    torch.save(parts, temporary)
    os.replace(temporary, path)


def train(
    work: Path, run: Path, yamnet: Path, plan: Plan, shape: Shape, every: float = 150.0
) -> Path:
    """Train until the plan's patches were seen; return the checkpoint.

    On CPUs every worker is a process with one thread, its own mixes and its own optimiser;
    all update the same weights without waiting for each other. With one worker and as many
    steps, a run repeats itself; with more it does so only statistically. Where there is a
    GPU, the workers only mix, and this process trains there.

    Parameters
    ----------
    work : Path
        Scratch folder with the mel store.
    run : Path
        Folder of this run: the teacher's PCA and the checkpoint `student.pt`.
    yamnet : Path
        The teacher's TFLite file.
    plan : Plan
    shape : Shape
    every : float
        Seconds between checkpoints.

    Returns
    -------
    Path
        The checkpoint; it holds the average weights (EMA) as `average`.
    """
    torch.set_num_threads(1)  # before any work: a thread pool does not survive a fork
    torch.manual_seed(plan.seed)
    white = prepare(work, run, yamnet, plan.seed)
    classes, store = file_classes(work, yamnet), open_store(work)
    student = Student(shape).to(memory_format=torch.channels_last)
    path = run / "student.pt"
    held: dict[str, Any] = {}
    if path.exists():
        held = torch.load(path, map_location="cpu", weights_only=True)
        student.load_state_dict(held["student"])
    seeds = [plan.seed + 100 * rank + held.get("seen", 0) for rank in range(plan.workers)]
    mixers = [Mixer(store, seed, classes=classes) for seed in seeds]
    teacher = Teacher(yamnet, torch.bfloat16)
    if torch.cuda.is_available():
        train_on(torch.device("cuda"), student, teacher, white, mixers, plan, run, held, every)
        return path
    student.share_memory()
    counter = count_from(held, plan, plan.workers)
    context = mp.get_context("fork")
    workers = []
    for rank, (mixer, seed) in enumerate(zip(mixers, seeds, strict=True)):
        pool = Pool(plan.pool, mixer.mixes, teacher, white, torch.device("cpu"), seed)
        job = (rank, student, counter, pool, plan, run, held, every)
        workers.append(context.Process(target=learn, args=job))
        workers[-1].start()
    for worker in workers:
        worker.join()
    if any(worker.exitcode for worker in workers):
        raise RuntimeError("a training worker failed")
    return path


def count_from(held: dict[str, Any], plan: Plan, learners: int) -> Tensor:
    """Return the steps that each learner has done, shared by processes, int64 [learners]."""
    counter = torch.zeros(learners, dtype=torch.int64).share_memory_()
    counter += held.get("seen", 0) // plan.batch // learners
    return counter


def train_on(
    device: torch.device,
    student: Student,
    teacher: Teacher,
    white: Whitening,
    mixers: list[Mixer],
    plan: Plan,
    run: Path,
    held: dict[str, Any],
    every: float,
) -> None:
    """Train on one device, fed by a mixing process for each of `mixers`."""
    context = mp.get_context("fork")
    made: Queue[NDArray[np.float16]] = context.Queue(4 * len(mixers))
    # Forked before the device is touched, which no child could use.
    feeders = [context.Process(target=feed, args=(m, plan, made), daemon=True) for m in mixers]
    for feeder in feeders:
        feeder.start()
    student, teacher = student.to(device), teacher.to(device)
    left = np.zeros((0, PATCH, BANDS), np.float16)

    def mixes(count: int) -> NDArray[np.float16]:
        nonlocal left
        while len(left) < count:
            left = np.concatenate((left, made.get(timeout=600)))
        taken, left = left[:count], left[count:]
        return taken

    pool = Pool(plan.pool, mixes, teacher, white, device, plan.seed + held.get("seen", 0))
    try:
        learn(0, student, count_from(held, plan, 1), pool, plan, run, held, every)
    finally:
        for feeder in feeders:
            feeder.terminate()


def feed(mixer: Mixer, plan: Plan, made: Queue[NDArray[np.float16]]) -> None:
    """Make mixes for ever."""
    while True:
        made.put(mixer.mixes(plan.batch).astype(np.float16))


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
    decayed = [p for p in student.parameters() if p.ndim > 1]
    plain = [p for p in student.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": plain, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, plan.rate, (0.9, 0.98), weight_decay=plan.decay)
    average = copy.deepcopy(student).requires_grad_(False)
    step = int(counter[rank])
    if held:
        average.load_state_dict(held["average"])
        optimiser.load_state_dict(held["optimiser"])
    for _ in range(max(2, plan.pool // 8 // plan.batch)):
        pool.refresh(plan.batch)
    last = time.monotonic()
    shown: dict[str, float] = {}
    while True:
        now = time.monotonic()
        seen = int(counter.sum()) * plan.batch
        done = min(1.0, seen / plan.patches)
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
            warm = min(1.0, (step + 1) / 200)
            group["lr"] = plan.rate * warm * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * done)))
        pool.refresh(plan.batch if pool.made < 2 * plan.pool // 3 else plan.batch // plan.reuse)
        patches, target, scores = pool.draw(plan.batch)
        student.train()
        with torch.autocast(pool.device.type, torch.bfloat16):
            out = student(patches)
        terms = losses(out, student.head(out), target, scores)
        optimiser.zero_grad(set_to_none=True)
        used = [term for name, term in terms.items() if name not in plan.without]
        torch.stack(used).sum().backward()
        nn.utils.clip_grad_norm_(student.parameters(), 2.0)
        optimiser.step()
        step += 1
        counter[rank] = step
        if rank:
            continue
        blend(average, student, min(plan.keep, (1 + step) / (10 + step)))
        if step % 25 == 0:
            for name, term in terms.items():
                shown[name] = 0.7 * shown.get(name, term.item()) + 0.3 * term.item()
        if step % 100 == 0:
            text = " ".join(f"{name} {value:.4f}" for name, value in shown.items())
            seen = int(counter.sum()) * plan.batch
            print(f"seen {seen} of {plan.patches} {text}", flush=True)


@torch.no_grad()
def blend(average: nn.Module, student: nn.Module, keep: float) -> None:
    """Move the average weights towards the student's."""
    for old, new in zip(average.state_dict().values(), student.state_dict().values(), strict=True):
        if old.dtype.is_floating_point:
            old.lerp_(new, 1 - keep)
        else:
            old.copy_(new)


def load_student(path: Path) -> Student:
    """Return the average student of a checkpoint, batch norms folded."""
    held = torch.load(path, map_location="cpu", weights_only=True)
    student = Student(read_shape(held["shape"]))
    student.load_state_dict(held["average"])
    return student.folded()


def read_shape(held: dict[str, Any]) -> Shape:
    """Return the widths kept in a checkpoint."""
    return Shape(held["stem"], tuple(held["widths"]), held["top"])
