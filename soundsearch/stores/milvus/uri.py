"""The address of a library in Milvus."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from soundsearch_ingest.files import expanded

from ...errors import LibraryError

__all__ = ["SCHEMES", "MilvusUri"]

_LITE = "milvus-lite"
SCHEMES = ("milvus", "milvuss", "https", _LITE)
_OPTIONS = ("index", "shards")
_EXPECTED = (
    "expected milvus://[token@]host[:port]/[database/]name, optionally with ?index= and &shards=, "
    "or milvus-lite:FILE.db#name; a name is made of letters, digits and _"
)
_HOST = re.compile(r"([^:\[\]/]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")


@dataclass(frozen=True, slots=True)
class MilvusUri:
    """The address of a library in Milvus; str() omits the credentials.

    Attributes
    ----------
    text : str
        The address as the user wrote it, without the token.
    address : str
        The `uri` of pymilvus: ``http://host:port``, or the path of a Milvus Lite file.
    name : str
        The prefix of the names of its collections.
    token, database : str
        Empty for none.
    index : str
        The index type to use; empty to choose one by size.
    shards : int
        The number of shards of a new library's segments.
    """

    text: str
    address: str
    name: str
    token: str = field(default="", repr=False)
    database: str = ""
    index: str = ""
    shards: int = 1

    def __str__(self) -> str:
        return self.text

    @property
    def lite(self) -> bool:
        """Whether this is a Milvus Lite file."""
        return "://" not in self.address

    @classmethod
    def parse(cls, text: str) -> MilvusUri:
        """Parse ``milvus://[token@]host[:port]/[database/]name[?index=...&shards=...]``.

        ``milvuss`` and ``https`` are encrypted. A token is ``user:password`` or a key; the default
        is ``MILVUS_TOKEN`` from the environment. The other form is ``milvus-lite:path.db[#name]``.
        """
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise LibraryError(f"{text.partition(':')[0]}: {error}; {_EXPECTED}") from None
        options = dict(parse_qsl(parts.query))
        if parts.scheme == _LITE:
            file = unquote(parts.netloc + parts.path)
            names = [parts.fragment or "sounds"]
            shown = f"{_LITE}:{file}{'#' if parts.fragment else ''}{parts.fragment}"
            # pymilvus would take a bare file name for the name of a host.
            found = {"address": str(expanded(file).absolute())}
            usable = file.endswith(".db")
        else:
            names = parts.path.strip("/").split("/")
            login, _, host_port = parts.netloc.rpartition("@")
            host = _HOST.fullmatch(host_port)
            if host is not None and host[2] is None:
                host_port += ":443" if parts.scheme == "https" else ":19530"
            shown = f"{parts.scheme}://{host_port}/{'/'.join(names)}"
            found = {
                "address": f"{'http' if parts.scheme == 'milvus' else 'https'}://{host_port}",
                "token": unquote(login) or os.environ.get("MILVUS_TOKEN", ""),
                "database": names[0] if len(names) == 2 else "",
            }
            usable = host is not None and int(host[2] or 0) < 65_536 and len(names) <= 2
        known = set(options) <= set(_OPTIONS) and options.get("shards", "1").isdecimal()
        if not (usable and known and _NAME.fullmatch(names[-1])):
            raise LibraryError(f"{shown}: {_EXPECTED}")
        shards = int(options.get("shards", 1))
        index = options.get("index", "").upper()
        return cls(shown, name=names[-1], index=index, shards=shards, **found)
