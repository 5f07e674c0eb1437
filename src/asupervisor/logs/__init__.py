"""Container logs in the CRI format: a pump process that follows the engine's files, and the service
that runs it.

The pump's own modules (all but :mod:`service`) import the standard library and orjson only, so that
the process starts in a few dozen milliseconds and stays small."""
