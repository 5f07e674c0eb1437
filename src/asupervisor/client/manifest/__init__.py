"""Kubernetes manifests as plans of pods: ``read_manifest``. Pure: what is read of the node is read
where the pod is started."""

from asupervisor.client.manifest.pod import read_manifest

__all__ = ["read_manifest"]
