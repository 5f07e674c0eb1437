"""Which command line it is: the service's, or that of a client's verb."""

from __future__ import annotations

import os
import sys

from asupervisor.cli.output import say
from asupervisor.errors import ConfigError, ServiceError

EXIT_USAGE = 2
EXIT_FAILURE = 1
EXIT_INTERRUPTED = 130


def dispatch(arguments: list[str]) -> int:
    """Run what the arguments ask for and return the exit code: 0, 1 for a failure, 2 for a usage
    error; never a traceback for either.
    """
    try:
        from asupervisor.cli.command import run_client, verb_first

        if (command := verb_first(arguments)) is not None:
            code = run_client(command)
            sys.stdout.flush()
            return code
        from asupervisor.cli.serve import serve

        return serve(arguments)
    except ServiceError as error:
        say(str(error))
        return EXIT_USAGE if isinstance(error, ConfigError) else EXIT_FAILURE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of our output is gone (``… | head``). Without this Python would complain again
        # when it flushes at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
