"""Detection of what a file really is by its first bytes, where libsndfile does not decode it."""

from __future__ import annotations

import struct

HEAD = 4096
"""Bytes that are looked at."""
_CONVERT = "Convert it, say with `ffmpeg -i FILE -ar 16000 -ac 1 OUT.wav`"
_FETCH = "Fetch the audio again"
_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"PK\x03\x04", "a zip archive", "Unpack it"),
    (b"PK\x05\x06", "an empty zip archive", _FETCH),
    (b"\x1f\x8b", "a gzip archive", "Unpack it"),
    (b"BZh", "a bzip2 archive", "Unpack it"),
    (b"\xfd7zXZ\0", "an xz archive", "Unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "Unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive", "Unpack it"),
    (b"%PDF-", "a PDF document", _FETCH),
    (b"\x89PNG", "a PNG picture", _FETCH),
    (b"\xff\xd8\xff", "a JPEG picture", _FETCH),
    (b"GIF8", "a GIF picture", _FETCH),
    (b"\x1aE\xdf\xa3", "Matroska or WebM", _CONVERT),
    (b"0&\xb2u\x8ef\xcf\x11", "Windows Media (WMA)", _CONVERT),
    (b"#!AMR", "AMR", _CONVERT),
    (b"#!SILK", "SILK", _CONVERT),
    (b".RMF", "RealAudio", _CONVERT),
    (b"FLV\x01", "Flash video", _CONVERT),
    (b"wvpk", "WavPack", _CONVERT),
    (b"MAC ", "Monkey's Audio", _CONVERT),
    (b"ajkg", "Shorten", _CONVERT),
    (b"ADIF", "AAC", _CONVERT),
    (b"\x93NUMPY", "an array of NumPy", "Write it as audio, such as with soundfile.write"),
    (b"\x89HDF\r\n", "an HDF5 file", _FETCH),
    (b"SQLite format 3", "a database", _FETCH),
    (b"version https://git-lfs", "a git-lfs pointer", "Run `git lfs pull` in the corpus' clone"),
    (b"ID3", "MP3, or another format behind an ID3 tag, that is damaged or cut off", _FETCH),
    (b"OggS", "Ogg without Vorbis, Opus or FLAC in it, or damaged", _CONVERT),
    (b"fLaC", "FLAC that is damaged, or cut off", _FETCH),
)
_CODECS = {
    0x0000: "an unknown",
    0x0055: "an MP3",
    0x0050: "an MPEG",
    0x0160: "a Windows Media",
    0x0161: "a Windows Media",
    0x0162: "a Windows Media",
    0x00FF: "an AAC",
    0x1610: "an AAC",
    0x0022: "a TrueSpeech",
    0x0045: "a G.726",
    0x0064: "a G.726",
    0x0042: "a G.723.1",
    0x0083: "a G.729",
    0x2000: "an AC-3",
    0x674F: "a Vorbis",
}
"""Tags of WAV's format chunk, as Microsoft registered them, that libsndfile decodes not at all or not here."""
_KNOWN_TAGS = (0x0001, 0x0002, 0x0003, 0x0006, 0x0007, 0x0011, 0x0031, 0x0040, 0xFFFE)
_TEXT = frozenset(b"\t\n\r\f") | frozenset(range(0x20, 0x7F))


def content_of(head: bytes) -> tuple[str, str] | None:
    """What a file holds, and what to do; None where its first bytes do not tell, as of a damaged header.

    Args:
        head: its first :data:`HEAD` bytes
    """
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        kind = "an m4a file (AAC or ALAC)" if head[8:11] == b"M4A" else "MPEG-4 (mp4, m4a, mov)"
        return kind, _CONVERT
    for beginning, kind, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return kind, remedy
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return _of_riff(head)
    if head.startswith(b"NIST_1A"):
        packed = next((name for name in (b"shorten", b"wavpack", b"shortpack") if name in head), None)
        name = "" if packed is None else packed.decode()
        return None if packed is None else (f"NIST SPHERE, compressed by {name}", "Convert it with sph2pipe -f wav")
    if head[257:262] == b"ustar":
        return "a tar archive", "Unpack it"
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return "AAC (ADTS)", _CONVERT
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:
        return "MPEG audio (MP3) that is damaged or cut off", _FETCH
    if head and not any(head):
        return "zeros only, as an interrupted copy leaves them", _FETCH
    return _of_text(head)


def _of_riff(head: bytes) -> tuple[str, str] | None:
    if head[8:12] == b"AVI ":
        return "AVI video", _CONVERT
    if head[8:12] == b"WEBP":
        return "a WebP picture", _FETCH
    at = head.find(b"fmt ", 12)
    if head[8:12] != b"WAVE" or at < 0 or len(head) < at + 10:
        return None
    tag = struct.unpack("<H", head[at + 8 : at + 10])[0]
    if tag in _KNOWN_TAGS:
        return None
    return f"WAV with {_CODECS.get(tag, 'an unknown')} codec inside (tag 0x{tag:04X})", _CONVERT


def _of_text(head: bytes) -> tuple[str, str] | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    begin = text[:512].lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) or b"<html" in begin:
        return "a web page (HTML), such as an error or a log-in page", _FETCH
    if begin.startswith(b"<?xml"):
        return "XML", _FETCH
    if len(text) < 16 or any(byte not in _TEXT and byte < 0x80 for byte in head):
        return None
    return ("JSON", _FETCH) if begin[:1] in b"{[" else ("text", _FETCH)
