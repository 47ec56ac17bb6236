"""How much audio the header of an uncompressed file promises, and how much is there.

WAV (``RIFF``, ``RF64``), Wave64, AIFF, AU and NIST SPHERE. Formats with frames of their own are told by decoding.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

_UNKNOWN_SIZE = 0x7FFF0000  # writers that stream put a size from here upwards where the length is not known yet
_TOLERANCE_S = 0.01
_HEADER = 4096  # bytes of a SPHERE header that are looked at


@dataclass(frozen=True)
class _Chunks:
    """How a format lays out its chunks."""

    header: str  # of struct: name and length
    begin: int  # where the first chunk is
    pad: int  # chunks begin at multiples of it
    whole: bool  # the length counts the header too
    data: bytes
    format: bytes


_CHUNKS = {
    b"RIFF": _Chunks("<4sI", 12, 2, False, b"data", b"fmt "),
    b"RF64": _Chunks("<4sI", 12, 2, False, b"data", b"fmt "),
    b"FORM": _Chunks(">4sI", 12, 2, False, b"SSND", b"COMM"),
    b"riff": _Chunks("<16sQ", 40, 8, True, b"data", b"fmt "),
}


def absent_bytes(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """How many bytes of audio the header promises, and how many of them are not there.

    Args:
        file: opened for reading
        size: of the file in bytes

    Returns:
        None where at most 10 ms are absent, the length is not known, or the format is another
    """
    file.seek(0)
    head = file.read(_HEADER)
    if head[:4] in _CHUNKS and (head[8:12] in (b"WAVE", b"AIFF", b"AIFC") or head[:4] == b"riff"):
        begin, promised, rate = _of_chunks(file, size, _CHUNKS[head[:4]])
    elif head[:4] == b".snd" and len(head) >= 24:
        begin, promised, _, hertz, channels = struct.unpack(">5I", head[4:24])
        rate = hertz * channels
    elif head[:7] == b"NIST_1A":
        begin, promised, rate = _of_sphere(head)
    else:
        return None
    absent = promised - (size - begin)
    is_known = promised < _UNKNOWN_SIZE or head[:4] in (b"RF64", b"riff")
    return (promised, absent) if is_known and absent > max(0, _TOLERANCE_S * rate) else None


def _of_chunks(file: BinaryIO, size: int, layout: _Chunks) -> tuple[int, int, int]:
    """Where the audio begins, its length in bytes, and bytes per second; 0, 0, 0 if there is none."""
    length_of_header = struct.calcsize(layout.header)
    position, rate, long_size = layout.begin, 0, 0
    while position + length_of_header <= size:
        file.seek(position)
        name, length = struct.unpack(layout.header, file.read(length_of_header))
        if layout.whole:
            length -= length_of_header
        if length < 0:
            break
        name, begin = name[:4], position + length_of_header
        if name == layout.format:
            rate = _rate(file.read(min(length, 64)), layout.format)
        if name == b"ds64" and len(block := file.read(16)) == 16:
            long_size = struct.unpack("<8xQ", block)[0]
        if name == layout.data:
            return begin, long_size if long_size and length == 0xFFFFFFFF else length, rate
        position = begin + length + -length % layout.pad
    return 0, 0, 0


def _rate(block: bytes, name: bytes) -> int:
    """Bytes per second, from a chunk that describes the samples."""
    if name == b"fmt ":
        return int(struct.unpack("<I", block[8:12])[0]) if len(block) >= 16 else 0
    if len(block) < 18:
        return 0
    channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", block[:18])  # the rate has 80 bits
    hertz = mantissa >> (16383 + 63 - exponent) if 16383 <= exponent <= 16383 + 31 else 0
    return int(hertz * channels * ((bits + 7) // 8))


def _of_sphere(head: bytes) -> tuple[int, int, int]:
    found = dict(re.findall(rb"^(\w+) -(?:i|s\d) (\d{1,12})$", head, re.MULTILINE))
    begin = re.match(rb"NIST_1A\n *(\d{1,9})\n", head)
    names = (b"sample_count", b"channel_count", b"sample_n_bytes", b"sample_rate")
    if (
        begin is None
        or not re.search(rb"^sample_coding -s\d (pcm|ulaw|alaw)$", head, re.MULTILINE)
        or not all(name in found for name in names)
    ):
        return 0, 0, 0
    count, channels, width, hertz = (int(found[name]) for name in names)
    return int(begin.group(1)), count * channels * width, hertz * channels * width
