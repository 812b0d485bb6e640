"""The generated messages and stubs of the protocol, as the package `durabletask` has them.

Generated code of our own beside it would register the same symbols twice, which protobuf refuses.
"""

from __future__ import annotations

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs

__all__ = ["pb", "stubs"]
