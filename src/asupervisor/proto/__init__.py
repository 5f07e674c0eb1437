"""The CRI's messages: ``from asupervisor.proto import cri`` gives the generated module; ``wire.py``
joins what is encoded already.

Everything below ``runtime/``, ``nri/`` and ``ttrpc/`` is generated from ``proto/`` by ``python
proto/generate.py``; it is never edited by hand. The messages of ``runtime.v1`` serve
``runtime.v1alpha2`` too, since they are the same on the wire. NRI's are imported from
``asupervisor.proto.nri.v1alpha1`` by who needs them, since most nodes have no plugin."""

from asupervisor.proto.runtime.v1 import api_pb2 as cri

__all__ = ["cri"]
