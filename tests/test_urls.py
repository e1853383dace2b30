"""Names of sounds that are no paths, and what is secret in them."""

from __future__ import annotations

import os

import pytest
from soundsearch_ingest.urls import (
    absolute,
    archive_kind,
    basename,
    folder,
    is_remote,
    is_url,
    plain,
    redacted,
    split,
    suffix,
)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:pass word@host/a.wav", "https://host/a.wav"),
        ("https://token@host:8080/a.wav?id=5", "https://host:8080/a.wav?id=5"),
        ("HTTPS://me:pw@host/@a.wav", "HTTPS://host/@a.wav"),
        ("sftp://me:pw@host/a.wav", "sftp://me@host/a.wav"),
        ("abfs://box@account.example.net/a.wav", "abfs://box@account.example.net/a.wav"),
        ("s3://bucket/what?.wav", "s3://bucket/what?.wav"),
        (
            "https://b.example.net/a.wav?X-Amz-Algorithm=AWS4&id=5&X-Amz-Signature=ab&%58-amz-date=1",
            "https://b.example.net/a.wav?id=5",
        ),
        ("https://h/a.wav?sv=2024&se=2030&sr=b&sp=r&sig=abc%3D", "https://h/a.wav"),
        ("https://h/a.wav?sp=mono&se=no", "https://h/a.wav?sp=mono&se=no"),
        ("https://h/a.wav?access_token=abc", "https://h/a.wav"),
        ("https://h/a.wav?x=%2F&y=a+b&", "https://h/a.wav?x=%2F&y=a+b&"),
        ("zip://a.wav::https://me:pw@host/a.zip?sig=x", "zip://a.wav::https://host/a.zip"),
        ("zip://a.wav::/data/me:pw@x/a.zip", "zip://a.wav::/data/me:pw@x/a.zip"),
        ("/data/https://me:pw@x", "/data/https://me:pw@x"),
        ("simplecache::s3://KEY:pass word@b/a.wav", "simplecache::s3://KEY@b/a.wav"),
        ("filecache::zip://a.wav::s3://me:pw@b/z", "filecache::zip://a.wav::s3://me@b/z"),
        ("simplecache::https://me:pw@h/a.wav?sig=x", "simplecache::https://h/a.wav"),
        ("http://me:pw@[::1]:80/a.wav?x=::b&sig=x", "http://[::1]:80/a.wav?x=::b"),
    ],
)
def test_what_is_secret_is_taken_away(url, shown):
    assert plain(url) == shown
    assert plain(shown) == shown
    told = redacted(f"401, url='{url}': refused", url)
    for secret in ("pass word", "token@", ":pw@", "abc", "=ab", "sig="):
        assert secret not in told or secret in shown


def test_messages_are_redacted_however_a_library_writes_the_url():
    url = "https://me:hunter%32@host/a.wav?X-Amz-Signature=abc%2Fdef"
    text = "no answer of https://me:hunter2@host/a.wav?X-Amz-Signature=abc/def"
    assert "hunter" not in redacted(text, url) and "abc/def" not in redacted(text, url)


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("zip://a/b.wav::/x.zip", ("zip", "a/b.wav", "/x.zip")),
        ("tar://./a.wav::s3://b/x.tar", ("tar", "./a.wav", "s3://b/x.tar")),
        ("zip://::/x.zip", ("zip", "", "/x.zip")),
        ("zip:///abs.wav::/x.zip", ("zip", "/abs.wav", "/x.zip")),
        ("zip://x.zip", None),
        ("rar://a::/x.rar", None),
        ("/zip://a::/x.zip", None),
        ("https://h/a::b", None),
    ],
)
def test_members(uri, parts):
    assert split(uri) == parts


def test_what_a_name_tells():
    zipped, hosted = "zip://a/b.WAV::/d/x.zip", "tar://b.wav::https://h/x.tar?v=1.2"
    assert (suffix(zipped), basename(zipped), folder(zipped)) == (
        ".wav",
        "b.WAV",
        "zip://a::/d/x.zip",
    )
    assert suffix("https://h/a.Mp3?size=1.5#t=1.0") == ".mp3"
    assert (suffix("/d/a.b/c"), folder("s3://b/f/a.wav")) == ("", "s3://b/f")
    assert [is_remote(uri) for uri in (zipped, hosted, "s3://b/a", "/a")] == [
        False,
        True,
        True,
        False,
    ]
    assert not is_url("C://Sounds" if os.name == "nt" else "/a://b") and not is_url("track:1")
    kinds = {
        "/x.ZIP": "zip",
        "/x.tar.gz": "tar",
        "s3://b/x.tgz": "tar",
        "https://h/x.zip?v=1": "zip",
    }
    assert {uri: archive_kind(uri) for uri in kinds} == kinds
    assert {archive_kind(uri) for uri in ("/x.gz", "/zip", "/a.wav", zipped)} == {None}


def test_relative_names_become_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    assert absolute("zip://a.wav::x.zip") == f"zip://a.wav::{tmp_path}/x.zip"
    assert absolute("../a.wav", "/data/lists") == "/data/a.wav"
    assert absolute("~/a.wav", "/data") == "/home/me/a.wav"
    assert absolute("file:///data/b%20c.wav") == "/data/b c.wav"
    for url in ("https://h/../a.wav", "s3://b//a.wav", "zip://a::s3://b/x.zip"):
        assert absolute(url, "/data") == url
