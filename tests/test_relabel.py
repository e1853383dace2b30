"""Policies on labels: what they must hold on any ontology, and what files become."""

from __future__ import annotations

import csv
import json
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner
from soundsearch_ingest.audioset import Record, read_list, read_records, write_records

import soundsearch
from soundsearch import relabelling
from soundsearch.cli import relabelling as cli
from soundsearch.cli.main import main
from soundsearch.errors import AudioError
from soundsearch.labels import relabel
from soundsearch.labels.ontology import Node, Ontology, ontology
from soundsearch.labels.relabel import Relabelling
from soundsearch.relabelling import relabel_clips, relabel_files
from soundsearch.results import Clip, Label

RAIN, WATER, DOG, BARK, GROWLING = "/m/06mb1", "/m/0838f", "/m/0bt9lr", "/m/05tny_", "/m/0ghcn6"
HUMAN = "/m/0dgw9r"  # a root that is not among the 527
HEADER = "# one\n# two\n# YTID, start_seconds, end_seconds, positive_labels"
ROWS = np.zeros((2, 128), np.uint8)


def name(*mids):
    return {ontology().nodes[mid].name for mid in mids}


def write_csv(path, *labels, masks=None):
    rows = [f'id{number}, 0.000, 10.000, "{each}"' for number, each in enumerate(labels)]
    if masks is not None:
        rows = [f'{row}, "{mask}"' for row, mask in zip(rows, masks, strict=True)]
    head = HEADER if masks is None else f"{HEADER}, masked_labels"
    path.write_text("\n".join([head, *rows, ""]))
    return path


def run(*arguments, code=0):
    done = CliRunner().invoke(main, ["relabel", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done


# The policies


def random_table(random):
    """A DAG of 3 to 40 nodes, in any order, of which some are classes."""
    count = int(random.integers(3, 40))
    nodes = []
    for number in range(count):
        above = random.choice(number, random.integers(0, min(number, 3) + 1), replace=False)
        parents = tuple(f"n{parent}" for parent in above)
        nodes.append(Node(f"n{number}", f"name {number}", parents, frozenset(), None))
    return Ontology([nodes[place] for place in random.permutation(count)])


def reach(edges, start):
    """All that can be reached from some nodes, themselves included, one edge after the other."""
    found, waiting = set(), list(start)
    while waiting:
        if (node := waiting.pop()) not in found:
            found.add(node)
            waiting += edges.get(node, ())
    return found


@pytest.mark.parametrize("seed", range(40))
def test_policies_on_random_ontologies(seed):
    random = np.random.default_rng(seed)
    table = random_table(random)
    up = {mid: node.parents for mid, node in table.nodes.items()}
    down = {}
    for mid, parents in up.items():
        for parent in parents:
            down.setdefault(parent, []).append(mid)
    classes = [mid for mid in table.nodes if random.random() < 0.7]
    make = partial(Relabelling, classes=classes, table=table)
    for _ in range(10):
        labels = random.choice(list(table.nodes), random.integers(1, 4), replace=False).tolist()
        original, pel, masked = (make(policy)(labels) for policy in ("ol", "pel", "pe-cml"))
        assert original.all_labels == set(labels) and not original.all_masked
        assert pel.all_labels == masked.all_labels == reach(up, labels)
        hidden = set()
        for label in labels:
            below = reach(down, [label]) - {label}
            if not below & set(labels):
                hidden |= below
        assert masked.all_masked == hidden and not pel.all_masked
        assert not masked.all_masked & masked.all_labels
        for found in (original, pel, masked):
            assert set(found.labels) == found.all_labels & set(classes)
            assert list(found.masked) == sorted(found.all_masked & set(classes))
            assert len(found.labels) == len(set(found.labels))
        # Nothing changes a second time, nor with the order.
        for policy in relabel.POLICIES:
            once = Relabelling(policy, table=table)(labels)
            again = Relabelling(policy, table=table)(once.labels, once.masked)
            turned = Relabelling(policy, table=table)(labels[::-1])
            assert once.all_labels == again.all_labels == turned.all_labels
            assert once.all_masked == again.all_masked == turned.all_masked
        single = make("pe-cml", "single")(labels)
        assert set(labels) <= single.all_labels <= pel.all_labels
        assert single.all_masked == hidden
        for mid in single.all_labels:
            assert not up[mid] or set(up[mid]) & single.all_labels
        for label in labels:
            paths = {table.nodes[mid].name for mid in single.all_labels}
            assert set(table.path(label)) <= paths


def test_known_answers():
    assert name(*Relabelling("pel")([RAIN]).labels) >= {"Rain", "Water"}
    everywhere = Relabelling("pel")([GROWLING]).all_labels
    path = Relabelling("pel", "single")([GROWLING]).all_labels
    assert len(ontology().nodes[GROWLING].parents) == 4 and path < everywhere
    dog = Relabelling("pe-cml")([DOG])
    assert "Bark" in name(*dog.masked) and "Animal" in name(*dog.labels)
    both = Relabelling("pe-cml")([DOG, BARK])
    assert not both.masked and set(both.labels) == set(Relabelling("pel")([BARK]).labels)
    # A class may reach another only through a node that is none.
    used = [node.mid for node in ontology().classes]
    for mid in used:
        found = set(Relabelling("pel", classes=used)([mid]).labels)
        assert found == {mid} | {each for each in used if each in ontology().ancestors(mid)}


def test_the_command_line_knows_the_choices():
    assert cli.POLICIES == relabel.POLICIES and cli.PARENTS == relabel.PARENTS
    assert cli.CLASSES == relabelling.CLASSES_IN_USE
    with pytest.raises(soundsearch.ArgumentError, match="policy: expected one of ol, pel, pe-cml"):
        Relabelling("PEL")


# Files


def test_a_list_stays_a_list(tmp_path):
    source = write_csv(tmp_path / "list.csv", RAIN, f"{DOG},{BARK}", DOG)
    found = json.loads(
        run(source, "--policy", "pe-cml", "--out", tmp_path / "o.csv", "--json").stdout
    )
    clips = list(read_list(tmp_path / "o.csv"))
    assert [clip.video_id for clip in clips] == ["id0", "id1", "id2"]
    assert clips[0].mids[0] == RAIN and name(*clips[0].mids) >= {"Water"}
    assert name(*clips[0].masked) == {"Raindrop", "Rain on surface"}
    assert clips[1].masked == () and "Bark" in name(*clips[2].masked)
    assert found["clips"] == 3
    assert found["before"]["labels"] == pytest.approx(4 / 3, abs=1e-5)
    labels = sum(len(clip.mids) for clip in clips) / 3
    masked = sum(len(clip.masked) for clip in clips) / 3
    assert found["after"]["labels"] == pytest.approx(labels, abs=1e-5)
    assert found["after"]["masked"] == pytest.approx(masked, abs=1e-5)
    assert (found["before"]["with_parent"], found["after"]["with_parent"]) == (0.25, 1)
    pairs = {(pair["above"], pair["label"]): pair for pair in found["pairs"]}
    assert pairs["Dog", "Bark"] == {
        "label": "Bark", "above": "Dog", "clips": 1, "before": 1.0, "after": 1.0,
    }  # fmt: skip
    counts = {row["name"]: (row["before"], row["after"], row["masked"]) for row in found["classes"]}
    assert counts["Dog"] == (2, 2, 0) and counts["Animal"] == (0, 2, 0)
    assert counts["Bark"] == (1, 1, 1) and "Human sounds" not in counts
    # What was written can be read again, and does not change any more.
    run(tmp_path / "o.csv", "--policy", "pe-cml", "--out", tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == (tmp_path / "o.csv").read_bytes()
    header = (tmp_path / "o.csv").read_text().splitlines()[:3]
    assert all(line.startswith("#") for line in header)
    positive = sum(len(clip.mids) for clip in clips)
    assert header[1].rstrip().endswith(f"num_positive_labels={positive}")


def test_masks_that_are_there_stay(tmp_path):
    source = write_csv(tmp_path / "l.csv", RAIN, DOG, masks=[f"{WATER},{BARK}", ""])
    assert next(read_list(source)).masked == (WATER, BARK)
    run(source, "--policy", "pel", "--out", tmp_path / "o.csv")
    clips = list(read_list(tmp_path / "o.csv"))
    assert clips[0].masked == (BARK,) and WATER in clips[0].mids and clips[1].masked == ()
    run(source, "--policy", "ol", "--out", tmp_path / "o.csv")
    assert next(read_list(tmp_path / "o.csv")).masked == tuple(sorted((WATER, BARK)))


def test_original_labels_leave_a_list_as_audioset_has_it(tmp_path):
    source = write_csv(tmp_path / "l.csv", f"{BARK},{DOG}")
    run(source, "--policy", "ol", "--out", tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_text().splitlines()[2:] == source.read_text().splitlines()[2:]


def test_records_stay_records_and_libraries_become_a_table(tmp_path):
    dog, bark, rain = (ontology().nodes[mid].class_index for mid in (DOG, BARK, RAIN))
    records = [
        Record("a", 0.0, 10.0, (dog,), ROWS),
        Record("b", 10.0, 20.0, (rain, bark), ROWS + 255),
        Record("c", 0.0, 10.0, (), ROWS),
    ]
    for file, part in (("00", records[:2]), ("01", records[2:])):
        write_records(tmp_path / f"{file}.tfrecord", part)
    sources = sorted(tmp_path.glob("*.tfrecord"))
    found = json.loads(
        run(*sources, "--policy", "pe-cml", "--out", tmp_path / "o", "--json").stdout
    )
    assert found["clips"] == 3
    out = [record for source in sources for record in read_records(tmp_path / "o" / source.name)]
    for before, after in zip(records, out, strict=True):
        assert (before.video_id, before.start, before.end) == (
            after.video_id,
            after.start,
            after.end,
        )
        np.testing.assert_array_equal(before.features, after.features)
    assert out[0].labels[0] == dog and bark in out[0].masked
    assert name(*(ontology().classes[index].mid for index in out[0].labels)) >= {"Dog", "Animal"}
    assert out[1].labels[:2] == (rain, bark) and dog in out[1].labels
    assert out[2].labels == out[2].masked == ()

    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest(sources)
        urls = [record.uri for record in records]
    run(tmp_path / "l", "--policy", "pe-cml", "--out", tmp_path / "o.csv")
    with open(tmp_path / "o.csv", newline="") as file:
        rows = {row["uri"]: row for row in csv.DictReader(file)}
    assert set(rows) == set(urls[:2])  # of the third, nobody said anything
    for record, url in zip(out, urls[:2], strict=False):
        labels = [ontology().classes[index].mid for index in record.labels]
        assert rows[url]["labels"].split(",") == labels
        masked = {ontology().classes[index].mid for index in record.masked}
        assert set(rows[url]["masked_labels"].split(",")) == masked
    run(
        tmp_path / "l",
        "--policy",
        "ol",
        "--where",
        f"human_label['{BARK}']",
        "--out",
        tmp_path / "w.csv",
    )
    assert len((tmp_path / "w.csv").read_text().splitlines()) == 2
    nothing = run(tmp_path / "l", "--policy", "pel", "--where", "duration > 1e6", code=1)
    assert "l: expected clips with human labels, got none" in nothing.stderr
    assert "one library alone" in run(tmp_path / "l", sources[0], "--policy", "ol", code=2).stderr


def test_classes_of_ones_own_stay_as_they_are(tmp_path):
    labels = (Label("squeak", "", 1.0, ("squeak",)), Label("Dog", DOG, 1.0, ("Dog",)))
    clip = Clip(1, "/a.wav", 1.0, 1, False, None, (), labels)
    counts = relabel_clips([clip], "pel", out=tmp_path / "o.csv")
    [row] = csv.DictReader((tmp_path / "o.csv").read_text().splitlines())
    assert row["labels"].split(",")[0] == DOG and row["labels"].endswith(",squeak")
    assert counts.before.counts == {DOG: 1}


def test_classes_in_use(tmp_path):
    source = write_csv(tmp_path / "l.csv", BARK, f"{DOG},{RAIN}", HUMAN)
    run(source, "--policy", "pel", "--classes", "list", "--out", tmp_path / "o.csv")
    assert [clip.mids for clip in read_list(tmp_path / "o.csv")] == [
        (BARK, DOG),
        (DOG, RAIN),
        (HUMAN,),
    ]
    run(source, "--policy", "pe-cml", "--classes", "ontology", "--out", tmp_path / "o.csv")
    last = list(read_list(tmp_path / "o.csv"))[-1]
    assert last.mids == (HUMAN,) and set(last.masked) == ontology().descendants[HUMAN]
    refused = run(source, "--policy", "pel", code=1).stderr
    assert f"l.csv: line 6: none of its labels is among the classes in use, got {HUMAN}" in refused
    write_records(tmp_path / "r", [Record("a", 0.0, 1.0, (1,), ROWS)])
    refused = run(tmp_path / "r", "--policy", "pel", "--classes", "ontology", "--out", "x", code=2)
    assert "TFRecord files hold AudioSet's 527 classes only" in refused.stderr


def test_pairs_and_the_table(tmp_path):
    source = write_csv(tmp_path / "l.csv", RAIN, f"{RAIN},{DOG}", f"{RAIN},{WATER}")
    done = run(source, "--policy", "pel", "--pair", "Dog > rain", "--pair", f"{WATER}>Rain")
    lines = done.stdout.splitlines()
    assert lines[0] == "3 clips"
    assert any(line.split() == ["3", "33.3%", "33.3%", "Dog", ">", "Rain"] for line in lines)
    assert any(line.split() == ["3", "33.3%", "100.0%", "Water", ">", "Rain"] for line in lines)
    wrong = run(source, "--policy", "pel", "--pair", "Watre > Rain", code=2).stderr
    assert "'Watre'; near it are: /m/0838f (Water)" in wrong
    assert 'as in "Water > Rain"' in run(source, "--policy", "ol", "--pair", "Rain", code=2).stderr


@pytest.mark.parametrize(
    ("labels", "masks", "message"),
    [
        ("/m/0bt9lx", None, "line 5: expected a label .*'/m/0bt9lx'; near it are: /m/0bt9lr"),
        ("/m/", None, "line 5: expected a label .*'/m/'"),
        ("Dog", None, "line 5: expected labels like /m/03v3yw, got 'Dog'"),
        (f'{DOG}", "{BARK}', None, "line 5: expected .*got 5 fields"),
        (DOG, f"{BARK},{DOG}", r"line 5: its mask hides every label of the clip, .*\(Dog\)"),
        (f"{DOG},{RAIN}", DOG, "line 5: its mask hides a label of the clip"),
        (DOG, "/m/nothing", "line 5: expected a label .*'/m/nothing'"),
        (DOG, "Bark", "line 5: expected labels like /m/03v3yw, got 'Bark'"),
        (f'{DOG}", "', "", "line 5: .* got 6 fields"),
    ],
)
def test_malformed_rows_change_nothing(tmp_path, labels, masks, message):
    given = None if masks is None else ["", masks]
    source = write_csv(tmp_path / "list.csv", RAIN, labels, masks=given)
    out = tmp_path / "out.csv"
    out.write_text("what was there")
    with pytest.raises(AudioError, match=f"list.csv: {message}"):
        relabel_files([source], "pe-cml", out=out)
    assert out.read_text() == "what was there"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["list.csv", "out.csv"]


def test_inputs_that_cannot_be_relabelled(tmp_path):
    empty = write_csv(tmp_path / "empty.csv")
    assert "empty.csv: expected clips, got none" in run(empty, "--policy", "pel", code=1).stderr
    assert "No such file" in run(tmp_path / "no.csv", "--policy", "pel", code=1).stderr
    write_records(tmp_path / "r", [Record("a", 0.0, 1.0, (600,), ROWS)])
    refused = run(tmp_path / "r", "--policy", "pel", code=1).stderr
    assert "r: record 1: expected labels from 0 to 526, got 600" in refused
    source = write_csv(tmp_path / "l.csv", DOG)
    refused = run(source, "--policy", "pel", "--out", source, code=2).stderr
    assert "is one of the files to read" in refused and next(read_list(source)).mids == (DOG,)
    other = tmp_path / "other"
    other.mkdir()
    twice = [source, write_csv(other / "l.csv", DOG)]
    assert "two files have this name" in run(*twice, "--policy", "pel", "--out", "x", code=2).stderr
    both = run(source, empty, "--policy", "pel", "--out", empty, code=2).stderr
    assert "expected a folder for several files, got a file" in both
    assert "--where" in run(source, "--policy", "ol", "--where", "duration < 1", code=2).stderr
