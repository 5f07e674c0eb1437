"""The CRI's messages: ``from asupervisor.proto import cri`` gives the generated module.

Everything below ``runtime/`` is generated from ``proto/runtime/v1/api.proto`` by ``python
proto/generate.py``; never edit it."""

from asupervisor.proto.runtime.v1 import api_pb2 as cri

__all__ = ["cri"]
