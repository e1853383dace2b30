"""Tag each clip with the folder it lies in, then search within one folder.

    python examples/tag_by_folder.py LIBRARY FOLDER CLIP

FOLDER is ingested into LIBRARY. The clips nearest to CLIP are printed twice: from the whole
library, and from each folder by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path

import soundsearch


def main(library: str, folder: str, clip: str) -> None:
    with soundsearch.open(library) as lib:
        lib.ingest(folder)
        lib.tag({found.uri: {"folder": Path(found.uri).parent.name} for found in lib})
        print("everywhere:")
        show(lib.query(clip, k=3))
        for name in sorted({str(found.tags["folder"]) for found in lib}):
            print(f"in {name}:")
            show(lib.where("tag['folder'] == :name", name=name).query(clip, k=3))


def show(answer: soundsearch.Answer) -> None:
    for hit in answer:
        print(f"  {hit.score:.3f}  {hit.uri} at {hit.start:.2f} s")


if __name__ == "__main__":
    main(*sys.argv[1:])
