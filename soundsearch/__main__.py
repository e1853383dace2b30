"""``python -m soundsearch``."""

from .cli.main import main

main(prog_name="soundsearch")
