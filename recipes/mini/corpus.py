"""Fetch Debian packages and unpack the sounds in them, without installing anything."""

from __future__ import annotations

import concurrent.futures
import hashlib
import json
import re
import subprocess
import tarfile
from pathlib import Path

from .containers import AUDIO, CARVED, MAX_CONTAINER, ZIPS, sounds, suffix

LIST = Path(__file__).with_name("packages.txt")
MIN_BYTES = 600


def packages() -> list[str]:
    """Return the packages of the corpus, in the order of the list."""
    lines = LIST.read_text("utf-8").splitlines()
    return [line.split("#")[0].strip() for line in lines if line.split("#")[0].strip()]


def fetch(work: Path, names: list[str]) -> list[str]:
    """Download packages with apt into `work`/debs; return those that failed.

    Parameters
    ----------
    work : Path
        The scratch folder.
    names : list of str
        Package names; those already there are skipped.

    Returns
    -------
    list of str
        The names that could not be downloaded.
    """
    folder = work / "debs"
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in names:
        if not any(folder.glob(f"{name}_*.deb")):
            run = subprocess.run(["apt-get", "download", "-qq", name], cwd=folder, check=False)
            if run.returncode:
                failed.append(name)
    return failed


def licences(text: str) -> list[str]:
    """Return the short licence names in a Debian copyright file."""
    found = re.findall(r"^License:[ \t]*(\S[^\n]*)", text, re.MULTILINE)
    names = {part.strip(" ,") for line in found for part in re.split(r"\s+(?:and|or)\s+", line)}
    names = {name for name in names if 2 < len(name) < 32 and " " not in name}
    if not names:
        loose = r"GPL-?\d?|CC[- ]BY(?:-SA)?[- ]?[\d.]*|LGPL|public domain|MIT|BSD|CC0|Artistic"
        names = {match.replace(" ", "-") for match in re.findall(loose, text)}
    return sorted(names)


def unpack_one(work: Path, name: str) -> dict[str, object] | None:
    """Unpack the sounds of one package into `work`/audio/<package>.

    Parameters
    ----------
    work : Path
        The scratch folder.
    name : str
        The package.

    Returns
    -------
    dict or None
        What was found, None without the .deb. It is also kept as package.json beside the sounds:
        `sounds` there tells which path of the package each file was.
    """
    debs = sorted((work / "debs").glob(f"{name}_*.deb"))
    folder = work / "audio" / name
    record = folder / "package.json"
    if record.exists():
        return json.loads(record.read_text("utf-8"))
    if not debs:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    seen: set[str] = set()
    paths: dict[str, str] = {}
    info: dict[str, object] = {"package": name, "version": debs[0].stem.split("_")[1]}
    wanted = AUDIO | ZIPS | CARVED | {".h2drumkit", ".wad"}
    with (
        subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(debs[0])], stdout=subprocess.PIPE
        ) as pipe,
        tarfile.open(fileobj=pipe.stdout, mode="r|") as archive,
    ):
        for member in archive:
            is_copyright = member.name.endswith(f"/doc/{name}/copyright")
            if not member.isfile() or member.size > MAX_CONTAINER:
                continue
            if not is_copyright and (suffix(member.name) not in wanted or member.size < MIN_BYTES):
                continue
            stream = archive.extractfile(member)
            data = stream.read() if stream else b""
            if is_copyright:
                info["licences"] = licences(data.decode("utf-8", "replace"))
                continue
            for item, sound in sounds(member.name, data):
                digest = hashlib.sha1(sound, usedforsecurity=False).hexdigest()
                if digest not in seen and len(sound) >= MIN_BYTES:
                    seen.add(digest)
                    file = digest[:20] + suffix(item)
                    paths[file] = item.removeprefix("./")
                    (folder / file).write_bytes(sound)
    info |= {"files": len(seen), "sounds": paths}
    record.write_text(json.dumps(info, indent=1), "utf-8")
    return info


def unpack(work: Path, names: list[str], jobs: int = 2) -> None:
    """Unpack the sounds of all packages, `jobs` at a time."""
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(unpack_one, work, name): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            try:
                print("unpacked", futures[future], (future.result() or {}).get("files"), flush=True)
            except (OSError, tarfile.TarError) as error:
                print("failed", futures[future], error, flush=True)


def finish(folder: Path, source: str, sounds: dict[str, str]) -> None:
    """Mark a folder as complete and say where its sounds are from.

    Parameters
    ----------
    folder : Path
    source : str
        Stands where a package has its licences.
    sounds : dict of str to str
        What each file is: a kind of sound, who says what, which instrument.
    """
    info = {
        "package": folder.name, "licences": [source], "files": len(sounds), "sounds": sounds,
    }  # fmt: skip
    (folder / "package.json").write_text(json.dumps(info), "utf-8")
