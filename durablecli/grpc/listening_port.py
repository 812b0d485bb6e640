"""The port of the server: checked before grpc binds it, because grpc doesn't say why it can't."""

from __future__ import annotations

import socket
import ssl

import grpc

from durablecli.config import GrpcConfig
from durablecli.errors import ConfigError
from durablecli.serving.addresses import format_address, parse_listen


class PortProbe:
    """An address that can be bound, as numbers; raises ConfigError, with the reason, if it can't be."""

    def __init__(self, listen: str) -> None:
        self.host, port = parse_listen(listen, "grpc.listen")
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((self.host, port))
                probe.listen(1)
            except OSError as error:
                raise ConfigError(f"grpc.listen: can't listen on {listen}: {error.strerror or error}") from None
            self.address = format_address(probe.getsockname()[0], port)
        """Host and port as grpc takes them; a port of 0 is any free one."""


def load_credentials(settings: GrpcConfig) -> grpc.ServerCredentials | None:
    """Return the certificate and its key; None without. Raises ConfigError if they can't be read or don't match."""
    certificate, key = settings.certificate, settings.private_key
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "certificate" if certificate is None else "private_key"
        raise ConfigError(f"grpc.{missing} is missing: a certificate and its private key belong together")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
        with open(certificate, "rb") as chain, open(key, "rb") as private:
            return grpc.ssl_server_credentials([(private.read(), chain.read())])
    except ssl.SSLError as error:
        reason = error.reason or "they don't belong together"
        raise ConfigError(f"grpc.certificate: can't use {certificate} with {key}: {reason}") from None
    except OSError as error:
        raise ConfigError(f"grpc.certificate: can't read {certificate} or {key}: {error.strerror}") from None
