"""AudioSet's files: intact ones are read bit by bit, damaged ones are refused."""

from __future__ import annotations

import json
import os
import struct
import sys
from functools import partial

import numpy as np
import pytest
from soundsearch_ingest import tfrecord
from soundsearch_ingest.audioset import ListedClip, Record, read_list, read_records, write_records
from soundsearch_ingest.errors import AudioError, SoundsearchError
from support import commands

from soundsearch.audioset import stats
from soundsearch.labels.ontology import ontology

ROWS = np.arange(256, dtype=np.uint8).reshape(2, 128)  # 128 to 255: bytes are not signed
HEADER = "# Segments csv created\n# num_ytids=2\n# YTID, start_seconds, end_seconds, labels\n"


def varint(value):
    low = value & 0x7F
    return bytes([low]) if value < 128 else bytes([low | 0x80]) + varint(value >> 7)


def field(number, *contents):
    content = b"".join(contents)
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(name, *contents):
    return field(1, field(1, name), field(2, *contents))


def lists(*rows, name=b"audio_embedding"):
    return field(2, entry(name, *(field(1, field(1, field(1, row))) for row in rows)))


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def framed(payload, length=None):
    def checked(data):
        crc = crc32c(data)
        return data + struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)

    return checked(struct.pack("<Q", len(payload) if length is None else length)) + checked(payload)


ID = entry(b"video_id", field(1, field(1, b"-0RWZT-miFs")))
START = entry(b"start_time_seconds", field(2, field(1, struct.pack("<f", 420))))
END = entry(b"end_time_seconds", field(2, field(1, struct.pack("<f", 430))))
LABELS = entry(b"labels", field(3, field(1, b"\x00", b"\x8e\x04")))  # 0, 526
EMBEDDING = lists(*map(bytes, ROWS))
KNOWN = field(1, ID, START, END, LABELS) + EMBEDDING
RECORD = Record("-0RWZT-miFs", 420.0, 430.0, (0, 526), ROWS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "00.tfrecord"


def read(path, *payloads):
    path.write_bytes(b"".join(map(framed, payloads)))
    return list(read_records(path))


def same(got, expected):
    assert got.features.dtype == np.uint8 and got.features.shape == expected.features.shape
    np.testing.assert_array_equal(got.features, expected.features)
    for name in ("video_id", "start", "end", "labels", "uri"):
        assert getattr(got, name) == getattr(expected, name)
    return True


def test_known_answer(path):
    assert crc32c(b"123456789") == 0xE3069283
    assert tfrecord.frame(b"123456789")[-4:] == struct.pack("<I", 0xC78AB0E5)
    [record] = read(path, KNOWN)
    same(record, RECORD)
    assert record.uri == "https://www.youtube.com/watch?v=-0RWZT-miFs&t=420"
    write_records(path, [RECORD])
    assert path.read_bytes() == framed(KNOWN)


def test_round_trip(path):
    rng = np.random.default_rng(0)
    records = [
        Record(
            f"é{number}", number / 3, number / 3 + 10, tuple(range(number % 4)), features[:seconds]
        )
        for number, seconds in enumerate([10, 9, 1, 0, 10, 25])
        for features in [rng.integers(0, 256, (25, 128), np.uint8)]
    ]
    write_records(path, iter(records))
    for got, expected in zip(read_records(path), records, strict=True):
        assert got.start == np.float32(expected.start)
        rounded = Record(expected.video_id, got.start, got.end, expected.labels, expected.features)
        same(got, rounded)
    write_records(path, [])
    assert path.read_bytes() == b"" and list(read_records(path)) == []
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def other_wires():
    """The same clip in other encodings that protobuf allows."""
    start = entry(b"start_time_seconds", field(2, b"\x0d", struct.pack("<f", 420)))
    alone = entry(b"labels", field(3, b"\x08\x00", b"\x08\x8e\x04"))
    mixed = entry(b"labels", field(3, field(1, b"\x00"), b"\x08\x8e\x04"))
    unknown = b"\x98\x06\x07" + b"\x69" + bytes(8) + b"\x6d" + bytes(4) + field(500, b"later")
    value_first = field(1, field(2, field(1, field(1, b"-0RWZT-miFs"))), field(1, b"video_id"))
    row = [bytes(row) for row in ROWS]
    odd_rows = [field(1, field(1, field(1, row[0]), unknown)), field(1, field(1, field(1, row[1])))]
    long_length = field(1, b"\x0a\x83\x81\x00" + field(1, row[0]))
    return {
        "another order": EMBEDDING + field(1, LABELS, END, START, ID),
        "not packed": field(1, ID, start, END, alone) + EMBEDDING,
        "half packed": field(1, ID, START, END, mixed) + EMBEDDING,
        "value before name": field(1, value_first, START, END, LABELS) + EMBEDDING,
        "unknown": unknown + field(1, unknown, ID, START, END, LABELS, unknown) + EMBEDDING,
        "unknown in a row": field(1, ID, START, END, LABELS)
        + field(2, entry(b"audio_embedding", *odd_rows)),
        "a long length": field(1, ID, START, END, LABELS)
        + field(2, entry(b"audio_embedding", long_length, odd_rows[1])),
        "in pieces": field(1, ID, START) + EMBEDDING + field(1, END, LABELS),
        "the last one counts": field(1, entry(b"video_id", field(1, field(1, b"no"))), ID)
        + field(1, START, END, LABELS)
        + EMBEDDING,
        "more lists": field(1, ID, START, END, LABELS) + lists(b"\x01", name=b"rgb") + EMBEDDING,
    }


@pytest.mark.parametrize("how", other_wires())
def test_other_valid_encodings(path, how):
    [record] = read(path, other_wires()[how])
    same(record, RECORD)


def test_no_labels_and_few_rows(path):
    nothing = entry(b"labels", field(3))
    for context in (field(1, ID, START, END), field(1, ID, START, END, nothing)):
        for count in range(3):
            [record] = read(path, context + lists(*map(bytes, ROWS[:count])))
            same(record, Record("-0RWZT-miFs", 420.0, 430.0, (), ROWS[:count]))


REFUSED = {
    "another feature": (
        field(1, ID, START, END) + lists(b"\x01" * 128, name=b"rgb"),
        r"audio_embedding, got \['rgb'\]",
    ),
    "no feature": (field(1, ID, START, END), r"audio_embedding, got \[\]"),
    "127 bytes": (KNOWN[: -len(EMBEDDING)] + lists(bytes(127)), "expected 128 bytes .* got 127"),
    "129 bytes": (
        KNOWN[: -len(EMBEDDING)] + lists(bytes(128), bytes(129)),
        "expected 128 bytes .* got 129",
    ),
    "empty feature": (
        field(1, ID, START, END) + field(2, entry(b"audio_embedding", field(1))),
        "0",
    ),
    "no id": (field(1, START, END) + EMBEDDING, "expected one video_id, got 0"),
    "empty id": (
        field(1, entry(b"video_id", field(1, field(1))), START, END) + EMBEDDING,
        "video id, got an empty one",
    ),
    "id of another kind": (
        field(1, entry(b"video_id", field(3, field(1, b"\x01"))), START, END) + EMBEDDING,
        "expected one video_id, got 0",
    ),
    "id not UTF-8": (
        field(1, entry(b"video_id", field(1, field(1, b"\xff"))), START, END) + EMBEDDING,
        "utf-8",
    ),
    "no end": (field(1, ID, START) + EMBEDDING, "expected one end_time_seconds, got 0"),
    "two ends": (
        field(1, ID, START, entry(b"end_time_seconds", field(2, field(1, bytes(8))))) + EMBEDDING,
        "expected one end_time_seconds, got 2",
    ),
    "three bytes of float": (
        field(1, ID, START, entry(b"end_time_seconds", field(2, field(1, bytes(3))))) + EMBEDDING,
        "got 3 bytes",
    ),
    "backwards": (
        field(1, ID, entry(b"start_time_seconds", field(2, field(1, b"\x00\x00\xd8C"))))  # 432
        + field(1, END)
        + EMBEDDING,
        "got 432.0 to 430.0 s",
    ),
    "nan": (
        field(1, ID, START, entry(b"end_time_seconds", field(2, field(1, b"\x00\x00\xc0\x7f"))))
        + EMBEDDING,
        "got 420.0 to nan s",
    ),
    "negative label": (
        field(1, ID, START, END, entry(b"labels", field(3, field(1, b"\xff" * 9 + b"\x01"))))
        + EMBEDDING,
        r"labels from 0 up, got \[-1\]",
    ),
    "endless number": (b"\x0a" + b"\xff" * 11, "a number without an end"),
    "group": (b"\x0b" + KNOWN, "wire type 3"),
    "field 0": (b"\x02\x00" + KNOWN, "field 0"),
    "cut inside": (KNOWN[:-1], "field 2 of"),
    "text": (b"hello, world", "expected a SequenceExample"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(path, what):
    payload, message = REFUSED[what]
    path.write_bytes(framed(KNOWN) + framed(payload) + framed(KNOWN))
    records = read_records(path)
    same(next(records), RECORD)
    with pytest.raises(AudioError, match=message) as error:
        next(records)
    place = f"{path}: record 2 at byte {len(framed(KNOWN))}: "
    assert str(error.value).startswith(place) and error.value.source == str(path)


def test_every_flipped_bit_is_refused(path):
    whole = framed(field(1, ID, START, END, LABELS) + lists(bytes(ROWS[0])))
    path.write_bytes(whole * 2)
    with open(path, "r+b", buffering=0) as file:
        for place, byte in enumerate(whole * 2):
            begin = place // len(whole)
            for bit in range(8):
                os.pwrite(file.fileno(), bytes([byte ^ 1 << bit]), place)
                records = read_records(path)
                for _ in range(begin):
                    next(records)
                where = f"record {begin + 1} at byte {begin * len(whole)}: "
                with pytest.raises(AudioError, match=where):
                    next(records)
            os.pwrite(file.fileno(), bytes([byte]), place)
    assert len(list(read_records(path))) == 2


def test_every_truncation_is_refused(path):
    whole = framed(field(1, ID, START, END) + lists(bytes(ROWS[0])))
    path.write_bytes(whole * 3)
    for size in reversed(range(3 * len(whole))):
        os.truncate(path, size)
        records = read_records(path)
        for _ in range(size // len(whole)):
            next(records)
        if size % len(whole):
            with pytest.raises(AudioError, match=r"cut short: expected \d+ bytes .* got \d+"):
                next(records)
        else:
            assert next(records, None) is None


def test_missing_and_foreign_files(path):
    assert read(path) == []
    path.write_text("YTID, start_seconds, end_seconds, positive_labels\n")
    with pytest.raises(AudioError, match=r"record 1 at byte 0: .* not a TFRecord file: expected"):
        list(read_records(path))
    path.write_bytes(framed(KNOWN, length=1 << 63))
    with pytest.raises(
        AudioError, match="at most 16777216 bytes, got a length of 9223372036854775808"
    ):
        list(read_records(path))
    for wrong in (path.with_name("none"), path.parent):
        for reader in (read_records, read_list):
            with pytest.raises(AudioError, match=str(wrong)):
                list(reader(wrong))


def test_invalid_records_are_not_written(path):
    path.write_bytes(framed(KNOWN))
    for wrong in (
        Record("", 0.0, 1.0, (), ROWS),
        Record("id", 2.0, 1.0, (), ROWS),
        Record("id", 0.0, 1e39, (), ROWS),
        Record("id", 0.0, 1.0, (-1,), ROWS),
        Record("id", 0.0, 1.0, (), ROWS.astype(np.float32)),
        Record("id", 0.0, 1.0, (), ROWS.view(np.int8)),
        Record("id", 0.0, 1.0, (), ROWS[:, :127]),
        Record("id", 0.0, 1.0, (), np.zeros((1 << 17, 128), np.uint8)),
    ):
        with pytest.raises(AudioError, match="record 2: "):
            write_records(path, [RECORD, wrong])
    assert path.read_bytes() == framed(KNOWN)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_without_the_extra(path, monkeypatch):
    path.write_bytes(framed(KNOWN))
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    tfrecord._crc32c.cache_clear()
    with pytest.raises(SoundsearchError, match=r"pip install 'soundsearch\[audioset\]'"):
        list(read_records(path))


def test_as_tensorflow_reads_and_writes(path):
    tf = pytest.importorskip("tensorflow")
    ways = [KNOWN, *other_wires().values()]
    read(path, *ways)
    contents = [content.numpy() for content in tf.data.TFRecordDataset(str(path))]
    assert contents == ways
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            example = tf.train.SequenceExample.FromString(content)
            context, rows = example.context.feature, example.feature_lists.feature_list
            decoded = Record(
                context["video_id"].bytes_list.value[0].decode(),
                *context["start_time_seconds"].float_list.value,
                *context["end_time_seconds"].float_list.value,
                tuple(context["labels"].int64_list.value),
                np.stack(
                    [
                        tf.io.decode_raw(feature.bytes_list.value[0], tf.uint8).numpy()
                        for feature in rows["audio_embedding"].feature
                    ]
                ),
            )
            same(decoded, RECORD)
            writer.write(example.SerializeToString())
    records = list(read_records(path))
    assert len(records) == len(ways) and all(same(record, RECORD) for record in records)


def test_segment_list(tmp_path):
    path = tmp_path / "list.csv"
    rows = '-0RWZT-miFs, 420.000, 430.000, "/m/03v3yw,/m/0k4j"\r\n\nabc,0,7.5,/t/dd00088'
    path.write_text(HEADER + rows, newline="")
    assert list(read_list(path)) == [
        ListedClip("-0RWZT-miFs", 420.0, 430.0, ("/m/03v3yw", "/m/0k4j")),
        ListedClip("abc", 0.0, 7.5, ("/t/dd00088",)),
    ]
    path.write_bytes(b"")
    assert list(read_list(path)) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (b"abc, 0, 10", "got 3 fields"),
        (b"abc, 0, 10, /m/a,/m/b", "got 5 fields"),
        (b'abc, 0, 10, "/m/a', "unexpected end of data"),
        (b'abc, 0, 10, "/m/a" x', "expected"),
        (b'abc, zero, 10, "/m/a"', "zero"),
        (b'abc, 10, 0, "/m/a"', "got 10.0 to 0.0 s"),
        (b'abc, -1, 0, "/m/a"', "got -1.0 to 0.0 s"),
        (b'abc, 0, nan, "/m/a"', "to nan s"),
        (b'abc, 0, inf, "/m/a"', "to inf s"),
        (b', 0, 10, "/m/a"', "empty"),
        (b'abc, 0, 10, ""', "labels like /m/03v3yw, got ''"),
        (b'abc, 0, 10, "/m/a,,/m/b"', "labels like"),
        (b'abc, 0, 10, "Speech"', "labels like /m/03v3yw, got 'Speech'"),
        (b'\xff, 0, 10, "/m/a"', "utf-8"),
    ],
)
def test_malformed_rows(tmp_path, row, message):
    path = tmp_path / "list.csv"
    path.write_bytes(HEADER.encode() + b'good, 0, 10, "/m/a"\n' + row + b'\nx, 0, 10, "/m/a"\n')
    clips = read_list(path)
    assert next(clips).video_id == "good"
    with pytest.raises(AudioError, match=f"list.csv: line 5: .*{message}"):
        next(clips)


def test_stats(tmp_path):
    speech, *_, last = ontology().classes
    listed, records = tmp_path / "list.CSV", tmp_path / "00.tfrecord"
    labels = [f"{speech.mid},/m/none", speech.mid, "/m/none,/m/none", "/m/04rlf"]
    listed.write_text(HEADER + "".join(f'id, 0, 10, "{mids}"\n' for mids in labels))
    write_records(
        records,
        [Record("a", 0, 1, (0, 526, 527), ROWS), Record("b", 0, 1, (), ROWS)],
    )
    expected = {
        "clips": 6,
        "mean_labels": round(8 / 6, 4),
        "classes": [
            {"mid": "/m/09x0r", "name": "Speech", "clips": 3},
            {"mid": "/m/none", "name": "/m/none", "clips": 2},
            {"mid": "/m/04rlf", "name": "Music", "clips": 1},
            {"mid": last.mid, "name": last.name, "clips": 1},
            {"mid": "527", "name": "527", "clips": 1},
        ],
    }
    assert stats([listed, records]).to_dict() == expected
    assert stats([]).to_dict() == {"clips": 0, "mean_labels": 0.0, "classes": []}

    run = partial(commands.run, "audioset", "stats")
    assert json.loads(run(listed, records, "--json").stdout) == expected
    table = run(listed, records)
    assert (table.returncode, table.stderr) == (0, "")
    assert table.stdout.startswith(
        "6 clips, 1.33 labels a clip\n\n        3  /m/09x0r      Speech\n"
    )
    records.write_bytes(records.read_bytes()[:-1])
    refused = run(listed, records)
    assert refused.returncode == 1 and refused.stdout == ""
    assert refused.stderr.startswith(f"Error: {records}: record 2 at byte ")
