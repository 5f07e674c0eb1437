"""Every check, in the order of its lines."""

from __future__ import annotations

from asupervisor.doctor import (
    certificates,
    disk,
    engine,
    kernel,
    kubelet,
    network,
    nri,
    shims,
    sockets,
)
from asupervisor.doctor.finding import Check

CHECKS = (
    Check("service", sockets.service),
    Check("cri-socket", sockets.cri_socket),
    Check("ports", sockets.ports),
    Check("certificate", certificates.streaming),
    Check("kubelet", kubelet.configuration),
    Check("engine", engine.reachable),
    Check("engine-api", engine.version),
    Check("cgroup-driver", engine.cgroup_driver),
    Check("storage-driver", engine.storage_driver),
    Check("log-driver", engine.log_driver),
    Check("live-restore", engine.live_restore),
    Check("image-store", engine.image_store),
    Check("userns-remap", engine.user_namespaces),
    Check("oom-score", engine.oom_score),
    Check("engine-warnings", engine.engine_warnings),
    Check("nri", nri.plugins),
    Check("nri-runtime", nri.runtime),
    Check("cgroups", kernel.cgroups),
    Check("overlay", kernel.overlay),
    Check("bridge-netfilter", kernel.bridge_netfilter),
    Check("ip-forward", kernel.ip_forward),
    Check("inotify", kernel.inotify),
    Check("descriptors", kernel.descriptors),
    Check("apparmor", kernel.apparmor),
    Check("selinux", kernel.selinux),
    Check("clock", kernel.clock),
    Check("swap", kernel.swap),
    Check("cni", network.cni),
    Check("cni-plugins", network.plugins),
    Check("kubenet", network.kubenet),
    Check("iptables", network.iptables),
    Check("other-networks", network.other_networks),
    Check("disk-images", disk.images),
    Check("disk-state", disk.state),
    Check("disk-logs", disk.logs),
    Check("disk-kubelet", disk.volumes),
    Check("other-shims", shims.running),
    Check("left-behind", shims.left),
)
"""docs/doctor.md has a line for each."""
