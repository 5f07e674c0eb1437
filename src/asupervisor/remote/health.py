"""Asks any server by gRPC's health checking protocol (grpc.health.v1)."""

from __future__ import annotations

import grpc

from asupervisor.proto.wire import field

_METHOD = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"
"""A HealthCheckResponse of the status SERVING."""


async def health_failure(host: str, port: int, service: str, timeout_s: float) -> str:
    """What is wrong with a server, asked without TLS; empty if it is healthy.

    Args:
        host: its address.
        port: its port.
        service: whose health is asked for; empty for that of the whole server.
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
