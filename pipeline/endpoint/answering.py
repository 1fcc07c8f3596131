"""aiohttp's reader of an answer, fed so that nothing behind a whole answer can cost it.

1. The head of an answer is read by itself, also where its body came with it. What follows a body on the connection (a
   gateway's stray bytes, an answer that comes twice) makes the parser refuse all that it was fed together with it:
   fed as it came, a small paid answer would be lost whole.
"""

from __future__ import annotations

from aiohttp.client_proto import ResponseHandler

_END = b"\r\n\r\n"


class AnswerHandler(ResponseHandler):
    """The protocol of a connection that carries one request."""

    _seen = b""
    _headed = False

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
