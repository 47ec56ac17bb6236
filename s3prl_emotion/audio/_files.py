"""What is wrong with an audio file before it is decoded: it is no file, no audio, or shorter than its header says."""

from __future__ import annotations

from pathlib import Path

from s3prl_emotion.audio._lengths import Length, length_of
from s3prl_emotion.errors import CorpusError

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
