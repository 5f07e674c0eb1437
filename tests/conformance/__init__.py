"""What the CRI asks of a runtime, held against a real one through the remote clients alone.

Without options the suite starts an engine and the service of its own. ``--cri-endpoint unix:///…``
runs it against any other CRI server on this machine that can pull from a registry on loopback."""
