"""The command line: ``s3prl-emotion COMMAND`` or ``python -m s3prl_emotion COMMAND``; one file per command."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import signal
import sys
from collections.abc import Sequence

from s3prl_emotion import __version__
from s3prl_emotion.cli.output import PrintableFormatter
from s3prl_emotion.errors import EmotionError, message_of
from s3prl_emotion.files import named
from s3prl_emotion.interruption import Interruption, handled
from s3prl_emotion.numba_cache import keep_below
from s3prl_emotion.plugins import blamed
from s3prl_emotion.printable import printable

logger = logging.getLogger(__name__)

COMMANDS = {
    "run": "train and test a downstream on an upstream, all folds, and print the result",
    "sweep": "upstreams x heads x seeds x learning rates over one store of hidden states, ending in a comparison",
    "classical": "the first look: classical models on time statistics of any upstream's states, also layer by layer",
    "study": "answer a question by a list of runs (each corpus to every other, with and without neutral, ...)",
    "ladder": "the whole table of arXiv 2312.11503, from nearest neighbours to speech and text, beside its figures",
    "pretrain": "make an upstream (flea), or a head to start from (contrastive), and say what that gained",
    "prepare": "read a corpus, check its audio, and write its manifest and folds",
    "transcribe": "write what is said in every utterance, by Whisper or a CTC model, for heads that read text",
    "audit": "say what train, dev and test share: speakers, audio, augmented siblings, sentences, pretraining data",
    "evaluate": "compute results.json again from predictions; or show a run by groups, or on disturbed audio",
    "compare": "runs side by side with the leaderboard and the papers, with intervals and paired tests",
    "predict": "emotion probabilities and frame attention of any audio files, from a trained run",
    "export": "write a trained head with its layer weights as safetensors, with configuration and model card",
    "push": "upload an exported head to the Hugging Face Hub",
    "cache": "list or delete stored hidden states",
    "ls": "list downstreams, upstreams, corpora, protocols, poolings, objectives, classifiers, studies or shims",
}


ALIASES = {"ladder": ("paper-table",)}
"""Further names of commands."""

SPIN_COUNT = 1000
"""How often a thread of GNU's OpenMP looks for work before it sleeps; its own default is 300000.

A thread that spins keeps its core from other processes: with the default, two trainings at once on two cores take 2.5
times as long as one, with 1000 1.3 times, and one alone takes as long as before (``benchmarks/threads.py``).
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        the exit status: 0, 2 for an error that the user can mend, 128 + n where signal n ended it (130 for Ctrl-C),
        141 where the reader of the output closed it
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & set(os.environ):
        os.environ["GOMP_SPINCOUNT"] = str(SPIN_COUNT)  # read when torch is loaded, which is later
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = argparse.ArgumentParser(
            prog="s3prl-emotion", description="Emotion benchmarks for speech models, on S3PRL."
        )
        parser.add_argument("--version", action="version", version=f"s3prl-emotion {__version__}")
        subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
        asked = next((word for word in words if not word.startswith("-")), None)
        for name, text in COMMANDS.items():
            names = (name, *ALIASES.get(name, ()))
            description = text[0].upper() + text[1:] + "."
            subparser = subparsers.add_parser(name, aliases=names[1:], help=text, description=description)
            subparser.set_defaults(command=name)
            if asked in names:  # only the asked command's file is imported: --help stays fast
                importlib.import_module(f"s3prl_emotion.cli.{name}").add_arguments(subparser)
        args = parser.parse_args(words)
        keep_below(getattr(args, "cache_root", None))
        with handled():
            status = int(importlib.import_module(f"s3prl_emotion.cli.{args.command}").main(args))
            with named("standard output"):
                sys.stdout.flush()  # here, not when Python ends, where nobody can answer to a fault
        return status
    except BrokenPipeError:  # the reader, such as head, has enough
        _close_output()
        return 128 + signal.SIGPIPE
    except (Exception, SystemExit) as error:
        plugin = blamed(error)
        if plugin is None and not isinstance(error, (EmotionError, OSError, MemoryError)):
            raise  # a fault of ours: all of its traceback is needed
        logger.debug("", exc_info=True)
        reason = plugin or error
        print(printable(f"error: {message_of(reason) if isinstance(reason, Exception) else reason}"), file=sys.stderr)
        if isinstance(error, OSError) and error.filename == "standard output":
            _close_output()
        return 2
    except Interruption as interruption:
        print(printable(f"\n{interruption}"), file=sys.stderr)
        return 128 + interruption.number
    except KeyboardInterrupt:
        print("\ninterrupted: what is computed is kept; the same command goes on from there", file=sys.stderr)
        return 130


def _close_output() -> None:
    """Let Python end without another attempt to write what could not be written."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def set_up_logging(verbose: bool = False) -> None:
    """Our log lines to standard error, short; everything at debug level with ``verbose``."""
    logging.basicConfig(
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s",
        stream=sys.stderr,
        force=True,
    )
    for handler in logging.getLogger().handlers:
        handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s" if verbose else "%(message)s"))
    logging.getLogger("s3prl_emotion").setLevel(logging.DEBUG if verbose else logging.INFO)
