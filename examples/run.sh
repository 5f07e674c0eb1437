#!/bin/sh
# Runs the service with what this machine has: an engine that is running, else one of its own; CNI where it is configured, else the
# engine's bridge; the pause image of the package, so that no registry is needed; the status page on port 9095, where that is free. Further
# flags are handed on, and win.
here=$(cd "$(dirname "$0")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin

set -- --pod-infra-container-image embedded "$@"

if "$here/.venv/bin/python" -c '
import socket
socket.create_server(("127.0.0.1", 9095)).close()' 2>/dev/null; then
    set -- --metrics-bind-addr 127.0.0.1:9095 "$@"
fi

if [ -z "$DOCKER_HOST" ] && ! "$here/.venv/bin/python" -c '
import socket
socket.socket(socket.AF_UNIX).connect("/var/run/docker.sock")' 2>/dev/null; then
    echo "no Docker Engine is running here: the service runs one of its own" >&2
    set -- --docker-endpoint managed "$@"
fi

if ls /etc/cni/net.d/*.conf /etc/cni/net.d/*.conflist /etc/cni/net.d/*.json >/dev/null 2>&1; then
    # Debian keeps the plugins elsewhere than the CNI project does.
    set -- --network-plugin cni --cni-bin-dir /opt/cni/bin,/usr/lib/cni "$@"
else
    set -- --network-plugin no-op "$@"
fi

exec "$here/.venv/bin/python" -m asupervisor "$@"
