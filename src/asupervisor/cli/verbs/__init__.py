"""The client's verbs, one module each: ``arguments(parser)`` declares its arguments, ``async
run(client)`` does it and returns the exit code. ``VERBS`` in ``cli/client.py`` names them.
"""
