"""The architecture: which module imports which, how long modules are, what is public."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import soundsearch
from soundsearch import errors, results

ROOT = Path(__file__).parent.parent
GROUND = "soundsearch_ingest"
LONGEST = 450

# The rooms of soundsearch, and what each may import besides itself and packages of others; a
# module belongs to the room with the longest name that its own begins with. Arrows point down.
_RECORDS = {"stores.base", "stores.filters", "stores.parts", "stores.records"}
_BASE = {"deadlines", "errors", "hints", "results", "vectors", GROUND}
_STORES = {*_RECORDS, "stores.keyed", "stores.pooling", *_BASE}
_ASKING = {*_RECORDS, *_BASE, "labels"}
_SELECTION = {*_ASKING, "gathering", "naming", "session", "stores.keyed"}
_CLIPS = {*_ASKING, "asking", "hearing", "naming", "neighbours", "selection", "session"}
ROOMS: dict[str, set[str]] = {
    "deadlines": set(),
    "hints": set(),
    "times": set(),
    "errors": {GROUND, "hints"},
    "results": {GROUND},
    "vectors": {GROUND},
    "stores.records": _BASE,
    "stores.filters": {"stores.records"},
    "stores.pooling": {"stores.records", *_BASE},
    "stores.parts": {"errors"},
    "stores.base": {"stores.filters", "stores.parts", "stores.records", *_BASE},
    "stores.keyed": {"stores.records", *_BASE},
    "stores.local": _STORES,
    "stores.milvus": _STORES,
    "stores.opening": {*_STORES, "stores.local", "stores.milvus"},
    "labels": {*_RECORDS, *_BASE},
    "asking": _ASKING,
    "hearing": {*_ASKING, "asking"},
    "timelines": {*_ASKING, "asking", "hearing"},
    "timeline_formats": {*_BASE, "labels", "times"},
    "watching": {*_CLIPS, "clips"},
    "listening": {*_CLIPS, "clips", "timelines", "watching"},
    "captions": {*_BASE, "labels", "timeline_formats", "times"},
    "describing": {*_ASKING, "asking", "captions", "hearing", "timelines"},
    "waiting": {*_RECORDS, *_BASE},
    "session": {*_ASKING, "hearing", "stores.opening", "waiting"},
    "gathering": {*_RECORDS, *_BASE, "labels"},
    "exporting": {*_ASKING, "gathering"},
    "mapping": {*_ASKING, "exporting"},
    "selection": {*_SELECTION, "asking", "exporting", "mapping"},
    "neighbours": {*_RECORDS, *_BASE, "naming", "stores.pooling"},
    "duplicates": {*_RECORDS, *_BASE, "gathering", "neighbours"},
    "preparing": _CLIPS,
    "recommending": _CLIPS,
    "clips": {*_CLIPS, "duplicates", "preparing", "recommending"},
    "checking": {*_RECORDS, *_BASE},
    "copying": {*_RECORDS, *_BASE, "stores.milvus", "stores.opening", "tags", "waiting"},
    "keepers": {*_RECORDS, *_BASE},
    "featured": {*_ASKING, "tags"},
    "copies": {*_RECORDS, *_BASE},
    "engines": {*_ASKING, "copies", "hearing", "keepers"},
    "surveying": {*_RECORDS, *_BASE},
    "ingesting": {
        *_ASKING,
        "copies",
        "engines",
        "featured",
        "hearing",
        "keepers",
        "pruning",
        "surveying",
    }
    | {"tags"},
    "adding": {*_ASKING, "asking", "hearing", "ingesting", "session", "tags"},
    "reembedding": {
        *_ASKING,
        "hearing",
        "ingesting",
        "keepers",
        "pruning",
        "session",
        "using_heads",
    },
    "telling": {*_RECORDS, *_BASE, "labels"},
    "naming": {"pruning", *_RECORDS, *_BASE},
    "pruning": {*_RECORDS, *_BASE},
    "tags": {"naming", *_RECORDS, *_BASE},
    "correcting": {*_RECORDS, *_BASE, "labels", "naming"},
    "correctionfiles": {"correcting", "tagfiles", *_RECORDS, *_BASE},
    "using_heads": {*_RECORDS, *_BASE, "correcting", "labels", "session"},
    "care": {*_CLIPS, "checking", "clips", "copying", "correcting", "stores.opening", "tags"}
    | {"using_heads"},
    "clusters": {*_ASKING, "engines", "hearing", "ingesting", "keepers", "session"}
    | {"", "stores.milvus", "stores.opening", "waiting"},
    "library": {
        *_CLIPS,
        "adding",
        "care",
        "clusters",
        "duplicates",
        "ingesting",
        "keepers",
        "reembedding",
        "stores.opening",
        "surveying",
        "tags",
        "telling",
        "waiting",
    },
    "evaluate": {"asking", "clips", *_BASE},
    "recall": {"clips", "gathering", *_RECORDS, *_BASE},
    "learn": {"", "asking", "clips", "gathering", "hearing", "labels", "session", "tags"}
    | {*_RECORDS, *_BASE},
    "audioset": {"labels", *_BASE},
    "relabelling": {"exporting", "labels", *_BASE},
    "demo_sounds": set(),
    "models": {"labels", "stores.base", *_BASE},
    "tagfiles": {GROUND, "errors", "stores.records"},
    "web": {
        "",
        "asking",
        "clips",
        "correcting",
        "correctionfiles",
        "gathering",
        "hearing",
        "labels",
        "library",
        "mapping",
        "naming",
        "selection",
        "session",
        "timelines",
    }
    | {"stores.local", "stores.milvus", "stores.opening", *_RECORDS, *_BASE},
    "cli": {"", "audioset", "demo_sounds", "evaluate", "learn", "library", "models", "session"}
    | {"correctionfiles", "exporting", "recall", "relabelling", "stores.parts", "stores.records"}
    | {"tagfiles", *_BASE}
    | {"captions", "duplicates", "mapping", "stores.opening", "timeline_formats", "times", "web"},
    "__main__": {"cli"},
    # The package itself: the public names, loaded when they are first used.
    "": {"asking", "clips", "correcting", "hearing", "labels", "learn", "library", "evaluate"}
    | {"captions", "describing", "duplicates", "listening", "mapping", "neighbours"}
    | {"stores.records", "timelines", "watching", *_BASE},
}


def modules(folder: str) -> dict[str, Path]:
    """The names of the modules below a folder of the repository, and their files."""
    top = ROOT / folder
    found = {}
    for path in sorted(top.rglob("*.py")):
        parts = path.relative_to(top.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


SOUNDSEARCH = modules("soundsearch")
INGEST = modules(f"ingest/{GROUND}")
BESIDE = {**modules("benchmarks"), **modules("recipes"), **modules("examples")}
TESTS = modules("tests")


def imports(name: str, path: Path) -> Iterator[str]:
    """Every module that a module imports, anywhere in it, by its full name."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                origin = ".".join([*above, *filter(None, [origin])])
            # `from a import b` imports a.b where that is a module.
            known = {**SOUNDSEARCH, **INGEST, **BESIDE, **TESTS}
            inner = {f"{origin}.{alias.name}" for alias in node.names}
            yield from inner & known.keys() or {origin}


def room(module: str) -> str | None:
    """The room of a module; None for a package of others."""
    if module.partition(".")[0] == GROUND:
        return GROUND
    if module.partition(".")[0] != "soundsearch":
        return None
    inside = module.partition(".")[2]
    fits = [name for name in ROOMS if f"{inside}.".startswith(f"{name}." if name else inside)]
    return max(fits, key=len) if inside else ""


def test_every_module_has_a_room():
    for module in SOUNDSEARCH:
        if module not in ("soundsearch", "soundsearch.stores"):
            assert room(module), f"{module}: name it in ROOMS, with what it may import"


@pytest.mark.parametrize("module", SOUNDSEARCH)
def test_arrows_point_down(module):
    own = room(module)
    for imported in imports(module, SOUNDSEARCH[module]):
        target = room(imported)
        assert target in (None, own) or target in ROOMS[own], f"{module} imports {imported}"


def test_no_circles():
    graph = {
        name: {target for target in imports(name, path) if target in SOUNDSEARCH}
        for name, path in SOUNDSEARCH.items()
    }
    del graph["soundsearch"]  # it names them all but loads none
    tuple(TopologicalSorter(graph).static_order())


def outsiders(name: str, path: Path) -> set[str]:
    """The packages of this repository that a module imports."""
    own = {"soundsearch", GROUND, "benchmarks", "recipes", "examples", "tests", "support"}
    found = {imported.partition(".")[0] for imported in imports(name, path)}
    return {package for package in found if package in own or package.startswith("test_")}


@pytest.mark.parametrize(
    ("within", "allowed"),
    [
        (INGEST, {GROUND}),
        (SOUNDSEARCH, {"soundsearch", GROUND}),
        (modules("benchmarks"), {"benchmarks", "soundsearch", GROUND}),
        (modules("recipes"), {"recipes", "benchmarks", "soundsearch", GROUND}),
        (modules("examples"), {"soundsearch"}),
    ],
    ids=["ingest", "soundsearch", "benchmarks", "recipes", "examples"],
)
def test_packages_import_what_they_may(within, allowed):
    for name, path in within.items():
        assert outsiders(name, path) <= allowed, name


def test_no_test_imports_another():
    for name, path in TESTS.items():
        for imported in imports(name, path):
            last = imported.rpartition(".")[2]
            assert not last.startswith("test_"), f"{name} imports {imported}; use tests/support"


def test_modules_are_short():
    for name, path in {**SOUNDSEARCH, **INGEST, **BESIDE, **TESTS}.items():
        count = len(path.read_text("utf-8").splitlines())
        assert count <= LONGEST, f"{name} has {count} lines: cut it where its subjects part"


def test_only_these_packages_are_installed():
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["packages"] == ["soundsearch", f"ingest/{GROUND}"]


# What is public


def test_all_errors_and_results_are_public():
    assert soundsearch.__all__ == sorted(soundsearch.__all__)
    assert {*errors.__all__, *results.__all__} <= set(soundsearch.__all__)
    listed = {name for name in vars(soundsearch) if name[0] != "_" and name[0].isupper()}
    assert listed - {"TYPE_CHECKING", "Any"} <= set(soundsearch.__all__)


@pytest.mark.parametrize("name", soundsearch.__all__)
def test_public_names_are_documented(name):
    member = getattr(soundsearch, name)
    if name == "__version__":
        return
    assert member.__module__.partition(".")[0] in ("soundsearch", GROUND)
    assert inspect.getdoc(member)
    if not inspect.isclass(member) or issubclass(member, Exception):
        return
    for method, function in inspect.getmembers(member, inspect.isfunction):
        if not method.startswith("_") and method != "to_dict":
            assert inspect.getdoc(function), f"{name}.{method}"


# A user's own modules beside the script

SCRIPT = """
import sys
import soundsearch

with soundsearch.open(sys.argv[1]) as lib:
    print(lib.query(sys.argv[2], k=1)[0].uri)
"""


@pytest.fixture
def users_folder(tmp_path):
    folder = tmp_path / "user"
    folder.mkdir()
    (folder / "script.py").write_text(SCRIPT)
    names = ["ingest", "training", "benchmarks", "stores", "results", "recipes", "tests"]
    for name in [*names, "library", "labels", "errors", "cli", "vectors", "support"]:
        (folder / f"{name}.py").write_text("raise RuntimeError(f'{__file__} was imported')\n")
    return folder


def test_a_users_own_modules_are_left_alone(users_folder, sounds, tmp_path):
    clip, library = sounds / "low.wav", tmp_path / "own.lib"
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONSAFEPATH"}

    def run(*arguments: object) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=users_folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-m", "soundsearch", "ingest", sounds, "--library", library)
    assert run("script.py", library, clip) == f"{clip}\n"
    assert run("-m", "script", library, clip) == f"{clip}\n"
    assert str(clip) in run("-m", "soundsearch", "query", clip, "--library", library, "--json")
