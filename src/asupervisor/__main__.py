"""``python -m asupervisor`` and ``asupervisor``: the only place that ends the process."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # ``python -m`` puts the working directory first, ``python FILE`` the file's: what lies there is
    # not ours, and must not be taken for a module when the service is started as root. Before any
    # import that is not part of the interpreter, __future__ among them.
    del sys.path[0]

import contextlib
import os


def main() -> None:
    """Run the service or a client verb, and exit with its code."""
    # Read by grpc when it is first imported. The listener of its event engine costs a Python server
    # a third of its rate, and its fork handlers slow the start of every CNI plugin. A value that
    # the operator has set wins.
    os.environ.setdefault("GRPC_EXPERIMENTS", "-event_engine_listener")
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    from asupervisor.cli.command import verb_first
    from asupervisor.cli.dispatch import dispatch

    code = dispatch(sys.argv[1:])
    if verb_first(sys.argv[1:]) is None:
        sys.exit(code)
    # A verb has closed everything by now. If the interpreter took down the libraries as well, that
    # would be a fifth of the verb's time.
    with contextlib.suppress(OSError):  # nobody reads it any more
        sys.stdout.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
