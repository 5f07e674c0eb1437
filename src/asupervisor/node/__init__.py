"""What runs on the node, in memory, kept in step with Docker Engine.

An event says that an object changed; the object is then read again, and a record is built from its
document in ``build.py`` or ``build_image.py`` and nowhere else. Records are replaced and never
changed, and carry their encoded CRI form. What was not read is unknown and is not taken for absent.
A change is in memory before the call that made it returns. Whose a container is, is decided here
(``ownership.py``)."""
