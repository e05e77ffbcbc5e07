"""The `runnel` command."""

from __future__ import annotations

import os
import runpy
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

import click

import runnel

_INTERRUPTED = 130
_TERMINATED = 143


class Terminated(SystemExit):
    """Raised in the main thread by SIGTERM, so that the program's `finally` blocks run and queries stop."""

    def __init__(self) -> None:
        super().__init__(_TERMINATED)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Run PySpark Structured Streaming programs on this machine, without a JVM."""


@main.command()
def version() -> None:
    """Print the versions of Runnel and of what it runs on."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    click.echo(f"runnel {runnel.__version__}")
    click.echo(f"python {sys.version.split()[0]}")
    for name in ("pyspark-client", "pyspark", "duckdb", "pyarrow"):
        try:
            click.echo(f"{name} {installed(name)}")
        except PackageNotFoundError:
            continue


def _settings(_context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{value!r} is not of the form name=value")
        settings[name.strip()] = text
    return settings


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--remote", metavar="sc://HOST:PORT", help="Run the program on a Spark Connect server instead.")
@click.option("--master", metavar="local[N]", help="How many threads the engine has; local[*] is all cores.")
@click.option(
    "--conf", "conf", multiple=True, metavar="NAME=VALUE", callback=_settings, help="A setting; may be repeated."
)
@click.argument("job", type=click.Path(exists=True, dir_okay=False))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(remote: str | None, master: str | None, conf: dict[str, str], job: str, arguments: tuple[str, ...]) -> None:
    """Run the PySpark program JOB, unmodified, with its ARGUMENTS.

    What the program sets on its builder goes before --conf and --master.
    """
    if remote is not None:
        if not remote.startswith("sc://"):
            raise click.BadParameter("the address of a Spark Connect server begins with sc://", param_hint="--remote")
        os.environ["SPARK_REMOTE"] = remote
    settings = {**({"spark.master": master} if master else {}), **conf}
    sys.exit(run_program(job, arguments, lambda: _install(remote, settings)))


def _install(remote: str | None, settings: dict[str, str]) -> None:
    if remote is None:
        runnel.install(settings)
        return
    from runnel.connect.install import import_client

    import_client()


def run_program(job: str, arguments: tuple[str, ...], prepare: Callable[[], None]) -> int:
    """Runs a script as `python job` would, after `prepare`; the exit code.

    An uncaught error prints the traceback from the program's own first line on. Ctrl-C while it waits for its queries
    ends with one line and code 130, a second one at once. SIGTERM ends it with code 143. Queries are stopped in order.
    """
    path = str(Path(job).resolve())
    sys.argv = [job, *arguments]
    sys.path[0:0] = [str(Path(path).parent)]
    usual, previous = signal.getsignal(signal.SIGINT), _handle(signal.SIGTERM, _terminate)
    try:
        prepare()
        runpy.run_path(path, run_name="__main__")
    except KeyboardInterrupt as interrupt:
        _handle(signal.SIGINT, _leave)
        if not _waits_for_a_query(interrupt.__traceback__):
            _print_program_traceback(interrupt, path)
        click.echo("Interrupted: streaming queries are being stopped.", err=True)
        return _INTERRUPTED
    except SystemExit as end:
        return _exit_code(end.code)
    except BaseException as problem:
        _print_program_traceback(problem, path)
        return 1
    finally:
        _handle(signal.SIGTERM, signal.SIG_IGN)
        _handle(signal.SIGINT, _leave)
        _stop_sessions()
        _handle(signal.SIGINT, usual)
        _handle(signal.SIGTERM, previous)
    return 0


def _stop_sessions() -> None:
    front = sys.modules.get("runnel.connect.install")
    if front is not None:
        front.stop_all()


def _terminate(_number: int, _frame: FrameType | None) -> None:
    raise Terminated


def _leave(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C while queries are being stopped: ends the process, whatever a query's thread is doing."""
    sys.stdout.flush()
    os.write(2, b"Interrupted again: a query that did not stop is left behind.\n")
    os._exit(_INTERRUPTED)


def _handle(number: signal.Signals, handler: Any) -> Any:
    """Sets a signal's handler; the one before."""
    try:
        return signal.signal(number, handler)
    except ValueError:  # not the main thread: whoever runs us there handles signals
        return signal.SIG_DFL


def _exit_code(code: Any) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    click.echo(str(code), err=True)
    return 1


def _frames(trace: TracebackType | None) -> list[TracebackType]:
    found = []
    while trace is not None:
        found.append(trace)
        trace = trace.tb_next
    return found


def _waits_for_a_query(trace: TracebackType | None) -> bool:
    waits = ("awaitTermination", "awaitAnyTermination", "processAllAvailable")
    return any(t.tb_frame.f_code.co_name in waits for t in _frames(trace))


def _print_program_traceback(problem: BaseException, path: str) -> None:
    """The traceback without the lines that started the program."""
    frames = _frames(problem.__traceback__)
    own = [t for t in frames if t.tb_frame.f_code.co_filename == path]
    if isinstance(problem, SyntaxError) and not own:
        own = [None]  # type: ignore[list-item]
    traceback.print_exception(type(problem), problem, own[0] if own else problem.__traceback__)


if __name__ == "__main__":
    main()
