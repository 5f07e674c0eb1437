"""Container logs in the CRI format: a pump process that follows the engine's files, and the service
that runs it.

The pump's own modules (all but :mod:`service`) import, besides the standard library and orjson,
only modules that do the same, so that the process starts in a few dozen milliseconds and stays
small. A kill at any instruction neither loses nor doubles a line. A log that cannot be written
delays no other."""
