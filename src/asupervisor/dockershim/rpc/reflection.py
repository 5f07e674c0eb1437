"""gRPC server reflection on the CRI socket, in both versions of the protocol: which grpcurl and
similar tools ask first.

It describes ``runtime.v1`` from the generated descriptors, ``runtime.v1alpha2`` as the same under
the other package (they are the same on the wire), gRPC health, and itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

from asupervisor.dockershim.rpc.health import health_file
from asupervisor.proto import cri

_PROTOCOLS = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
_KINDS = descriptor_pb2.FieldDescriptorProto


_MESSAGES = {
    "ExtensionRequest": ("string containing_type = 1", "int32 extension_number = 2"),
    "FileDescriptorResponse": ("repeated bytes file_descriptor_proto = 1",),
    "ExtensionNumberResponse": (
        "string base_type_name = 1",
        "repeated int32 extension_number = 2",
    ),
    "ServiceResponse": ("string name = 1",),
    "ListServiceResponse": ("repeated ServiceResponse service = 1",),
    "ErrorResponse": ("int32 error_code = 1", "string error_message = 2"),
    "ServerReflectionRequest": (
        "string host = 1",
        "string file_by_filename = 3",
        "string file_containing_symbol = 4",
        "ExtensionRequest file_containing_extension = 5",
        "string all_extension_numbers_of_type = 6",
        "string list_services = 7",
    ),
    "ServerReflectionResponse": (
        "string valid_host = 1",
        "ServerReflectionRequest original_request = 2",
        "FileDescriptorResponse file_descriptor_response = 4",
        "ExtensionNumberResponse all_extension_numbers_response = 5",
        "ListServiceResponse list_services_response = 6",
        "ErrorResponse error_response = 7",
    ),
}
"""The reflection protocol's messages, written as in its own file."""
_CHOICES = {
    "ServerReflectionRequest": ("message_request", 3),
    "ServerReflectionResponse": ("message_response", 4),
}
"""The oneof of a message, and the number of its first field."""


def _reflection_file(package: str) -> descriptor_pb2.FileDescriptorProto:
    """The reflection protocol's own description."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/reflection.proto", package=package, syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        choice, first = _CHOICES.get(name, ("", 0))
        if choice:
            message.oneof_decl.add(name=choice)
        for words in fields:
            *repeated, kind, key, _, number = words.split()
            label = _KINDS.LABEL_REPEATED if repeated else _KINDS.LABEL_OPTIONAL
            field = message.field.add(name=key, number=int(number), label=label)
            if kind in _MESSAGES:
                field.type, field.type_name = _KINDS.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = _KINDS.Type.Value(f"TYPE_{kind.upper()}")
            if choice and field.number >= first:
                field.oneof_index = 0
    service = file.service.add(name="ServerReflection")
    service.method.add(
        name="ServerReflectionInfo",
        input_type=f".{package}.ServerReflectionRequest",
        output_type=f".{package}.ServerReflectionResponse",
        client_streaming=True,
        server_streaming=True,
    )
    return file


def _alpha(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pb2.FileDescriptorProto:
    """``runtime.v1`` under the name of ``runtime.v1alpha2``."""
    renamed = descriptor_pb2.FileDescriptorProto()
    renamed.CopyFrom(file)
    renamed.name, renamed.package = "runtime/v1alpha2/api.proto", "runtime.v1alpha2"
    pending = list(renamed.message_type)
    while pending:
        message = pending.pop()
        pending.extend(message.nested_type)
        for field in message.field:
            if field.HasField("type_name"):
                field.type_name = field.type_name.replace(".runtime.v1.", ".runtime.v1alpha2.")
    for service in renamed.service:
        for method in service.method:
            method.input_type = method.input_type.replace(".runtime.v1.", ".runtime.v1alpha2.")
            method.output_type = method.output_type.replace(".runtime.v1.", ".runtime.v1alpha2.")
    return renamed


def _symbols(file: descriptor_pb2.FileDescriptorProto) -> Iterator[str]:
    """Full names of everything that a file declares and a client may ask for."""
    for service in file.service:
        yield f"{file.package}.{service.name}"
        yield from (f"{file.package}.{service.name}.{method.name}" for method in service.method)
    yield from (f"{file.package}.{enum.name}" for enum in file.enum_type)
    pending = [(file.package, message) for message in file.message_type]
    while pending:
        prefix, message = pending.pop()
        name = f"{prefix}.{message.name}"
        yield name
        yield from (f"{name}.{enum.name}" for enum in message.enum_type)
        pending.extend((name, nested) for nested in message.nested_type)


class ReflectionService(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Answers ``ServerReflectionInfo``. Its descriptors are made at the first question: most
    services are never asked.
    """

    def __init__(self) -> None:
        self._handlers = {
            f"/{protocol}.ServerReflection/ServerReflectionInfo": (
                grpc.stream_stream_rpc_method_handler(self._info(protocol))
            )
            for protocol in _PROTOCOLS
        }
        self._files: dict[str, bytes] = {}
        self._file_of: dict[str, str] = {}
        self._services: list[str] = []
        self._messages: dict[str, type[Message]] = {}

    def service(self, handler_call_details: Any) -> grpc.RpcMethodHandler | None:
        """grpc's look-up."""
        return self._handlers.get(handler_call_details.method)

    def _load(self) -> None:
        if self._files:
            return
        own = descriptor_pb2.FileDescriptorProto()
        cri.DESCRIPTOR.CopyToProto(own)
        # A pool of our own: an embedding program may have the same protocols in the default one.
        pool = descriptor_pool.DescriptorPool()
        files = [own, _alpha(own), health_file(), *map(_reflection_file, _PROTOCOLS)]
        for file in files:
            self._files[file.name] = file.SerializeToString()
            self._file_of.update((symbol, file.name) for symbol in _symbols(file))
            self._services += [f"{file.package}.{service.name}" for service in file.service]
            if file.package in _PROTOCOLS:
                pool.Add(file)
                for name in ("ServerReflectionRequest", "ServerReflectionResponse"):
                    full = f"{file.package}.{name}"
                    self._messages[full] = message_factory.GetMessageClass(
                        pool.FindMessageTypeByName(full)
                    )

    def _info(self, protocol: str) -> Any:
        async def handler(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
            self._load()
            async for content in requests:
                request: Any = self._messages[f"{protocol}.ServerReflectionRequest"].FromString(
                    content
                )
                answer: Any = self._messages[f"{protocol}.ServerReflectionResponse"](
                    valid_host=request.host, original_request=request
                )
                self._answer(request, answer)
                yield answer.SerializeToString()

        return handler

    def _answer(self, request: Any, answer: Any) -> None:
        question = request.WhichOneof("message_request")
        if question == "list_services":
            for name in sorted(self._services):
                answer.list_services_response.service.add(name=name)
            return
        file = ""
        if question == "file_by_filename":
            file = request.file_by_filename
        elif question == "file_containing_symbol":
            file = self._file_of.get(request.file_containing_symbol, "")
        if file in self._files:
            answer.file_descriptor_response.file_descriptor_proto.append(self._files[file])
            return
        answer.error_response.error_code = int(grpc.StatusCode.NOT_FOUND.value[0])
        answer.error_response.error_message = "nothing of that name is described here"
