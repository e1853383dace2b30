"""Maps: clips in the plane by each method, on each store; new clips on a map that is there."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import pytest
from click.testing import CliRunner
from support.stores import CLIPS, SETTINGS, amend, filled, new_clip, vectors_of
from threadpoolctl import threadpool_info, threadpool_limits

import soundsearch
from soundsearch import ArgumentError, Map, MissingExtra, SpaceMismatch
from soundsearch.cli import mapping as command
from soundsearch.cli.main import main
from soundsearch.labels.vocabulary import AUDIOSET, Vocabulary
from soundsearch.mapping import page
from soundsearch.mapping.columns import COLOURS, categories, coloured
from soundsearch.mapping.data import marks_of
from soundsearch.mapping.maps import FORMATS
from soundsearch.mapping.methods import METHODS, laid_out, nearest
from soundsearch.mapping.page import read_page
from soundsearch.stores.opening import create_store, place_of
from soundsearch.vectors import unit

PACKAGES = {"pca": "numpy", "tsne": "openTSNE", "umap": "umap"}
THERE = [method for method in METHODS if find_spec(PACKAGES[method])]


def clouds(count, kinds=3, seed=0):
    """Unit vectors around a few directions, and which each is of."""
    rng = np.random.default_rng(seed)
    which = np.arange(count) % kinds
    centres = np.random.default_rng(7).normal(size=(kinds, 32))
    return unit((centres[which] + rng.normal(0, 0.2, (count, 32))).astype(np.float32)), which


def made_of(place, clips):
    store = create_store(place, SETTINGS)
    filled(store, clips)
    store.close()
    return str(place)


# Laying out


@pytest.mark.parametrize("method", THERE)
@pytest.mark.parametrize("count", [0, 1, 2, 3, 8, 9])
def test_any_number_of_clips_has_finite_places(method, count):
    for vectors in (clouds(count)[0], np.zeros((count, 32), np.float32)):
        places = laid_out(vectors, method)
        assert places.shape == (count, 2) and places.dtype == np.float32
        assert np.isfinite(places).all() and np.abs(places).max(initial=0) <= 1
        assert (places == laid_out(vectors, method)).all()


@pytest.mark.parametrize("method", THERE)
def test_equal_vectors_have_one_place_and_nearly_equal_ones_places(method):
    vectors, _ = clouds(20)
    places = laid_out(np.concatenate([vectors, vectors[::-1], vectors[:1].repeat(500, 0)]), method)
    assert (places[:20] == places[20:40][::-1]).all() and (places[40:] == places[0]).all()
    one = unit(vectors[:1] + np.random.default_rng(0).normal(0, 1e-7, (60, 32)).astype(np.float32))
    assert np.isfinite(laid_out(one, method)).all()


@pytest.mark.parametrize("method", [method for method in THERE if method != "pca"])
def test_clouds_stay_apart(method):
    vectors, which = clouds(60)
    places = laid_out(vectors, method)
    far = ((places[:, None] - places[None]) ** 2).sum(-1)
    np.fill_diagonal(far, np.inf)
    assert (which[far.argmin(1)] == which).all()


def test_pca_keeps_what_is_in_a_plane():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2)).astype(np.float32)
    axes = np.linalg.qr(rng.normal(size=(32, 2)))[0].astype(np.float32)
    places = laid_out(flat @ axes.T, "pca")
    far = [np.linalg.norm(each[:, None] - each[None], axis=-1) for each in (flat, places)]
    np.testing.assert_allclose(far[0] / far[0].max(), far[1] / far[1].max(), atol=1e-5)


def test_none_finds_itself_among_its_nearest():
    vectors = np.concatenate([clouds(30)[0], np.repeat(clouds(1)[0], 5, 0)])
    ids, cosines = nearest(vectors, vectors, 4, itself=True)
    assert ids.shape == cosines.shape == (35, 4)
    expected = vectors @ vectors.T
    np.fill_diagonal(expected, -np.inf)
    np.testing.assert_allclose(cosines, -np.sort(-expected, axis=1)[:, :4], atol=1e-5)
    assert not (ids == np.arange(35)[:, None]).any()


@pytest.mark.parametrize("method", THERE)
def test_clips_are_laid_out_in_one_thread(method):
    """More of them sum in another order, and t-SNE makes another map of it."""
    seen = []

    def told(done, total):
        assert 0 < done <= total
        seen.extend(pool["num_threads"] for pool in threadpool_info())

    with threadpool_limits(3):
        laid_out(clouds(9)[0], method, told)
        with ThreadPoolExecutor(4) as pool:  # several maps at once
            list(pool.map(partial(laid_out, method="pca"), [clouds(300)[0]] * 8))
        assert set(seen) == ({1} if method != "pca" else set())
        assert {pool["num_threads"] for pool in threadpool_info()} == {3}


def test_another_process_with_more_threads_makes_the_same_page(tmp_path):
    clips = [new_clip(f"/s/{n}.wav", 1, n, tags={f"k{n}": "x"}) for n in range(60)]
    library = made_of(place_of(tmp_path / "lib"), clips)
    out = tmp_path / "map.html"
    with soundsearch.open(library) as lib:
        lib.map(method="pca").save(out)
    first = out.read_bytes()
    out.unlink()
    arguments = ["map", "--library", library, "--out", str(out), "--method", "pca"]
    others = {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4", "PYTHONHASHSEED": "5"}
    subprocess.run(
        [sys.executable, "-m", "soundsearch", *arguments],
        check=True,
        timeout=120,
        env=os.environ | others,
    )
    assert out.read_bytes() == first


def test_tags_that_few_clips_have_take_little_room(tmp_path):
    clips = [new_clip(f"/s/{n}.wav", 1, n, tags={f"key {n}": f"value {n}"}) for n in range(300)]
    with soundsearch.open(made_of(place_of(tmp_path / "lib"), clips)) as lib:
        lib.map(method="pca").save(tmp_path / "map.html")
    assert (tmp_path / "map.html").stat().st_size < 150_000


# Of a library


def test_a_map_of_a_selection_on_every_store(place, tmp_path):
    lib = soundsearch.open(made_of(place, CLIPS))
    with lib:
        whole = lib.map(method="pca")
        assert (len(whole), whole.method, whole.space, whole.placed) == (4, "pca", "mini-1", 0)
        assert whole.uris == tuple(sorted(clip.record.uri for clip in CLIPS))
        assert [lib.clip(id).uri for id in whole.ids.tolist()] == list(whole.uris)
        short = lib.where("segments < 10").map(method="pca")
        assert short.uris == ("/sounds/1.wav", "/sounds/2.wav", "/sounds/4.wav")
        assert len(lib.where("segments > 99").map(method="pca")) == 0
        # The rest of the library onto the map of some: these stay, whatever is selected.
        short.save(tmp_path / "short.html")
        for onto in (short, tmp_path / "short.html"):
            again = lib.map(onto=onto)
            kept = [again.uris.index(uri) for uri in short.uris]
            assert (again.places[kept] == short.places).all() and again.placed == 1
            long = lib.where("segments > 10").map(onto=onto)
            new = again.uris.index("/sounds/3.wav")
            assert (long.places == again.places[new]).all() and long.method == "pca"
            assert np.median(short.places, axis=0) == pytest.approx(again.places[new])


def test_a_map_is_of_the_vectors_that_searches_compare(tmp_path):
    """The nearest on a map of few clips, which PCA keeps, are those that `similar` finds."""
    vectors = vectors_of(3, seed=5)
    clips = [new_clip(f"/s/{n}.wav", 1, n + 1) for n in range(3)]
    clips = [replace(clip, embeddings=vectors[n : n + 1]) for n, clip in enumerate(clips)]
    with soundsearch.open(made_of(place_of(tmp_path / "lib"), clips)) as lib:
        places = lib.map(method="pca").places
        cosines = unit(vectors) @ unit(vectors).T
        far = np.linalg.norm(places[:, None] - places[None], axis=-1)
        expected = np.sqrt(np.maximum(2 - 2 * cosines, 0))
        np.testing.assert_allclose(far / far.max(), expected / expected.max(), atol=1e-4)


def test_a_file_that_changed_is_placed_anew_and_a_renamed_one_stays(tmp_path):
    place = place_of(tmp_path / "lib")
    clips = [new_clip(f"/s/{n}.wav", 2, n) for n in range(12)]
    with soundsearch.open(made_of(place, clips)) as lib:
        old = lib.map(method="pca")
        store = lib._session.store
        moved = replace(clips[3].record, file=replace(clips[3].record.file, uri="/s/moved.wav"))
        amend(store, int(old.ids[old.uris.index("/s/3.wav")]), file=moved.file)
        filled(store, [replace(new_clip("/s/4.wav", 2, 99))])
        new = lib.map(onto=old)
        assert new.placed == 1 and len(new) == 12
        places = dict(zip(new.uris, new.places.tolist(), strict=True))
        before = dict(zip(old.uris, old.places.tolist(), strict=True))
        assert places["/s/moved.wav"] == before["/s/3.wav"]
        assert places["/s/4.wav"] != before["/s/4.wav"]
        for uri in {*places} - {"/s/moved.wav", "/s/4.wav"}:
            assert places[uri] == before[uri]


def test_what_a_map_cannot_be_placed_on(tmp_path, monkeypatch):
    with soundsearch.open(made_of(place_of(tmp_path / "lib"), CLIPS)) as lib:
        made = lib.map(method="pca")
        made.save(tmp_path / "map.html")
        good = (tmp_path / "map.html").read_text()
        bad = tmp_path / "bad.html"

        def refused(text, match, error=ArgumentError):
            bad.write_bytes(text.encode())
            with pytest.raises(error, match=match) as told:
                lib.map(onto=bad)
            assert str(bad) in str(told.value)

        refused(good.replace('"mini-1"', '"mini-0"'), "'mini-0'.*'mini-1'", SpaceMismatch)
        cut, other = good[: good.index('"marks"')], good.replace('id="data"', 'id="other"')
        for text in ("", "<html>", cut, other):
            refused(text, "expected a page that")
        refused(good.replace("soundsearch-map-1", "soundsearch-map-2"), "of the format")
        refused(good.replace('"count":4', '"count":5'), "5 clips have 8 coordinates")
        refused(good.replace('"count":4', '"count":"x"'), "cannot be read")
        refused(good.replace('"count":4', '"count":1e999'), "cannot be read")
        refused(good.replace('"places":"', '"places":"!'), "cannot be read")
        spoilt = json.loads(good.partition('id="data">')[2].partition("</script>")[0])
        for value in (np.nan, 3e38):
            far = base64.b64encode(np.full(8, value, "<f4").tobytes()).decode()
            refused(good.replace(spoilt["places"], far), "not from -1 to 1")
        refused(good.replace('"method":"pca"', '"method":["pca"]'), "cannot be read")
        # Values without end, which would take a hundred times the memory of the file.
        start = good.partition('{"format')[0]
        refused(start + "[" * 10**5 + "</script>", "expected a page that")
        many = '{"format":[' + "[]," * 10**5 + '[]],"names":[]}'
        refused(start + many + "</script>", "expected a page that")
        monkeypatch.setattr(page, "_LARGEST", 1 << 20)
        refused("x" * (3 << 20) + good, "expected a page that")
        bad.write_bytes(b"x" * (1 << 20) + good[:-100].encode())
        assert lib.map(onto=bad).placed == 0  # only what tells places is read
        with pytest.raises(ArgumentError, match=r"none.*html: expected a page"):
            lib.map(onto=tmp_path / "none.html")
        with pytest.raises(ArgumentError, match=r"~none/map.html: no user"):
            lib.map(onto="~none/map.html")
        with pytest.raises(ArgumentError, match="expected none where clips are placed"):
            lib.map(onto=made, method="pca")
    others = made_of(place_of(tmp_path / "others"), [new_clip("/other.wav", 2, 77)])
    with soundsearch.open(others) as lib, pytest.raises(ArgumentError, match="none of its 4 clips"):
        lib.map(onto=made)


def test_wrong_arguments_and_missing_packages(tmp_path, monkeypatch):
    with soundsearch.open(made_of(place_of(tmp_path / "lib"), CLIPS)) as lib:
        with pytest.raises(ArgumentError, match="expected one of tsne, pca, umap, got 'sne'"):
            lib.map(method="sne")
        for by in ("labels", "tag[]", "", "tag"):
            with pytest.raises(ArgumentError, match="expected category, label, folder or a tag"):
                lib.map(by=by, method="pca")
        with pytest.raises(ArgumentError, match="got 'mic'; they have no tags"):
            lib.map(by="tag['mic']", method="pca")
        made = lib.map(method="pca")
        for name in ("map", "map.pdf", "map.html.gz"):
            with pytest.raises(ArgumentError, match=r"expected a name that ends in \.html"):
                made.save(tmp_path / name)
        with pytest.raises(ArgumentError, match="there is no folder"):
            made.save(tmp_path / "no" / "map.html")
        for package in ("openTSNE", "umap", "PIL"):
            monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(MissingExtra, match=r"soundsearch\[map\].*pca needs nothing"):
            lib.map()
        with pytest.raises(MissingExtra, match=r"soundsearch\[map\]"):
            made.save(tmp_path / "map.png")


# What is written

AWKWARD = [
    "<script><img src=x>",
    "\u2028",
    "\u202egpj",
    "\udcff",
    "'\"&amp;",
    "{script}",
    "\x1b[0m",
]


def awkward(folder):
    """A library of names and tags that a page or picture could trip over."""
    clips = [
        new_clip(f"{uri}/{name}.wav", 2, 10 * n + m, tags={name: name} if n else {"n": float(m)})
        for n, uri in enumerate(("/a", "zip://in", "https://h"))
        for m, name in enumerate(AWKWARD)
        if name.isprintable() or not n
    ]
    return made_of(place_of(folder / "lib"), clips)


def test_names_do_not_leave_the_data_of_a_page(tmp_path):
    with soundsearch.open(awkward(tmp_path)) as lib:
        made = lib.map(method="pca")
        made.save(tmp_path / "map.html", by="folder")
    text = (tmp_path / "map.html").read_text("utf-8")
    assert text.count("<script") == 2 and text.count("</script>") == 2 and "<img" not in text
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert data.isascii() and not {*"<\n\x00"} & {*data}
    known = json.loads(data)
    assert known["by"] == "folder" and known["count"] == len(made) == len(known["names"])
    folders = np.frombuffer(base64.b64decode(known["folder"]), "<u4")
    for row, uri in enumerate(made.uris):
        joined = f"{known['folders'][folders[row]]}/{known['names'][row]}"
        assert known["uris"].get(str(row), joined) == uri
    assert read_page(tmp_path / "map.html").found(marks_of([b"none"]))[1].tolist() == [False]


def test_pictures(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    with soundsearch.open(awkward(tmp_path)) as lib:
        made = lib.map(method="pca", by="tag[n]")
    for ending in ("svg", "png"):
        for name in ("one", "two"):
            made.save(tmp_path / f"{name}.{ending}")
        one, two = (tmp_path / f"{name}.{ending}" for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    for by in ("folder", f"tag[{AWKWARD[4]}]"):
        for ending in ("svg", "png"):
            made.save(tmp_path / f"map.{ending}", by=by)
        root = ElementTree.parse(tmp_path / "map.svg").getroot()
        space = "{http://www.w3.org/2000/svg}"
        dots = root.findall(f"{space}g/{space}circle")
        assert len(dots) == len(made)
        where = {(float(dot.get("cx")), float(dot.get("cy"))) for dot in dots}
        assert len(where) == len({tuple(place) for place in made.places.tolist()})
        image = pillow.open(tmp_path / "map.png")
        for x, y in where:
            assert image.getpixel((round(x), round(y))) != (255, 255, 255)


def test_frequent_values_have_colours_of_their_own():
    values = [f"kind {n:02}" for n in range(14) for _ in range(20 - n)] + [None] * 3
    colours, legend = coloured(values)
    own = len(COLOURS["light"]) - 2
    assert len(COLOURS["dark"]) == len(COLOURS["light"])
    assert legend[0] == ("kind 00", 0, 20) and legend[-1] == ("none", own + 1, 3)
    assert legend[own][0] == "other" and legend[own][2] == sum(20 - n for n in range(own, 14))
    assert sum(count for _, _, count in legend) == len(values) == len(colours)
    assert coloured([]) == ([], [])


def test_categories_part_labels_evenly():
    def named(counts, vocabulary=AUDIOSET):
        labels = [vocabulary.index(name) for name, count in counts.items() for _ in range(count)]
        names, of = categories([*labels, 0xFFFF], vocabulary)
        return {name: names[of[vocabulary.index(name)]] for name in counts}

    # Music alone is parted further; what is rare keeps its own name, and needs no colour.
    music = {"Guitar": 40, "Piano": 30, "Techno": 20, "Music": 15, "Rain": 1}
    assert named(music) == {
        "Guitar": "Guitar",
        "Piano": "Piano",
        "Techno": "Techno",
        "Music": "Music, other",
        "Rain": "Natural sounds",
    }
    assert named({"Bark": 3}) == {"Bark": "Animal"}
    # Never more than there are colours for, but for what is rare; own classes are at the top.
    every = dict.fromkeys(AUDIOSET.names, 2)
    assert len({*named(every).values()}) <= len(COLOURS["light"]) - 2
    own = Vocabulary(("Drone", "Wobble"))
    assert named({"Drone": 5, "Wobble": 5, "Speech": 1}, own)["Drone"] == "Drone"
    assert categories([], AUDIOSET) == categories([600], AUDIOSET) == ((), {})


# The command


def test_the_command(tmp_path):
    assert METHODS == command.METHODS and FORMATS == (".html", ".png", ".svg")
    library = made_of(place_of(tmp_path / "lib"), CLIPS)

    def run(*arguments):
        done = CliRunner().invoke(main, ["map", "--library", library, *map(str, arguments)])
        return done.exit_code, done.output

    out, svg = tmp_path / "map.html", tmp_path / "map.svg"
    assert run("--out", out, "--method", "pca") == (0, f"4 clips on the map {out}\n")
    code, said = run("--out", svg, "--onto", out, "--where", "segments < 10", "--json")
    facts = {"method": "pca", "space": "mini-1", "placed": 0}
    assert (code, json.loads(said)) == (0, {"file": str(svg), "clips": 3, **facts})
    assert run("--out", out, "--onto", out)[1].endswith("0 of them placed among the others\n")
    code, said = run("--out", out, "--where", "segments > 99", "--method", "pca")
    assert code == 1 and "no clip of the library matches" in said
    assert run("--out", "map.pdf")[0] == run("--out", out, "--by", "tag[x]")[0] == 2
    before = out.read_bytes()
    with soundsearch.open(library) as lib:
        assert isinstance(lib.map(onto=out), Map)
    assert out.read_bytes() == before and not list(tmp_path.glob(".*part"))
