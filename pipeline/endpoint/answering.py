"""aiohttp's end of a connection: fed so that nothing behind a whole answer can cost it, and looked at before it is used
again.

1. The head of an answer is read by itself, also where its body came with it. What follows a body on the connection (a
   gateway's stray bytes, an answer that comes twice) makes the parser refuse all that it was fed together with it:
   fed as it came, a small paid answer would be lost whole.
2. A used connection carries another request only if nothing came on it since its answer and the peer has not ended it,
   by a look at the socket itself: a request that meets a dropped connection may or may not have been billed, and bytes
   that nobody asked for would be taken for its answer.
"""

from __future__ import annotations

import socket
from typing import Any

from aiohttp.client_proto import ResponseHandler

_END = b"\r\n\r\n"


class AnswerHandler(ResponseHandler):
    """The protocol of a connection."""

    _seen = b""
    _headed = False

    def set_response_params(self, **given: Any) -> None:
        """Expect an answer, from its head on."""
        self._seen, self._headed = b"", False
        super().set_response_params(**given)

    def is_connected(self) -> bool:
        """Whether a request may be sent: asked of each used connection before it is used again."""
        return super().is_connected() and not self.should_close and self._quiet()

    def _quiet(self) -> bool:
        """Whether the socket has neither bytes nor an end to tell of."""
        there = self.transport.get_extra_info("socket") if self.transport is not None else None
        if there is None:
            return False
        same = socket.socket(there.family, there.type, there.proto, fileno=there.fileno())
        try:
            same.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        finally:
            same.detach()
        return False

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on, those of the head before the others."""
        if self._headed:
            super().data_received(data)
            return
        read = self._seen + data
        end = read.find(_END)
        self._seen = read[1 - len(_END) :]
        if end < 0:
            super().data_received(data)
            return
        self._headed = True
        cut = end + len(_END) - (len(read) - len(data))
        super().data_received(data[:cut])
        if data[cut:]:
            super().data_received(data[cut:])
