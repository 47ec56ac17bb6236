"""Lengths and formats of audio files, by their headers."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from s3prl_emotion.errors import CorpusError

# How much audio the header of an uncompressed file promises, and how much is there.
#
# WAV (``RIFF``, ``RF64``), Wave64, AIFF, AU and NIST SPHERE. Formats with frames of their own are told by decoding.

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
    empty: int  # the length of audio of no samples


_CHUNKS = {
    b"RIFF": _Chunks("<4sI", 12, 2, False, b"data", b"fmt ", 0),
    b"RF64": _Chunks("<4sI", 12, 2, False, b"data", b"fmt ", 0),
    b"FORM": _Chunks(">4sI", 12, 2, False, b"SSND", b"COMM", 8),
    b"riff": _Chunks("<16sQ", 40, 8, True, b"data", b"fmt ", 0),
}


@dataclass(frozen=True)
class Length:
    """The length of a file's audio, in bytes."""

    begin: int  # where the audio begins
    promised: int  # by the header
    rate: int  # bytes per second; 0 where it is not known
    is_open: bool  # the header does not say it: whoever wrote it was stopped, or wrote into a pipe
    field: int  # where the header says it
    form: str  # of struct, in which it does
    added: int = 0  # what it counts besides

    def absent(self, size: int) -> int:
        """How many of the promised bytes are not in a file of ``size`` bytes; 0 for at most 10 ms of audio."""
        absent = self.promised - (size - self.begin)
        return 0 if self.is_open or absent <= max(0, _TOLERANCE_S * self.rate) else absent

    def closed(self, content: bytes) -> bytes:
        """A file with the length in its header that it has."""
        there = len(content) - self.begin + self.added
        field = struct.pack(self.form, min(there, 256 ** struct.calcsize(self.form) - 1))
        return content[: self.field] + field + content[self.field + len(field) :]


def length_of(file: BinaryIO, size: int) -> Length | None:
    """What the header says of the length; None where there is none, or the format is another.

    Args:
        file: opened for reading
        size: of the file in bytes
    """
    file.seek(0)
    head = file.read(_HEADER)
    if head[:4] in _CHUNKS and (head[8:12] in (b"WAVE", b"AIFF", b"AIFC") or head[:4] == b"riff"):
        return _of_chunks(file, size, _CHUNKS[head[:4]], head[:4] == b"RIFF")
    if head[:4] == b".snd" and len(head) >= 24:
        begin, promised, _, hertz, channels = struct.unpack(">5I", head[4:24])
        is_open = promised >= _UNKNOWN_SIZE or (promised == 0 and size > begin)
        return Length(begin, promised, hertz * channels, is_open, 8, ">I")
    return _of_sphere(head) if head[:7] == b"NIST_1A" else None


def _of_chunks(file: BinaryIO, size: int, layout: _Chunks, is_short: bool) -> Length | None:
    """Where the audio begins, and how long it is said to be."""
    length_of_header = struct.calcsize(layout.header)
    form = layout.header[0] + layout.header[-1]
    position, rate, long_field, long_size = layout.begin, 0, 0, 0
    while position + length_of_header <= size:
        file.seek(position)
        name, length = struct.unpack(layout.header, file.read(length_of_header))
        added = length_of_header if layout.whole else 0
        field = position + length_of_header - struct.calcsize(form)
        if layout.data == name[:4] and layout.whole and length in (0, added):
            length = added
        length -= added
        if length < 0:
            break
        name, begin = name[:4], position + length_of_header
        if name == layout.format:
            rate = _rate(file.read(min(length, 64)), layout.format)
        if name == b"ds64" and len(block := file.read(16)) == 16:
            long_field, long_size = begin + 8, struct.unpack("<8xQ", block)[0]
        if name == layout.data:
            if long_field and length == 0xFFFFFFFF:
                form, field, length = "<Q", long_field, long_size
            is_unknown = length >= _UNKNOWN_SIZE if is_short or layout.format == b"COMM" else length >= 1 << 62
            is_empty = length <= layout.empty and _follows(file, begin + layout.empty, size, layout)
            return Length(begin, length, rate, is_unknown or is_empty, field, form, added)
        position = begin + length + -length % layout.pad
    return None


def _follows(file: BinaryIO, begin: int, size: int, layout: _Chunks) -> bool:
    """Whether audio follows an empty chunk for it, and not further chunks up to the end of the file."""
    length_of_header = struct.calcsize(layout.header)
    position = begin
    while position + length_of_header <= size:
        file.seek(position)
        name, length = struct.unpack(layout.header, file.read(length_of_header))
        if not all(0x20 <= byte < 0x7F for byte in name[:4]):
            return True
        position += length_of_header + length - (length_of_header if layout.whole else 0)
        position += -position % layout.pad
        if length < 0 or position > size + 1:
            return True
    return position < size


def _rate(block: bytes, name: bytes) -> int:
    """Bytes per second, from a chunk that describes the samples."""
    if name == b"fmt ":
        return int(struct.unpack("<I", block[8:12])[0]) if len(block) >= 16 else 0
    if len(block) < 18:
        return 0
    channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", block[:18])  # the rate has 80 bits
    hertz = mantissa >> (16383 + 63 - exponent) if 16383 <= exponent <= 16383 + 31 else 0
    return int(hertz * channels * ((bits + 7) // 8))


def _of_sphere(head: bytes) -> Length | None:
    found = dict(re.findall(rb"^(\w+) -(?:i|s\d) (\d{1,12})$", head, re.MULTILINE))
    begin = re.match(rb"NIST_1A\n *(\d{1,9})\n", head)
    names = (b"sample_count", b"channel_count", b"sample_n_bytes", b"sample_rate")
    if (
        begin is None
        or not re.search(rb"^sample_coding -s\d (pcm|ulaw|alaw)$", head, re.MULTILINE)
        or not all(name in found for name in names)
    ):
        return None
    count, channels, width, hertz = (int(found[name]) for name in names)
    return Length(int(begin.group(1)), count * channels * width, hertz * channels * width, False, 0, "")


_LFS_POINTER = b"version https://git-lfs"


class AudioError(CorpusError):
    """An audio file that cannot be used.

    Args:
        message: a complete sentence that names the file
        kind: ``missing``, ``git-lfs``, ``corrupt``, ``empty``, ``non-finite`` or ``segment``
    """

    def __init__(self, message: str, kind: str = "corrupt") -> None:
        super().__init__(message)
        self.kind = kind


def check_file(path: Path) -> Length | None:
    """Refuse what is no audio file by its first bytes. Pipes and devices are not opened: they would be waited for.

    Returns:
        what the header says of the length, where it is of an uncompressed format

    Raises:
        AudioError: naming the file
        OSError: if it cannot be opened
    """
    if not path.is_file():
        raise AudioError(f"{path}: {_what(path)}", kind="missing")
    with path.open("rb") as file:
        head = file.read(12)
        if not head:
            raise AudioError(f"{path}: the file is empty (0 bytes). Fetch it again", kind="empty")
        if head == _LFS_POINTER[:12] and (head + file.read(len(_LFS_POINTER) - 12)) == _LFS_POINTER:
            message = "a git-lfs pointer, not audio. Run `git lfs pull` in the corpus' clone to fetch the audio"
            raise AudioError(f"{path}: {message}", kind="git-lfs")
        size = path.stat().st_size
        length = length_of(file, size)
    if length is not None and (missing := length.absent(size)):
        message = f"cut off: its header promises {length.promised} bytes of audio, {missing} of them are absent"
        raise AudioError(f"{path}: {message}. Fetch the file again", kind="corrupt")
    return length


def _what(path: Path) -> str:
    if path.is_dir():
        return "is a folder, not an audio file"
    if path.is_symlink() and not path.exists():
        return "no such audio file: a link that leads nowhere"
    return "is a pipe or a device, not an audio file" if path.exists() else "no such audio file"
