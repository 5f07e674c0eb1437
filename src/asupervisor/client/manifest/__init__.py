"""Kubernetes manifests as plans of pods: ``read_manifest``. Reading one does no I/O; the node is
looked at only when the pod is started."""

from asupervisor.client.manifest.documents import Manifest, read_manifest, read_one_pod

__all__ = ["Manifest", "read_manifest", "read_one_pod"]
