"""The node service between Kubernetes and Docker."""

__version__ = "0.1.0"
