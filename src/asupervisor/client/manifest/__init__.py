"""Kubernetes manifests as plans of pods: ``read_manifest``. Pure: what is read of the node is read
where the pod is started."""

from asupervisor.client.manifest.documents import Manifest, read_manifest, read_one_pod

__all__ = ["Manifest", "read_manifest", "read_one_pod"]
