"""What the decoder process is asked, as it comes over the socket."""

from __future__ import annotations

import socket

from vtloc_runtime.video.isolation.messages import REQUEST


def next_request(line: socket.socket) -> tuple[int, bytes, int | None] | None:
    """The number, the content and the descriptor of the next request; None at the end."""
    try:
        header, descriptors, _, _ = socket.recv_fds(line, REQUEST.size, 1)
        header += _exactly(line, REQUEST.size - len(header)) if header else b""
        if not header:
            return None
        number, length = REQUEST.unpack(header)
        content = _exactly(line, length)
    except (OSError, EOFError):
        return None
    return number, content, descriptors[0] if descriptors else None


def _exactly(line: socket.socket, size: int) -> bytes:
    content = bytearray(size)
    room = memoryview(content)
    while room:
        got = line.recv_into(room)
        if not got:
            raise EOFError
        room = room[got:]
    return bytes(content)
