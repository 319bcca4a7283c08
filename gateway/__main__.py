"""`spectrophone`, also `python -m gateway`: one command line, one file per command in gateway/cli."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from gateway.cli import (
    allan,
    board,
    calibrate,
    check,
    doctor,
    export,
    record,
    replay,
    run,
    safe,
    schema,
    script,
    status,
    sweep,
    web,
)
from gateway.errors import SpectrophoneError

_COMMANDS = (
    *(run, check, schema, replay, record, calibrate, sweep, allan, export, script, status, web, safe, board, doctor),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit status: 0 success, 1 failure, 2 a fault in what was given."""
    parser = argparse.ArgumentParser(
        prog="spectrophone",
        description="A photoacoustic gas sensor box: from microphone to ppm with its uncertainty.",
        epilog="example: spectrophone run --demo      help on a command: spectrophone COMMAND --help",
    )
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.register(subparsers)
    args = parser.parse_args(arguments)
    try:
        status_: int = args.run(args)
        sys.stdout.flush()
    except SpectrophoneError as error:
        print(f"spectrophone: {error}" if "\n" not in str(error) else str(error), file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status_


if __name__ == "__main__":
    sys.exit(main())
