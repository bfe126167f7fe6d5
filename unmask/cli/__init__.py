"""The command line: `unmask COMMAND ...`, which cyclopts makes from one typed function a command.

A command's module has a function of the same name, or one for each of its parts: its parameters are
the arguments, their types say what is accepted, and its docstring is the help. The functions import
what they need when they are called, so that help and refusals are there at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from unmask._version import __version__
from unmask.cli.quiet import silence_tensorflow
from unmask.errors import UnmaskError

_COMMANDS = (
    "run", "serve", "demo", "train", "pack", "compare", "synthesize", "annotate", "label",
    "labelme", "export", "weights", "info",
)  # fmt: skip
_GROUPS = {
    "evaluate": (
        "Measure a stage or the whole pipeline.",
        ("pipeline", "segmentation", "landmarks", "gender", "inpainting", "parsing"),
    ),
    "tune": ("Search the hyper-parameters of a stage.", ("gender",)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: The arguments without the program's name; those of the process when None.

    Returns:
        The exit status: 0 for success, 1 when some of the files failed (the others are done),
        2 when nothing could be done, 130 after Ctrl-C, 141 when nobody reads the output any more.

    Example:
        >>> main(["weights", "path"])  # doctest: +SKIP
        /usr/lib/python3/site-packages/unmask/_weights
        0
    """
    silence_tensorflow()
    try:
        status = _run(sys.argv[1:] if argv is None else list(argv))
        sys.stdout.flush()
    except (CycloptsError, UnmaskError) as error:
        return _failed(str(error))
    except ModuleNotFoundError as error:  # what `UNMASK_TENSORFLOW=none` leaves out
        if (error.name or "").startswith("unmask"):  # a mistake of ours
            raise
        return _failed(f"needs {error.name}, which is not installed")
    except BrokenPipeError:
        # The interpreter flushes once more at its end, and would complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _failed(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        status = _failed("interrupted", 130)
        if argv is None:  # nobody waits for what this process's threads and workers have begun
            sys.stderr.flush()
            os._exit(status)
    finally:
        # What a training that failed leaves to TensorFlow must go while threads run, see `train`.
        if "tensorflow" in sys.modules:
            gc.collect()
    return status


def build_app() -> App:
    """Return the program."""
    app = App(
        name="unmask",
        help="Complete the part of a face that a mask hides, with what is plausible there.",
        version=f"unmask {__version__}",
        # `--data A B C`, at least one; no `--no-...` beside flags that are off by default.
        default_parameter=Parameter(consume_multiple=1, negative=()),
    )
    app.register_install_completion_command()
    for name in _COMMANDS:
        app.command(_function(name, name), name=name)
    for group, (text, names) in _GROUPS.items():
        parts = App(name=group, help=text)
        for name in names:
            parts.command(_function(group, name), name=name)
        app.command(parts)
    return app


def _function(module: str, name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(importlib.import_module(f"unmask.cli.{module}"), name)
    return function


def _run(words: list[str]) -> int:
    app = build_app()
    # A lone "-" means a stream; cyclopts takes it for an option. As paths both are the same.
    words = ["./-" if word == "-" else word for word in words]
    command, bound, _ = app.parse_args(words, print_error=False, exit_on_error=False)
    # What cyclopts does without a command is to explain itself, and that is success.
    if command == app.help_print and not {*app.help_flags} & {*words}:
        raise UnmaskError(f"a command is missing; see `{' '.join(['unmask', *words, '--help'])}`")
    return int(command(*bound.args, **bound.kwargs) or 0)


def _failed(message: str, status: int = 2) -> int:
    print("unmask:", *message.splitlines(), file=sys.stderr)
    return status
