"""The status page: from values to HTML and SVG, all of it pure but the one class that watches.

Every text goes through :mod:`~asupervisor.observability.page.html`, which escapes it: what a label,
an image or a message says stays text. The page shows no environment, command, annotation or
credential, and has nothing that changes the node."""
