"""The server's certificate, read again when its files change."""

from __future__ import annotations

import logging
import os
import ssl

from asupervisor.errors import ConfigError

_log = logging.getLogger(__name__)


class ReloadingCertificate:
    """Gives the TLS context for each new connection.

    Args:
        cert_file: PEM file with the certificate and its chain.
        key_file: PEM file with its private key.
    """

    def __init__(self, cert_file: str, key_file: str) -> None:
        self._files = (cert_file, key_file)
        self._context: ssl.SSLContext | None = None
        self._seen: tuple[tuple[int, int, int], ...] | None = None

    def load(self) -> ssl.SSLContext:
        """Read the files for the first time.

        Raises:
            ConfigError: they cannot be read or do not belong together.
        """
        self._seen = self._look()
        try:
            self._context = self._read()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                f"--streaming-tls-cert-file, --streaming-tls-private-key-file: {error}"
            ) from error
        return self._context

    def current(self) -> ssl.SSLContext:
        """The context for a new connection. If the files have changed but cannot be used yet, it is
        the one before.
        """
        if self._context is None:
            return self.load()
        seen = self._look()
        if seen != self._seen:
            try:
                self._context = self._read()
                _log.info("the streaming certificate was read again")
                self._seen = seen
            except (OSError, ssl.SSLError) as error:
                # The next connection tries again: a key is often written shortly after its
                # certificate.
                _log.warning(
                    "the streaming certificate has changed and cannot be used, the one before"
                    " stays: %s",
                    error,
                )
        return self._context

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*self._files)
        context.set_alpn_protocols(["http/1.1"])
        return context

    def _look(self) -> tuple[tuple[int, int, int], ...] | None:
        try:
            stats = [os.stat(path) for path in self._files]
        except OSError:
            return None
        return tuple((one.st_mtime_ns, one.st_size, one.st_ino) for one in stats)
