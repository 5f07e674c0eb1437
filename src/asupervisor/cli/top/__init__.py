"""The parts of ``top``: the terminal (:mod:`screen`), what it asks of the server (:mod:`look`), the
table, which does no I/O (:mod:`table`), and a container's log (:mod:`log`)."""
