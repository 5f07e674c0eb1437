"""CRI to Docker Engine and back, as pure functions: no I/O and no clock.

Requests become the engine's documents; the engine's documents become values in the CRI's terms.
What comes from the engine may hold what an image or a tenant wrote: it is read field by field, and
what is missing or of another type becomes the empty value. Whose a container is, and which of its
labels are believed, is in ``provenance.py``."""
