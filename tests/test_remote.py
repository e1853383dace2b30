"""Sounds on servers and in buckets: found, heard, known again, gone, and what may be in the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import zipfile

import pytest
from soundsearch_ingest import sources
from soundsearch_ingest.discover import Absence, discover, expand
from support import commands
from support.sounds import noise, tone, write
from support.web import Web

import soundsearch
from soundsearch import errors

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("aiohttp")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "served"
    for name, sound in {
        "a.wav": tone(220, 1),
        "b.flac": tone(880, 2),
        "below/c d.wav": noise(1, 1),
        "below/e.wav": noise(2, 1),
    }.items():
        write(folder / name, sound)
    (folder / "notes.txt").write_text("no sound")
    return folder


@pytest.fixture
def web(folder):
    server = Web(folder)
    yield server
    server.close()


@pytest.fixture
def lib(tmp_path):
    with soundsearch.open(tmp_path / "r.lib") as library:
        yield library


def uris(lib):
    return sorted(clip.uri for clip in lib)


def test_a_folder_on_a_web_server(lib, folder, web):
    report = lib.ingest(f"{web.url}/")
    assert (report.added, report.failed, report.skipped) == (4, [], {"not audio": 1})
    names = ["a.wav", "b.flac", "below/c%20d.wav", "below/e.wav"]
    assert uris(lib) == [f"{web.url}/{name}" for name in names]
    web.fetched()
    assert lib.ingest(f"{web.url}/").unchanged == 4
    assert web.fetched() == []
    lib.ingest(folder)
    for name in ("a.wav", "b.flac"):
        assert (lib.vectors(f"{web.url}/{name}") == lib.vectors(str(folder / name))).all()
    write(folder / "a.wav", tone(330, 1.5))
    report = lib.ingest(f"{web.url}/")
    assert (report.replaced, report.unchanged) == (1, 3)
    assert web.fetched() == ["a.wav"]


def test_patterns_and_files_of_a_web_server(web):
    def found(*targets):
        urls = [f"{web.url}/{target}" for target in targets]
        return [file.uri.removeprefix(f"{web.url}/") for file in discover(expand(urls))]

    assert found("a.wav?id=5") == ["a.wav?id=5"]
    assert found("notes.txt") == ["notes.txt"]
    assert found("*.wav") == ["a.wav"]
    assert found("below/*", "below/e.wav", "below/") == ["below/c%20d.wav", "below/e.wav"]
    for missing in ("nope.wav", "*.mp3"):
        with pytest.raises(errors.AudioError, match=r"http://127.*(is not there|matches nothing)"):
            found(missing)


def test_colons_in_a_name_are_no_chain_of_addresses(lib, folder, web):
    """fsspec would take `a.wav` for it, and `b.wav` for a file here."""
    write(folder / "a.wav::b.wav", tone(1760, 1))
    named, addressed = str(folder / "a.wav::b.wav"), f"{web.url}/a.wav::b.wav"
    assert lib.ingest([named, addressed]).added == 2
    assert (lib.vectors(addressed) == lib.vectors(named)).all()


def test_what_is_cut_off_is_tried_again(lib, web):
    web.cut.add("a.wav")
    report = lib.ingest(f"{web.url}/")
    assert report.added == 3
    [failure] = report.failed
    assert failure.uri == f"{web.url}/a.wav" and "not completed" in failure.reason
    assert [f.uri for f in lib.failures()] == [f"{web.url}/a.wav"]
    web.cut.clear()
    assert lib.ingest(f"{web.url}/").added == 1 and lib.failures() == []


def test_a_file_that_is_no_sound_is_not_fetched_again(lib, folder, web):
    (folder / "bad.wav").write_text("no sound, but named so")
    assert len(lib.ingest(f"{web.url}/").failed) == 1
    web.fetched()
    assert lib.ingest(f"{web.url}/").failed_before == 1
    assert web.fetched() == []


def test_nothing_secret_is_stored_or_shown(lib, folder, web):
    web.login = "me:hunter2"
    with pytest.raises(errors.AudioError, match=r"login.*401"):
        lib.ingest(f"{web.url}/")
    with pytest.raises(errors.AudioError) as caught:
        lib.ingest(f"http://me:hunter3@{web.host}/a.wav?token=s3cret")
    assert str(caught.value).startswith(f"{web.url}/a.wav: ")
    assert "hunter" not in str(caught.value) and "s3cret" not in str(caught.value)
    signed = f"http://me:hunter2@{web.host}/a.wav?v=1&X-Amz-Signature=s3cret"
    assert lib.ingest([f"http://me:hunter2@{web.host}/below/", signed]).added == 3
    (folder / "later.wav").write_text("no sound")
    told = []
    for _ in range(2):  # signed again, it is the same
        report = lib.ingest(
            [signed.replace("s3cret", "0ther"), f"http://me:hunter2@{web.host}/later.wav"],
            on_file=lambda *what: told.append(what),
        )
        assert report.unchanged == 1
    answer = lib.query(signed)
    assert answer[0].uri == f"{web.url}/a.wav?v=1"
    label = soundsearch.label(signed)
    shown = [*uris(lib), *map(str, lib.failures()), repr(told), repr(answer), repr(label)]
    lib.close()
    kept = [path.read_bytes() for path in lib.address.rglob("*") if path.is_file()]
    for secret in ("hunter2", "s3cret", "0ther"):
        assert not any(secret in text for text in shown)
        assert not any(secret.encode() in content for content in kept)


def test_clips_of_a_web_server_are_gone_where_it_says_so(lib, folder, web):
    lib.ingest(f"{web.url}/")
    (folder / "a.wav").unlink()
    for status in (403, 500):
        web.answers["b.flac"] = status
        (folder / "b.flac").rename(folder / "moved")
        report = lib.ingest(f"{web.url}/")
        assert f"{web.url}/b.flac" not in report.missing
        (folder / "moved").rename(folder / "b.flac")
    web.answers.clear()
    assert lib.ingest(f"{web.url}/").missing == [f"{web.url}/a.wav"]
    assert lib.ingest(f"{web.url}/", prune=True).removed == 1
    (folder / "b.flac").unlink()
    (folder / "below").rename(folder / "other")
    for name in ("c d.wav", "e.wav"):
        (folder / "other" / name).unlink()
    with pytest.raises(errors.LibraryError, match=rf"{web.url}/: 3 of its 3 clips .*--prune-all"):
        lib.ingest(f"{web.url}/", prune=True)


def test_a_server_that_does_not_answer_proves_nothing(lib, folder, web):
    lib.ingest(f"{web.url}/")
    absence = Absence()
    web.close()
    assert not any(absence.is_certain(uri) for uri in uris(lib))
    with pytest.raises(errors.AudioError, match=r"cannot be read now: "):
        lib.ingest(f"{web.url}/", prune_all=True)
    assert len(lib) == 4
    with pytest.raises(errors.AudioError, match=r"nowhere\.invalid/a\.wav: cannot be read now"):
        expand(["https://nowhere.invalid/a.wav"])
    web.__init__(folder)  # for the fixture to close


def test_sounds_that_were_added_are_not_taken_for_files(lib, folder, web):
    url = f"{web.url}/called.wav"
    with open(folder / "a.wav", "rb") as file:
        lib.add(file, uri=url, tags={"mic": "AKG"})
    report = lib.ingest(folder / "a.wav", prune_all=True)
    assert (report.added, report.renamed) == (1, 0)
    lib.ingest(f"{web.url}/", prune_all=True)
    assert lib.clip(url).tags == {"mic": "AKG"}
    assert not any("called.wav" in request for request in web.requests)


def test_an_archive_on_a_server_that_sends_no_parts(lib, folder, web, tmp_path):
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        archive.write(tmp_path / "served" / "a.wav", "in/a.wav")
    with tarfile.open(folder / "x.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "served" / "b.flac", "b.flac")
    assert lib.ingest([f"{web.url}/x.zip", f"tar://*.flac::{web.url}/x.tar.gz"]).added == 2
    assert uris(lib) == [
        f"tar://b.flac::{web.url}/x.tar.gz",
        f"zip://in/a.wav::{web.url}/x.zip",
    ]
    assert lib.query(f"zip://in/a.wav::{web.url}/x.zip", k=1)[0].uri.startswith("zip://in/a.wav")


def test_what_does_not_end_is_not_copied_for_ever():
    from soundsearch_ingest.copies import copied

    with pytest.raises(OSError, match=r"goes on after 1,000 bytes; save it"):
        copied(bytes, 0, limit=1000)
    with pytest.raises(OSError, match=r"more than the 5 bytes"):
        copied(bytes, 5)
    with pytest.raises(OSError, match=r"9,223,372,036,854,775,807 bytes.*no room"):
        copied(bytes, (1 << 63) - 1)


def test_embedding_again_fetches_from_where_it_was(lib, folder, web):
    from support.stores import as_if_older

    lib.ingest([f"{web.url}/"])
    before = lib.vectors(f"{web.url}/a.wav")
    lib.close()
    as_if_older(lib.address)
    with soundsearch.open(lib.address) as old:
        assert old.reembed().added == 4
        assert (old.vectors(f"{web.url}/a.wav") == before).all()


# Buckets


@pytest.fixture(scope="module")
def s3():
    """A real S3, as far as moto goes; gives what makes a bucket."""
    server_module = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    names = {
        "AWS_ENDPOINT_URL": "http://{}:{}".format(*server.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in names.items():
            patch.setenv(name, value)
        system = fsspec.filesystem("s3")
        yield system
        type(system).clear_instance_cache()
    server.stop()


@pytest.fixture
def bucket(s3, folder, request):
    name = f"b{abs(hash(request.node.name))}"
    s3.mkdir(name)
    for path in folder.rglob("*"):
        if path.is_file():
            s3.put_file(str(path), f"{name}/sounds/{path.relative_to(folder).as_posix()}")
    return f"s3://{name}"


def test_a_bucket(lib, folder, bucket, s3):
    report = lib.ingest(f"{bucket}/sounds/")
    assert (report.added, report.failed, report.skipped) == (4, [], {"not audio": 1})
    names = ["a.wav", "b.flac", "below/c d.wav", "below/e.wav"]
    assert uris(lib) == [f"{bucket}/sounds/{name}" for name in names]
    # The same by any name, and of the same state whether it is listed or asked for.
    report = lib.ingest([bucket, f"{bucket}/sounds", f"{bucket}/sounds/**/*.wav"])
    assert (report.unchanged, report.added) == (4, 0)
    assert lib.ingest(f"{bucket}/sounds/a.wav").unchanged == 1
    # Of the same size, within the same second.
    content = bytearray((folder / "a.wav").read_bytes())
    content[-4:] = b"abcd"
    s3.pipe_file(f"{bucket}/sounds/a.wav", bytes(content))
    s3.rm_file(f"{bucket}/sounds/below/e.wav")
    report = lib.ingest(bucket)
    assert (report.replaced, report.missing) == (1, [f"{bucket}/sounds/below/e.wav"])
    assert lib.ingest(bucket, prune=True).removed == 1


def test_pruning_a_bucket_that_lost_a_folder(lib, bucket, s3):
    lib.ingest(bucket)
    s3.rm(f"{bucket}/sounds/below", recursive=True)
    assert len(lib.ingest(f"{bucket}/sounds", prune_all=True).missing) == 0
    assert len(lib) == 2
    assert not Absence().is_certain("s3://no-such-bucket-here/a.wav")


def test_members_of_an_archive_in_a_bucket(lib, folder, bucket, s3, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(folder / "a.wav", "a.wav")
        archive.write(folder / "b.flac", "b.flac")
    s3.put_file(str(tmp_path / "x.zip"), f"{bucket}/x.zip")
    assert lib.ingest(f"{bucket}/x.zip").added == 2
    assert lib.ingest(f"zip://*.wav::{bucket}/x.zip").unchanged == 1
    s3.rm_file(f"{bucket}/x.zip")
    members = [f"zip://{name}::{bucket}/x.zip" for name in ("a.wav", "b.flac")]
    assert uris(lib) == members


def test_a_bucket_without_credentials(lib, bucket, monkeypatch, s3):
    lib.ingest(f"{bucket}/sounds/a.wav")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    type(s3).clear_instance_cache()
    with pytest.raises(errors.AudioError, match=r"a\.wav: .*login.*AWS_ACCESS_KEY_ID.*FSSPEC_S3"):
        lib.ingest(f"{bucket}/sounds/a.wav")
    assert not Absence().is_certain(f"{bucket}/sounds/never.wav")
    type(s3).clear_instance_cache()
    monkeypatch.undo()
    assert Absence().is_certain(f"{bucket}/sounds/never.wav")


# What fsspec has or has not


def test_memory_is_of_one_process(lib, folder):
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/box/a.wav", (folder / "a.wav").read_bytes())
    memory.pipe_file("/box/b.flac", (folder / "b.flac").read_bytes())
    assert lib.ingest("memory://box").added == 2
    assert uris(lib) == ["memory://box/a.wav", "memory://box/b.flac"]
    script = "import sys; from soundsearch_ingest.sources import opened, stat\nstat(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", script, "memory://box/a.wav"], capture_output=True, text=True
    )
    assert "is not there" in done.stderr
    memory.rm_file("/box/a.wav")
    assert len(lib.ingest("memory://box").missing) == 1


def test_urls_that_cannot_be():
    for url, expected in {
        "gopher://host/a.wav": "expected a URL that fsspec knows, got gopher://",
        "simplecache::https://host/a.wav": "is a chain of addresses",
        "http://127.0.0.1:1/a.wav": "cannot be read now",
    }.items():
        with pytest.raises(errors.AudioError, match=expected):
            expand([url])


WITHOUT = """
import sys
from soundsearch_ingest.errors import MissingExtra
from soundsearch_ingest.discover import expand
sys.modules[sys.argv[1]] = None
try:
    expand([sys.argv[2]])
except MissingExtra as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("module", "url", "package"),
    [
        ("fsspec", "s3://b/a.wav", "'soundsearch[remote]'"),
        ("aiohttp", "https://h/a.wav", "'soundsearch[remote]'"),
        ("s3fs", "s3://b/a.wav", "s3fs"),
        ("paramiko", "sftp://h/a.wav", "paramiko"),
    ],
)
def test_a_missing_package_is_named(module, url, package):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, url], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.endswith(f"install it with: pip install {package}\n"), done.stderr


def test_local_files_need_no_fsspec(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(folder / "a.wav", "a.wav")
    script = (
        "import sys\nsys.modules['fsspec'] = None\nimport soundsearch\n"
        "with soundsearch.open(sys.argv[1]) as lib: print(lib.ingest(sys.argv[2:]).added)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path / "l", folder, tmp_path / "x.zip"],
        capture_output=True,
        text=True,
    )
    assert done.stdout == "5\n", done.stderr


def test_commands_take_urls(folder, web, tmp_path):
    def run(*arguments):
        done = commands.run(*arguments, library=tmp_path / "c.lib")
        return done.returncode, json.loads(done.stdout.splitlines()[0])

    web.cut.add("b.flac")
    code, report = run("ingest", f"{web.url}/", "--json")
    assert (code, report["added"]) == (3, 3)
    code, hit = run("query", f"{web.url}/a.wav", "--json")
    assert (code, hit["uri"]) == (0, f"{web.url}/a.wav")
    with soundsearch.open(tmp_path / "c.lib") as lib:
        assert lib.remove([f"{web.url}/below"]) == 2


def test_state_and_bytes_of_a_path_are_those_of_the_disk(folder):
    path = str(folder / "a.wav")
    file = sources.stat(path)
    assert (file.size, file.mtime_ns) == (os.stat(path).st_size, os.stat(path).st_mtime_ns)
    with sources.opened(file) as source:
        assert source is file.uri


def test_files_are_fetched_ahead_but_not_all_at_once(folder, web):
    for n in range(40):
        write(folder / "many" / f"{n:02}.wav", tone(100 + n, 0.1))
    many = list(discover([f"{web.url}/many/"]))
    files = [*many[:20], sources.stat(str(folder / "a.wav")), *many[20:]]
    web.fetched()
    begun = sources.begun(files)
    _, copy = next(begun)
    with copy.result() as first:
        assert first.read() == (folder / "many" / "00.wav").read_bytes()
    begun.close()  # and with it the copies that nobody took
    assert 1 <= len(web.fetched()) <= 17
    order = []
    for file, copy in sources.begun(files):
        order.append(file)
        if copy is not None:
            copy.result().close()
    assert order == files


def test_an_ingest_that_is_stopped_goes_on(lib, folder, web):
    for n in range(40):
        write(folder / "many" / f"{n:02}.wav", tone(100 + n, 0.1))

    def stop(_uri, _outcome):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lib.ingest(f"{web.url}/many/", on_file=stop)
    stored = len(lib)
    assert lib.ingest(f"{web.url}/many/").unchanged == stored
    assert len(lib) == 40
