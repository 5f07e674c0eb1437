"""What ``top`` is made of: the terminal (:mod:`screen`), what is asked of the server (:mod:`look`),
and from values alone the table (:mod:`table`); a container's log (:mod:`log`)."""
