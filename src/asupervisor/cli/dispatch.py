"""Which of the command lines is meant: the service, or a verb of the client."""

from __future__ import annotations

import sys

from asupervisor.errors import ConfigError, ServiceError

EXIT_USAGE = 2
EXIT_FAILURE = 1


def dispatch(arguments: list[str]) -> int:
    """Run what the arguments ask for and return the exit code: 0, 1 for a failure, 2 for a usage error; never a traceback for either."""
    try:
        if arguments and not arguments[0].startswith("-"):
            from asupervisor.cli.client import run_client

            return run_client(arguments)
        from asupervisor.cli.serve import serve

        return serve(arguments)
    except ConfigError as error:
        print(f"asupervisor: {error}", file=sys.stderr)
        return EXIT_USAGE
    except ServiceError as error:
        print(f"asupervisor: {error}", file=sys.stderr)
        return EXIT_FAILURE
    except KeyboardInterrupt:
        return 130
