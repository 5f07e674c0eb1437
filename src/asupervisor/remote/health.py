"""The health checking protocol of gRPC (grpc.health.v1), asked of any server."""

from __future__ import annotations

import grpc

from asupervisor.proto.wire import field

_METHOD = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
"""A HealthCheckResponse of the status SERVING."""


async def health_failure(host: str, port: int, service: str, timeout_s: float) -> str:
    """What is wrong with a server, over a connection without TLS; empty where it serves.

    Args:
        host: its address.
        port: of it.
        service: whose health; empty for the whole server's.
        timeout_s: seconds for all of it.
    """
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    async with grpc.aio.insecure_channel(
        target, options=[("grpc.enable_http_proxy", 0)]
    ) as channel:
        check = channel.unary_unary(_METHOD)
        try:
            answer = await check(field(1, service.encode()) if service else b"", timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            return f"gRPC health check of {target}: {error.code().name}"
    return "" if _SERVING in answer else f"gRPC health check of {target}: it does not serve"
