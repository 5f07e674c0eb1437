"""The status page: makes HTML and SVG of values. Only :mod:`live` does more than that: it has the
page made while clients watch it.

Every text goes through :mod:`~asupervisor.observability.page.html`, which escapes it, so that a
label, an image or a message is always shown as text. The page shows no environment, command,
annotation or credential, and has nothing that changes the node."""
