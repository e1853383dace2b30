"""``python -m soundsearch``."""

from .cli import main

main(prog_name="soundsearch")
