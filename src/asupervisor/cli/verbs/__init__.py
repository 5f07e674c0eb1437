"""The client's verbs, one module each: ``arguments(parser)`` declares its arguments, ``async
run(client, options)`` does the work and returns the exit code. ``VERBS`` in ``cli/command.py``
lists them.
"""
