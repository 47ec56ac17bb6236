"""Shims for what S3PRL 0.4.18 needs and current libraries no longer have.

Each shim looks for the missing feature itself, never at a version number, and touches only what is missing: on a stack
where S3PRL works by itself :func:`apply` changes nothing but the two speed-ups at the end. No file of s3prl is edited.
The documentation lists every shim with the first line of its docstring; ``s3prl-emotion ls shims`` says which ones were
needed here.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import logging
import sys
import types
import warnings
import wave
from typing import Any, NoReturn

from s3prl_emotion.errors import RunError

logger = logging.getLogger(__name__)

_applied: list[str] | None = None


def apply() -> list[str]:
    """Apply every shim that is needed; the second call does nothing.

    Returns:
        the names of the shims that were needed, in the order of :data:`SHIMS`

    Raises:
        RunError: if torchaudio cannot be loaded beside the installed torch
    """
    global _applied
    if _applied is None:
        _import_torchaudio()
        _applied = [shim.__name__.lstrip("_") for shim in SHIMS if shim()]
        logger.debug("shims in use: %s", ", ".join(_applied))
    return list(_applied)


def _import_torchaudio() -> Any:
    try:
        import torchaudio
    except (ImportError, OSError) as error:
        import torch

        raise RunError(
            f"torchaudio does not load beside torch {torch.__version__}: {error}\n"
            "Install a matching pair of the same build, for example: pip install torch==2.11.0 torchaudio==2.11.0 "
            "(the plain builds also run on a CPU; a CPU-only torch cannot load torchaudio's extension)"
        ) from error
    return torchaudio


def _set_audio_backend() -> bool:
    """``torchaudio.set_audio_backend`` went in torchaudio 2.9; three modules call it at import. No-op."""
    torchaudio = _import_torchaudio()
    if hasattr(torchaudio, "set_audio_backend"):
        return False
    torchaudio.set_audio_backend = lambda backend=None: None
    return True


def _sox_effects() -> bool:
    """``torchaudio.sox_effects`` went in torchaudio 2.9; ``mos_prediction`` and some downstreams import it by name."""
    torchaudio = _import_torchaudio()
    try:
        importlib.import_module("torchaudio.sox_effects")
        return False
    except ImportError:
        pass
    module = types.ModuleType("torchaudio.sox_effects", "Placeholder: torchaudio has no sox effects any more.")
    for name in ("apply_effects_tensor", "apply_effects_file"):
        setattr(
            module,
            name,
            _missing(f"torchaudio.sox_effects.{name}", "torchaudio 2.8 is the last release with sox effects"),
        )
    sys.modules["torchaudio.sox_effects"] = module
    torchaudio.sox_effects = module
    return True


def _audio_loading() -> bool:
    """``torchaudio.load`` needs torchcodec and FFmpeg since 2.9: where it cannot read a WAV, soundfile does."""
    torchaudio = _import_torchaudio()
    probe = io.BytesIO()
    with wave.open(probe, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16000)
        writer.writeframes(b"\0\0" * 16)
    probe.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torchaudio.load(probe)
        return False
    except (
        ImportError,
        OSError,
        RuntimeError,
        AttributeError,
    ) as error:  # codec package, FFmpeg, backend, function gone
        logger.debug("torchaudio.load cannot read a WAV file here (%s): soundfile is used", error)
    torchaudio.load = _load_with_soundfile
    return True


def _load_with_soundfile(
    uri: Any, frame_offset: int = 0, num_frames: int = -1, normalize: bool = True, channels_first: bool = True, **_: Any
) -> tuple[Any, int]:
    """``torchaudio.load`` by soundfile: a float32 tensor (channels, samples) in [-1, 1] and the sampling rate in Hz."""
    import soundfile
    import torch

    samples, rate = soundfile.read(uri, start=frame_offset, frames=num_frames, dtype="float32", always_2d=True)
    tensor = torch.from_numpy(samples)
    return (tensor.t().contiguous() if channels_first else tensor), rate


def _huggingface_hub_names() -> bool:
    """``HfFolder`` and ``Repository`` went in huggingface_hub 1.0; ``run_downstream`` and the Runner import them."""
    import huggingface_hub

    needed = False
    for name in ("HfFolder", "Repository"):
        try:
            getattr(huggingface_hub, name)
        except AttributeError:
            reason = "S3PRL's own upload uses an interface that huggingface_hub 1.0 removed"
            placeholder = type(name, (), {"__init__": _missing(f"huggingface_hub.{name}", reason)})
            for method in ("get_token", "save_token"):
                setattr(placeholder, method, staticmethod(_missing(f"huggingface_hub.{name}.{method}", reason)))
            setattr(huggingface_hub, name, placeholder)
            needed = True
    return needed


def _checkpoint_namespace() -> bool:
    """``torch.load`` reads tensors and plain values only since torch 2.6; S3PRL's checkpoints hold a Namespace."""
    import torch

    if not hasattr(torch.serialization, "add_safe_globals"):
        return False
    torch.serialization.add_safe_globals([argparse.Namespace])
    return True


def _torch_amp_names() -> bool:
    """``torch.cuda.amp.autocast`` and ``GradScaler`` warn whenever made since torch 2.4: silence that."""
    warnings.filterwarnings("ignore", category=FutureWarning, message=r".*torch\.cuda\.amp\..*")
    return False


def _lazy_transformers() -> bool:
    """The ``hf_*`` hubconfs import transformers, 1.9 of the hub's 2.1 s: import it when such an upstream is built."""
    for family in ("hf_hubert", "hf_wav2vec2"):
        path = f"s3prl.upstream.{family}.hubconf"
        if path in sys.modules:
            return False
        module = types.ModuleType(path, f"Lazy stand-in: {family}_custom imports transformers when it is called.")
        setattr(module, f"{family}_custom", _lazy_upstream(family, path))
        sys.modules[path] = module
    return True


def _lazy_upstream(family: str, module: str) -> Any:
    def build(ckpt: str, *args: Any, **kwargs: Any) -> Any:
        expert = importlib.import_module(f"s3prl.upstream.{family}.expert")
        return expert.UpstreamExpert(ckpt, *args, **kwargs)

    build.__name__ = build.__qualname__ = f"{family}_custom"
    build.__module__ = module
    return build


def _quiet_imports() -> bool:
    """Some upstreams print at import (``ESPnet is not installed, ...``): send that to the debug log."""
    if "s3prl.hub" in sys.modules:
        return False
    said = io.StringIO()
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            importlib.import_module("s3prl.hub")
    finally:
        logging.disable(disabled)
    for line in said.getvalue().splitlines():
        logger.debug("s3prl.hub: %s", line)
    return True


def _missing(name: str, reason: str) -> Any:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise NotImplementedError(f"{name} does not exist in the installed libraries: {reason}")

    return fail


SHIMS = (
    _set_audio_backend,
    _sox_effects,
    _audio_loading,
    _huggingface_hub_names,
    _checkpoint_namespace,
    _torch_amp_names,
    _lazy_transformers,
    _quiet_imports,
)
"""All shims, in the order in which they are applied."""
