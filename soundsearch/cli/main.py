"""The command group: finds commands, turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..errors import ArgumentError, SoundsearchError
from .options import EXIT_ERROR, EXIT_INTERRUPTED, EXIT_USAGE
from .printing import say, shown

__all__ = ["main"]

# Command -> the module here that holds it, and what `soundsearch --help` says of it: only what is
# called is imported.
_COMMANDS = {
    "audioset": ("audioset", "Look into AudioSet's lists and features."),
    "check": ("ingesting", "Look for damage in what is stored."),
    "clips": ("looking", "List the clips with their labels and tags."),
    "copy": ("ingesting", "Copy the library to another folder or to Milvus."),
    "correct": ("correcting", "Say what is heard in clips, or is not."),
    "demo": ("demo", "Make some sounds, ingest them and search them."),
    "describe": ("describing", "Say what a sound is made of, in words."),
    "duplicates": ("duplicates", "Find clips that are the same sound."),
    "evaluate": ("evaluating", "Measure how well clips of one class find each other."),
    "export": ("exporting", "Write clips, labels, tags and vectors to a file."),
    "failures": ("looking", "List the files that could not be ingested, and why."),
    "head": ("head", "Use a head of your own for a library's labels."),
    "info": ("looking", "Show what the library holds and how it was made."),
    "ingest": ("ingesting", "Add files, folders or patterns, or update them."),
    "label": ("asking", "Predict the labels of a sound."),
    "map": ("mapping", "Draw the clips as a map, near where they sound alike."),
    "models": ("models", "List and install encoders."),
    "neighbours": ("neighbours", "Find the clips nearest to each clip."),
    "query": ("asking", "Find the clips nearest to a sound."),
    "rebuild": ("ingesting", "Build the index again and free unused space."),
    "recommend": ("recommending", "Recommend clips to someone who likes some."),
    "relabel": ("relabelling", "Make labels agree with the AudioSet ontology."),
    "remove": ("ingesting", "Take clips out of the library; the files stay."),
    "serve": ("serving", "Serve the library to programs, by HTTP."),
    "similar": ("asking", "Find the clips nearest to those of the library."),
    "tag": ("ingesting", "Attach tags from a file to clips."),
    "teach": ("teaching", "Teach a head one class by answering what it asks."),
    "train": ("training", "Train a head that knows classes of your own."),
}

# What newer versions of click raise where a group is called alone: its message is the help.
_HELP = getattr(click.exceptions, "NoArgsIsHelpError", ())


class _Commands(click.Group):
    """Imports a command when it is called; shows an error as one message."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*_COMMANDS, *self.commands})

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.commands and name in _COMMANDS:
            module = import_module(f".{_COMMANDS[name][0]}", __package__)
            self.add_command(getattr(module, name))
        return super().get_command(ctx, name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help) for name, (_, help) in sorted(_COMMANDS.items())])

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.ClickException as error:
            raise _shown(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        debug = ctx.params.get("debug", False)
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            raise _shown(error) from None
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except BaseException as error:
            if _interrupted(error):
                say(
                    "Stopped. Nothing that was stored is lost; run the same command again.",
                    err=True,
                )
                ctx.exit(EXIT_INTERRUPTED)
            if not isinstance(error, Exception):
                raise
            if debug:
                import traceback

                for line in traceback.format_exc().splitlines():
                    say(line, err=True)
            else:
                say(f"Error: {_message(error)}", err=True)
            ctx.exit(EXIT_USAGE if isinstance(error, ArgumentError) else EXIT_ERROR)


def _shown(error: click.ClickException) -> click.ClickException:
    """The same, with what was typed shown as `say` would."""
    if not isinstance(error, _HELP):
        error.message = shown(error.message)  # type: ignore[misc, unused-ignore]
    return error


def _message(error: Exception) -> str:
    message = str(error)
    if isinstance(error, SoundsearchError):
        return message
    if isinstance(error, OSError) and error.strerror:  # of a file that no library holds
        names = (error.filename, error.filename2)
        files = [os.fsdecode(name) for name in names if isinstance(name, (str, bytes))]
        where = f"{' and '.join(files)}: " if files else ""
        return f"{where}{error.strerror}; remove the cause, then run the same command again"
    if isinstance(error, MemoryError):
        return "there is not enough memory; free some, then run the same command again"
    return (
        f"{type(error).__name__}: {message} (this is a bug in soundsearch; "
        "`soundsearch --debug ...` shows where)"
    )


def _interrupted(error: BaseException | None) -> bool:
    """Whether a Ctrl-C led to an error: one between two steps of a lock ends as another error."""
    return error is not None and (
        isinstance(error, KeyboardInterrupt) or _interrupted(error.__context__)
    )


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def main(debug: bool) -> None:
    """Search sounds by sound."""
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _raise_interrupts
    if not debug:
        _silence_c_libraries()
    if sys.stdout is None:  # closed, which is no error for what need not be read
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for as long as the process runs
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a name that the terminal cannot show is escaped
            stream.reconfigure(errors="backslashreplace")


def _raise_interrupts(unraisable: sys.UnraisableHookArgs) -> None:
    """Let a Ctrl-C that fell into a finalizer, where Python drops it, count all the same."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        import _thread
        import threading

        # Not at once: what is raised before this function ends is dropped too.
        threading.Timer(0.05, _thread.interrupt_main).start()
    else:
        sys.__unraisablehook__(unraisable)


def _silence_c_libraries() -> None:
    """Keep what C libraries write to descriptor 2 off the terminal; Python's own output stays.

    libmpg123 remarks on every odd frame of a damaged MP3 there, in the middle of a progress bar.
    """
    try:
        if sys.stderr.fileno() != 2:
            return
    except (AttributeError, OSError, ValueError):
        return
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    sys.stderr = open(kept, "w", buffering=1)  # noqa: SIM115 - for as long as the process runs
