"""The documentation is true: its commands and programs run, and its links lead somewhere.

In README.md, docs/ and CONTRIBUTING.md each block of commands (``console``) and each program
(``python``) is run, page by page, in a home folder with a few sounds. A comment above a block,
``<!-- not run: REASON -->`` or ``<!-- needs: MODULE -->``, says why it is left out.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from soundsearch import demo_sounds
from soundsearch.cli import main as cli

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
RAIN = "/m/06mb1"
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>[^\n]*) -->\n)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)


@dataclass
class Block:
    page: Path
    line: int
    kind: str
    text: str
    mark: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def why_not(self) -> str | None:
        """Why it is not run."""
        what, _, said = self.mark.partition(": ")
        if what == "needs":
            return None if importlib.util.find_spec(said) else f"needs {said}"
        return said if what == "not run" else None


def blocks(page: Path) -> Iterator[Block]:
    text = page.read_text("utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start("kind")) + 1
        yield Block(page, line, match["kind"], match["text"], match["mark"] or "")


BLOCKS = [block for page in PAGES for block in blocks(page) if block.kind in ("console", "python")]


def commands(block: Block) -> Iterator[str]:
    return (line[2:] for line in block.text.splitlines() if line.startswith("$ "))


@pytest.fixture(scope="module")
def made_home(tmp_path_factory) -> Path:
    """A home folder with the files that the pages mention."""
    home = tmp_path_factory.mktemp("docs") / "home"
    sounds = home / "Sounds" / "field"
    sounds.mkdir(parents=True)
    kinds = [("bell", "church bell"), ("rain", "rain"), ("field/engine", "engine")]
    for number, (name, kind) in enumerate(kinds):
        sound = demo_sounds.make(kind, number)
        soundfile.write(home / "Sounds" / f"{name}.wav", sound, demo_sounds.SAMPLE_RATE)
    clip = demo_sounds.make("church bell", 50)
    soundfile.write(home / "clip.wav", clip, demo_sounds.SAMPLE_RATE)
    write_film(home / "film.mp4", np.concatenate([clip, clip]))
    rows = "path,mic,place,take\nSounds/bell.wav,AKG,church,1\nSounds/rain.wav,Neumann,garden,2\n"
    (home / "tags.csv").write_text(rows)
    kinds_of = "bell.wav,indoors", "rain.wav,outdoors", "field/engine.wav,outdoors"
    (home / "labels.csv").write_text(
        "\n".join(["path,class", *(f"Sounds/{k}" for k in kinds_of), ""])
    )
    listed = f'# YTID, start_seconds, end_seconds, positive_labels\nid-00, 30, 40, "{RAIN}"\n'
    (home / "segments.csv").write_text(listed)
    if importlib.util.find_spec("google_crc32c"):
        from soundsearch_ingest.audioset import Record, write_records

        (home / "bal_train").mkdir()
        features = np.random.default_rng(0).integers(0, 256, (10, 128), np.uint8)
        record = Record("id-00", 30.0, 40.0, (74,), features)
        write_records(home / "bal_train" / "00.tfrecord", [record])
    programs = home / "programs"
    programs.mkdir()
    for name, script in {
        "soundsearch": f'exec {sys.executable} -m soundsearch "$@"',
        "arecord": f"exec cat {home / 'clip.wav'}",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)
    return home


def write_film(path: Path, sound: np.ndarray) -> None:
    """Sound in an MP4 container."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=demo_sounds.SAMPLE_RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), "fltp", "mono")
        frame.sample_rate = demo_sounds.SAMPLE_RATE
        for packets in (stream.encode(frame), stream.encode(None)):
            container.mux(packets)


@pytest.fixture
def home(made_home, tmp_path) -> Path:
    """A home folder for each page, so that pages do not depend on each other."""
    return Path(shutil.copytree(made_home, tmp_path / "home"))


def run(command: list[str], home: Path, said: str) -> str:
    kept = ("LANG", "SYSTEMROOT", "PYTHONPATH", "SOUNDSEARCH_MODELS")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    environment |= {"HOME": str(home), "PATH": f"{home / 'programs'}:{os.environ['PATH']}"}
    done = subprocess.run(
        command,
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, f"{said}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    "page",
    [PAGES[0], *(pytest.param(page, marks=pytest.mark.slow) for page in PAGES[1:])],
    ids=lambda page: page.name,
)
def test_blocks_of_a_page(page, home):
    shown = [block for block in BLOCKS if block.page == page and block.why_not is None]
    programs = [block for block in shown if block.kind == "python"]
    for block in shown:
        if block.kind == "console":
            for command in commands(block):
                run(["bash", "-c", f"set -o pipefail; {command}"], home, f"{block}: {command}")
    if programs:  # one after the other, as a reader would type them
        text = "\n".join(block.text for block in programs)
        run([sys.executable, "-W", "ignore::ResourceWarning", "-c", text], home, str(programs[0]))


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.why_not], ids=str)
def test_block_that_is_not_run(block):
    pytest.skip(str(block.why_not))


def test_tables_are_shown_as_they_are(made_home):
    """The files that a page shows with cat are those its commands ran with."""
    for name in ("tags.csv", "labels.csv"):
        shown = [block for block in BLOCKS if f"$ cat {name}" in block.text]
        assert shown
        for block in shown:
            assert (made_home / name).read_text() in block.text


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docker" / "README.md"], ids=lambda p: p.name)
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if "://" in target:
            continue
        path, _, heading = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.M)
            assert heading in [title.lower().replace(" ", "-") for title in titles], target


def test_every_page_is_linked_from_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    for page in PAGES[1:]:
        assert f"({page.relative_to(ROOT).as_posix()})" in readme
    assert set(EXAMPLES)  # the folder is linked as a whole
    assert "(examples)" in readme


def test_the_readme_names_every_command():
    readme = (ROOT / "README.md").read_text("utf-8")
    table = "\n".join(line for line in readme.splitlines() if line.startswith("| `"))
    for name in cli._COMMANDS:
        assert f"`{name}" in table, name


def test_the_two_commands():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert "$ pip install . && soundsearch demo\n" in readme
    assert "$ pip install -e '.[test]' && pytest\n" in readme


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("label_a_folder", ["Sounds", "table.csv"], ""),
        ("recommender", ["music.lib"], "the session goes on: track:"),
        ("tag_by_folder", ["own.lib", "Sounds", "clip.wav"], "in field:\n  "),
    ],
)
def test_examples(name, arguments, expected, home):
    printed = run([sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments], home, name)
    assert expected in printed
    if "table.csv" in arguments:
        rows = (home / "table.csv").read_text().splitlines()
        assert len(rows) == 4 and rows[0] == "path,seconds,labels"
        assert any("Bell" in row or "bell" in row for row in rows)


def test_every_example_is_tested():
    assert [path.stem for path in EXAMPLES] == ["label_a_folder", "recommender", "tag_by_folder"]
