"""Thirty faults that are put into one node on purpose: the command finds each of them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asupervisor.stats.filesystem import image_root
from tests.harness.engine import STORE, Engine

# In mount and network namespaces of its own; what is written to /run, /var/lib, /var/log and /etc
# is gone with them. Files laid over those of the kernel are what a kernel so set would say.
NODE = r"""
set -e
mount --make-rprivate /
for place in /run /var/lib /var/log /etc/systemd /etc/cni; do
    mkdir -p "$place"; mount -t tmpfs -o mode=755 none "$place"
done
says() { [ ! -e "$1" ] || { printf "$2" >"$HERE/file" && mv "$HERE/file" "$HERE/${1##*/}" \
    && mount --bind "$HERE/${1##*/}" "$1"; }; }
says /proc/sys/fs/inotify/max_user_instances '64\n'
says /proc/sys/fs/file-nr '95000\t0\t100000\n'
says /proc/filesystems 'nodev\tproc\n\text4\n'
says /proc/sys/kernel/pid_max '20\n'
says /proc/swaps 'Filename Type\n/dev/sda5 partition 100 0 -2\n'
ip link set lo up
echo 0 >/proc/sys/net/ipv4/ip_forward
ip link add flannel.1 type bridge
mkdir "$HERE/sys"; mount -t sysfs none "$HERE/sys"  # /sys shows the network that it was mounted in
mount --bind "$HERE/sys/class/net" /sys/class/net
iptables -P FORWARD DROP; iptables -A FORWARD -s 10.9.0.0/16 -j ACCEPT
mkdir -p /etc/cni/net.d /etc/systemd/system/multi-user.target.wants
echo '{"name": ' >/etc/cni/net.d/10-pods.conflist
ln -s /lib/systemd/system/cri-docker.service /etc/systemd/system/multi-user.target.wants/
mkdir -p /var/lib/dockershim/sandbox /var/lib/cri-dockerd /var/lib/kubelet /var/log/pods
echo '{}' >/var/lib/dockershim/sandbox/0123456789ab
mount -t tmpfs none /var/lib/cri-dockerd
echo '{"now": "overlay2 in /old"}' >/var/lib/cri-dockerd/engine-store
mount -o remount,ro /var/lib/cri-dockerd
mount -t tmpfs -o size=1m none "$DATA"
dd if=/dev/zero of="$DATA/layer" bs=1k count=1020 status=none
mount -t tmpfs -o size=1m none /var/lib/kubelet
mkdir /var/lib/kubelet/pki; echo damaged >/var/lib/kubelet/pki/kubelet-client-current.pem
dd if=/dev/zero of=/var/lib/kubelet/volume bs=1k count=1020 status=none
mount -t tmpfs -o nr_inodes=100 none /var/log/pods
for number in $(seq 98); do : >/var/log/pods/$number; done
echo "kind: KubeletConfiguration
cgroupDriver: $OTHER_DRIVER
resolvConf: $HERE/resolv.conf
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock" >"$HERE/kubelet.yaml"
echo 'nameserver 127.0.0.53' >"$HERE/resolv.conf"
openssl req -x509 -newkey rsa:2048 -nodes -days 5 -subj /CN=node \
    -keyout "$HERE/key" -out "$HERE/certificate" 2>/dev/null
mkdir "$HERE/plugins"
cp "$(command -v sleep)" "$HERE/cri-dockerd"; "$HERE/cri-dockerd" 600 & shim=$!
"$PYTHON" -c '
import signal, socket
gone = socket.socket(socket.AF_UNIX)
gone.bind("/run/cri-dockerd.sock")
gone.close()
taken = socket.create_server(("127.0.0.1", 9095))
print("listens", flush=True)
signal.pause()' >"$HERE/listener" & listener=$!
"$PYTHON" -m asupervisor --docker-endpoint "$ENGINE" --network-plugin no-op --nri-disable \
    --root-directory "$HERE/second" --container-runtime-endpoint "unix://$HERE/second.sock" \
    2>/dev/null & second=$!
trap 'kill $shim $listener $second; wait $second || :' EXIT
until [ -s "$HERE/listener" ] && [ -S "$HERE/second.sock" ]; do sleep 0.1; done
"$PYTHON" -m asupervisor doctor -o json --timeout 20s --kubelet-config "$HERE/kubelet.yaml" \
    --endpoint unix:///run/asupervisor.sock -- --docker-endpoint "$ENGINE" \
    --network-plugin cni --cni-bin-dir "$HERE/plugins" --metrics-bind-addr 127.0.0.1:9095 \
    --streaming-bind-addr 0.0.0.0:0 --streaming-tls-cert-file "$HERE/certificate" \
    --streaming-tls-private-key-file "$HERE/key" || [ $? = 2 ]
"""
SLOW_DRIVER = "native" if STORE == "containerd" else "vfs"
FAULTS = {
    "the service does not run": ("service", "warning", "no service answers"),
    "kubelet speaks to another runtime": ("cri-socket", "error", "kubelet speaks to unix:///run/c"),
    "a port is taken": ("ports", "error", "--metrics-bind-addr: another process listens"),
    "a certificate ends soon": ("certificate", "warning", "expires on"),
    "kubelet's certificate is damaged": ("kubelet-certificate", "error", "cannot be used"),
    "another cgroup driver than kubelet's": ("cgroup-driver", "error", "the engine uses"),
    "a slow storage driver": ("storage-driver", "warning", SLOW_DRIVER),
    "containers have no logs": ("log-driver", "error", '"none"'),
    "a restart of the engine ends pods": ("live-restore", "warning", "live-restore is off"),
    "containers were kept elsewhere": ("image-store", "error", "overlay2 in /old"),
    "the kernel has no overlay": ("overlay", "warning", "no overlay file system"),
    "packets are not forwarded": ("ip-forward", "error", "net.ipv4.ip_forward is off"),
    "few inotify instances": ("inotify", "warning", "max_user_instances is 64"),
    "no descriptors are left": ("descriptors", "error", "95000 of 100000 files are open"),
    "no process can be made": ("tables", "error", "of 20 processes and threads run"),
    "pods ask themselves for names": ("resolvers", "warning", "127.0.0.53"),
    "swap that kubelet does not take": ("swap", "error", "/dev/sda5"),
    "a network configuration that is none": ("cni", "error", "invalid JSON"),
    "there is no network plugin": ("cni-plugins", "error", "there is no plugin in "),
    "a policy that lets no pod through": ("iptables", "warning", "FORWARD is DROP"),
    "an interface of an earlier network": ("other-networks", "warning", "flannel.1 is left"),
    "no inode is left for logs": ("disk-logs", "error", "of the inodes are free"),
    "no room is left for volumes": ("disk-kubelet", "error", "(0%)"),
    "no room is left for images": ("disk-images", "error", "(0%)"),
    "the state cannot be written": ("disk-state", "error", "read-only"),
    "a second service runs": ("other-shims", "error", "another service drives this engine too"),
    "a second shim runs": ("other-shims", "error", "cri-dockerd runs too"),
    "a second shim starts at the next boot": ("other-shims", "warning", "at the next boot"),
    "a socket without a listener": ("left-behind", "warning", "cri-dockerd.sock is left"),
    "checkpoints of another shim": ("left-behind", "warning", "/var/lib/dockershim/sandbox"),
}


@pytest.fixture(scope="module")
def findings() -> Iterator[list[dict[str, Any]]]:
    """All that one run of the command says of that node."""
    here = Path(tempfile.mkdtemp(prefix="asv-", dir="/var/tmp"))
    engine = Engine(
        arguments=("--iptables=false", f"--storage-driver={SLOW_DRIVER}", "--log-driver=none")
    )
    try:
        engine.start()
        info = engine.request("GET", "/info")[1]
        environment = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HERE": str(here),
            "ENGINE": engine.endpoint,
            "DATA": image_root(info, ()),
            "PYTHON": sys.executable,
            "OTHER_DRIVER": "systemd" if info["CgroupDriver"] == "cgroupfs" else "cgroupfs",
        }
        told = subprocess.run(
            ["unshare", "-mn", "bash", "-c", NODE],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert told.returncode == 0, told.stderr
        yield json.loads(told.stdout)["checks"]
    finally:
        engine.destroy()
        shutil.rmtree(here, ignore_errors=True)


@pytest.mark.parametrize("fault", FAULTS)
def test_it_finds(findings: list[dict[str, Any]], fault: str) -> None:
    check, level, words = FAULTS[fault]
    found = [one for one in findings if one["check"] == check and words in one["message"]]
    # More than one of some: another shim may run on the machine that tests this.
    assert {one["level"] for one in found} == {level}, [
        one for one in findings if one["check"] == check
    ]
    assert found[0]["remedy"]
