"""Docker Engine's HTTP API, the only package that knows aiodocker and aiohttp.

There is one method for each endpoint, with options in and documents out. Each request has a
deadline and a lane, a bounded number of connections for its kind of waiting. Each failure becomes
one of :mod:`asupervisor.errors` in ``session.py`` or ``streams.py``. The probe decides whether the
engine is there; the engine that the service runs itself is here too."""
