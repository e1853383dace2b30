"""``models list``, ``pull`` and ``import``: the encoders on this machine."""

from __future__ import annotations

from typing import Any

import click
from soundsearch_ingest.files import expanded

from .options import json_option
from .printing import print_installed, print_json, say

__all__ = ["models"]


@click.group()
def models() -> None:
    """List and install encoders."""


_precision_options = (
    click.option(
        "--precision",
        default="fp32",
        show_default=True,
        help="fp32; bf16 or int8, which are faster.",
    ),
    click.option(
        "--audio",
        multiple=True,
        type=click.Path(),
        help="Real sound that int8 is fitted to and checked on: files or folders.",
    ),
    click.option("--pca", type=click.Path(), help="vggish_pca_params.npz: adds its two spaces."),
)


def _with_precision(command: Any) -> Any:
    for option in reversed(_precision_options):
        command = option(command)
    return command


@models.command("pull")
@click.argument("name")
@_with_precision
def pull(name: str, **options: Any) -> None:
    """Download the encoder NAME (vggish, yamnet) from TensorFlow Hub."""
    from ..models import pull_model

    print_installed(name, pull_model(name, **_checked(options)))


@models.command("import")
@click.argument("name")
@click.argument("path", type=click.Path())
@_with_precision
def import_(name: str, path: str, **options: Any) -> None:
    """Install the encoder NAME (vggish, yamnet) from weights in PATH.

    For vggish a SavedModel folder, a TensorFlow checkpoint, .h5, .pth or .npz; for yamnet a
    SavedModel folder or .tflite.
    """
    from ..models import import_model

    print_installed(name, import_model(name, expanded(path), **_checked(options)))


def _checked(options: dict[str, Any]) -> dict[str, Any]:
    """The options of `pull` and `import` as Python wants them."""
    from ..models import PRECISIONS

    precision, audio, pca = options["precision"], options["audio"], options["pca"]
    if precision not in PRECISIONS:
        raise click.BadParameter(
            f"expected one of {', '.join(PRECISIONS)}, got {precision!r}", param_hint="--precision"
        )
    if (precision == "int8") != bool(audio):
        raise click.UsageError(
            "--precision int8 and --audio need each other: the 8-bit numbers are fitted to and "
            "checked on some of your own sound"
        )
    return {
        "precision": precision,
        "audio": [expanded(path) for path in audio],
        "pca": expanded(pca) if pca else None,
        "on_step": lambda text: say(text, err=True),
    }


@models.command("list")
@json_option
def list_(as_json: bool) -> None:
    """List the encoders, their spaces and their files."""
    from soundsearch_ingest import encoders
    from soundsearch_ingest.encoders.installation import origin

    rows: list[dict[str, Any]] = []
    for name, path in encoders.available().items():
        encoder = encoders.load(name)
        rows.append(
            {
                "name": name,
                "space": encoder.space,
                "dimension": encoder.dimension,
                "hop": encoder.hop_seconds,
                "file": str(path),
                **origin(path.parent),
            }
        )
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            line = "{name:16} {space:16} {dimension:5}-d  {hop} s  {file}".format(**row)
            say(f"{line}  ({row['precision']})" if "precision" in row else line)
