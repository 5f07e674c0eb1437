"""Container logs in the CRI format: a pump process that follows the engine's files, and the service that runs it.

The pump's own modules (:mod:`pump`, :mod:`follower`, :mod:`source`, :mod:`target`, :mod:`position`, :mod:`lines`,
:mod:`watch`, :mod:`stream`) import the standard library and orjson only, so that the process starts in a few dozen milliseconds and
stays small.
"""
