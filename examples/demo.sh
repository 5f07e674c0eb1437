#!/bin/sh
# Starts the service, runs examples/pod.yaml, shows its log, a command in it and its status with the project's own client, and takes
# everything down again. The image is made on the spot, so no registry is needed.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
# Not in /tmp, which may be memory, and short: the path of a socket has room for 107 bytes.
directory=$(mktemp -d /var/tmp/asv-demo-XXXXXX)
export ASUPERVISOR_ENDPOINT="unix://$directory/cri.sock"
unset CONTAINER_RUNTIME_ENDPOINT || true

asupervisor() { "$here/.venv/bin/python" -m asupervisor "$@"; }
show() {
    printf '\n$ asupervisor %s\n' "$*"
    asupervisor "$@"
}
finish() {
    code=$?
    trap - EXIT INT TERM
    if [ -n "${service:-}" ]; then
        asupervisor rm -f hello >/dev/null 2>&1 || true
        asupervisor rmi asupervisor.example/busybox:1 >/dev/null 2>&1 || true
        kill "$service" 2>/dev/null || true
        wait "$service" || code=$?
    fi
    [ "$code" = 0 ] || sed 's/^/service: /' "$directory/service.log" >&2
    # An engine of the service's own keeps its bridge and its runtime state for the next start; here there is none.
    tag=$(printf %s "$directory/root/engine" | sha256sum | cut -c1-8)
    if command -v ip >/dev/null; then ip link delete "asv$tag" 2>/dev/null || true; fi
    rm -rf "$directory" "/run/asupervisor/$tag" 2>/dev/null || true
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

"$here/examples/run.sh" --container-runtime-endpoint "$ASUPERVISOR_ENDPOINT" --root-directory "$directory/root" \
    >"$directory/service.log" 2>&1 &
service=$!
printf 'starting the service '
for _ in $(seq 150); do
    grep -q 'ready: serving' "$directory/service.log" && break
    kill -0 "$service" 2>/dev/null || exit 1
    printf .
    sleep 0.2
done
printf '\n'
grep 'ready: serving' "$directory/service.log" || exit 1

"$here/.venv/bin/python" "$here/examples/busybox_image.py" asupervisor.example/busybox:1

show info
show run -d "$here/examples/pod.yaml" --log-directory "$directory/logs"
sleep 2
show logs hello/greeter
show exec -s hello/greeter -- ps
show status hello
show stats hello
show stop hello
show logs --tail 1 hello/greeter
show rm hello
show pods
printf '\nstopping the service\n'
