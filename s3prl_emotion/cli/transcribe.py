"""``s3prl-emotion transcribe``: transcripts of every utterance of a corpus, by a speech recogniser."""

from __future__ import annotations

import argparse
from pathlib import Path

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.run_options import corpus_options
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.printable import printable

_SHOWN = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="a prepared folder or run folder; with --corpus, the one to prepare"
    )
    parser.add_argument("--corpus", help="prepare this corpus into FOLDER first, see `s3prl-emotion ls corpora`")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the corpus' folder (for --corpus table: the table)")
    parser.add_argument(
        "--corpus-option", action="append", default=[], metavar="KEY=VALUE", help="option of the corpus' reader"
    )
    parser.add_argument("--skip-bad", action="store_true", help="go on without audio files that cannot be used")
    parser.add_argument(
        "--trim-zeros", action="store_true", help="leave out exact digital zeros at both ends of a clip"
    )
    parser.add_argument(
        "--model",
        default="openai/whisper-base",
        help="a folder in transformers format or a Hub id, Whisper or CTC (default: %(default)s)",
    )
    parser.add_argument("--language", help="of a Whisper of many languages, as de; guessed if not given")
    parser.add_argument("--batch-size", type=int, default=8, metavar="N", help="utterances to a batch (%(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: FOLDER/asr-<model>.jsonl")
    parser.add_argument(
        "--trust-checkpoint", action="store_true", help="let the model's weights execute the code they bring along"
    )
    parser.add_argument("--device", default=None, help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("--verbose", action="store_true", help="log everything")


def main(args: argparse.Namespace) -> int:
    """Write ``asr-<model>.jsonl`` beside the manifest; what is there already is not computed again."""
    set_up_logging(args.verbose)
    if args.batch_size < 1:
        raise ConfigError(f"--batch-size {args.batch_size}: expected 1 or more")
    manifest = _manifest(args)
    from s3prl_emotion.s3prl_runner.arguments import resolve_device
    from s3prl_emotion.text.recognition import SpeechRecogniser
    from s3prl_emotion.text.transcribing import transcribe
    from s3prl_emotion.text.transcripts import NORMALISATION
    from s3prl_emotion.upstreams.trust import trusted_checkpoints

    with trusted_checkpoints(args.trust_checkpoint):
        recogniser = SpeechRecogniser(args.model, resolve_device(args.device), args.language)
    name = recogniser.facts.model.rpartition("/")[2]
    heard = transcribe(manifest, recogniser, args.out or args.folder / f"asr-{name}.jsonl", args.batch_size)
    count = len(manifest.utterances)
    print(printable(f"{manifest.corpus}: {count} utterances by {recogniser.facts.model}, {heard.computed} of them now"))
    if heard.wer is None:
        print("word error rate: not known, the corpus has no texts")
    else:
        print(
            f"word error rate {100 * heard.wer:.2f} % over {heard.reference_words} words of {heard.references} texts "
            f"({NORMALISATION})"
        )
    if heard.empty:
        listed = ", ".join(heard.empty[:_SHOWN]) + (", ..." if len(heard.empty) > _SHOWN else "")
        print(
            printable(
                f"nothing was heard in {len(heard.empty)} of {count} utterances: {listed}; a run needs "
                "--allow-empty-text for them"
            )
        )
    print(printable(str(heard.path)))
    return 0


def _manifest(args: argparse.Namespace) -> Manifest:
    from s3prl_emotion.runs.folder import RunFolder

    folder = RunFolder(args.folder)
    if args.corpus is None:
        for flag in ("data", "corpus_option", "skip_bad", "trim_zeros"):
            if getattr(args, flag):
                raise ConfigError(f"--{flag.replace('_', '-')}: prepares a corpus: give --corpus too, or leave it out")
        return Manifest.read(folder.manifest)
    from s3prl_emotion.experiment.preparation import check_prepared, claimed, prepare

    options = corpus_options(args.corpus_option)
    with claimed(folder, f"{args.folder} with --corpus"):
        if folder.manifest.is_file() and folder.folds.is_file():  # the last one that is written
            return check_prepared(folder, args.corpus, args.data, options, args.skip_bad, args.trim_zeros)
        return prepare(args.corpus, args.data, options, None, folder, args.skip_bad, args.trim_zeros)[0]
