"""Exit codes, and the one place where an exception becomes a readable line.

This module imports nothing slow, so that Ctrl-C is handled from the first moment on.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence

from statewise._core.errors import NumericalError, StatewiseError

OK, BUG, USAGE, NUMERICAL, INTERRUPTED, BROKEN_PIPE = 0, 1, 2, 3, 130, 141


def guarded(arguments: Sequence[str] | None) -> int:
    """Run the command line; whatever happens, the user sees one line and gets an exit code, never a traceback.

    With the environment variable ``STATEWISE_DEBUG=1`` errors are raised as they are.
    """
    try:
        code = _invoke(arguments)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if code == INTERRUPTED:
        from statewise.cli.output import tell

        tell("interrupted; nothing half-written was left")
    if code == BROKEN_PIPE:
        _silence_stdout()
    return code


def _invoke(arguments: Sequence[str] | None) -> int:
    import typer

    from statewise.cli.app import app

    click_error = typer.BadParameter.mro()[
        2
    ]  # ClickException; where it can be imported from depends on typer's version
    debug = os.environ.get("STATEWISE_DEBUG", "") not in ("", "0")
    _replace_unprintable()
    try:
        with _warnings_as_lines(debug):
            given = None if arguments is None else list(arguments)
            code = typer.main.get_command(app).main(args=given, prog_name="statewise", standalone_mode=False)
        sys.stdout.flush()
        return int(code or OK)
    except typer.Abort:
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE
    except Exception as error:
        if isinstance(error, click_error):
            return _usage_error(error)
        if debug:
            raise
        return _report(error, sys.argv[1:] if arguments is None else arguments)


def _usage_error(error: Exception) -> int:
    """A mistake in the command line itself: the message, and where the help is."""
    from statewise.cli.output import complain

    context = getattr(error, "ctx", None)
    command = "statewise" if context is None else context.command_path
    message = error.format_message()  # type: ignore[attr-defined]  # every ClickException has it
    if message:  # without one, the help itself has been shown
        complain(f"{message.rstrip('.')}; see {command} --help")
    return USAGE


def _report(error: Exception, arguments: Sequence[str]) -> int:
    """Print the line that belongs to an error and return its exit code."""
    from statewise.cli.output import complain

    if isinstance(error, StatewiseError):
        complain(as_typed(str(error), arguments))
        return NUMERICAL if isinstance(error, NumericalError) else USAGE
    if isinstance(error, OSError) and error.errno is not None:
        where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        complain(f"{where}{os.strerror(error.errno)}; check the path, its permissions and the free space")
        return USAGE
    complain(
        f"{type(error).__name__}: {error} (a bug in statewise, not your mistake; to see where, run again with "
        "STATEWISE_DEBUG=1)"
    )
    return BUG


def as_typed(message: str, arguments: Sequence[str]) -> str:
    """A message of the library in the words of the command line: ``--sort`` for sort=True, ``--id`` for `id`.

    Only options of the command that was typed are replaced, since a model may have one of the same name.
    """
    from statewise.cli.app import app

    command = next((word for word in arguments if not word.startswith("-")), "")
    functions = [each.callback for each in app.registered_commands if each.callback is not None]
    known = {name for each in functions if each.__name__ == command for name in inspect.signature(each).parameters}
    options = "|".join(sorted(known)) or "(?!)"
    message = re.sub(r"\btime=False\b", "--no-time", message) if "no_time" in known else message
    return re.sub(rf"\b({options})=True\b|`({options})`", lambda match: f"--{match[1] or match[2]}", message)


@contextlib.contextmanager
def _warnings_as_lines(debug: bool) -> Iterator[None]:
    """Show a warning as one line on stderr, without the source line that Python adds."""
    from statewise.cli.output import tell

    if debug:
        yield
        return
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_args, **_kwargs: tell(f"warning: {message}")
        yield


def _replace_unprintable() -> None:
    """Let a stream that cannot print a character (an ASCII terminal, say) print '?' instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # absent where a test or a host replaced the stream


def _silence_stdout() -> None:
    """Point stdout at nothing, so that the interpreter's last flush cannot fail on the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
