"""``predict``: emotion probabilities of any audio files, each printed as soon as it is there."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tqdm import tqdm

from s3prl_emotion.cli import set_up_logging
from s3prl_emotion.cli.output import check_not_of_a_run
from s3prl_emotion.errors import CorpusError, RunError, explain_os_error
from s3prl_emotion.files import named
from s3prl_emotion.interruption import Interruption
from s3prl_emotion.printable import printable

if TYPE_CHECKING:
    from s3prl_emotion.inference.trained import EmotionRecogniser, Recognition

SUFFIXES = (".aif", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".w64", ".wav")
"""What counts as audio below a folder; files that are named themselves may be called anything."""
WIDEST = 60
"""Columns for file names in the table; longer ones lose their beginning."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="audio files, or folders of them")
    parser.add_argument(
        "--run", required=True, type=Path, metavar="PATH", help="run folder, fold folder, checkpoint or export"
    )
    add_head_arguments(parser)
    parser.add_argument(
        "--text",
        metavar="FILE|WORDS",
        help="what is said, for heads that read it: a file that `transcribe` wrote, or lines with id (the file's "
        "name) and text; of a single recording, the words",
    )
    parser.add_argument("--asr", metavar="MODEL", help="have it heard instead: a folder or Hub id, Whisper or CTC")
    parser.add_argument(
        "--format", choices=["table", "jsonl"], default="table", help="table (default) or one JSON object per file"
    )
    parser.add_argument(
        "--attention", action="store_true", help="add frame weights; to the table, the second with the most weight"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="write there instead of printing")


def add_head_arguments(parser: argparse._ActionsContainer) -> None:
    """Options of every command that loads trained heads."""
    parser.add_argument("--fold", metavar="N|all", help="one fold's head, or all finished folds together (default)")
    parser.add_argument("-u", "--upstream", help="not needed: the run knows its upstream, and another is refused")
    parser.add_argument("-k", "--upstream_ckpt", metavar="PATH", help="where the upstream's checkpoint is now")
    parser.add_argument("-g", "--upstream_model_config", metavar="PATH", help="where its model configuration is now")
    parser.add_argument("--text-encoder", metavar="PATH", help="where the text encoder is now, of heads that read text")
    parser.add_argument(
        "--trust-checkpoint", action="store_true", help="let the upstream's checkpoint execute the code it brings along"
    )
    parser.add_argument("--device", default=None, help="cuda or cpu (default: cuda where there is one)")
    parser.add_argument("--verbose", action="store_true", help="log everything")


def load_heads(source: Path, args: argparse.Namespace) -> EmotionRecogniser:
    """The recogniser that the options of :func:`add_head_arguments` describe."""
    from s3prl_emotion.inference.trained import EmotionRecogniser

    return EmotionRecogniser.load(
        source,
        fold=args.fold,
        device=args.device,
        upstream=args.upstream,
        checkpoint=args.upstream_ckpt,
        model_config=args.upstream_model_config,
        trust_checkpoint=args.trust_checkpoint,
        text_encoder=args.text_encoder,
        asr=getattr(args, "asr", None),
    )


def main(args: argparse.Namespace) -> int:
    """Print one line for each file; files that cannot be used are named on standard error.

    Returns:
        0; 2 if there were such files; 130 for an interruption
    """
    set_up_logging(args.verbose)
    files = _audio_files(args.files)
    _check_out(args.out, files)
    if args.text is not None and args.asr is not None:
        raise RunError("--text and --asr: what is said is given, or heard; leave one out")
    recogniser = load_heads(args.run, args)
    texts = _texts(args, recogniser, files)
    if len(recogniser.folds) > 1:
        numbers = ", ".join(map(str, recogniser.folds))
        print(f"mean over the heads of folds {numbers}; --fold N takes one", file=sys.stderr)
    failed = done = 0
    try:
        with _opened(args.out) as out:
            layout = _Table(files, recogniser.labels, args.attention) if args.format == "table" else None
            if layout is not None:
                _write(layout.head(), out, args.out)
            for file in tqdm(files, desc="predict", disable=None if _free_for_bar(args.out) else True):
                try:
                    item = recogniser.recognise(file, texts.get(file))
                except CorpusError as error:
                    failed += 1
                    tqdm.write(f"error: {error}", file=sys.stderr)
                    continue
                row = json.dumps(item.as_dict(args.attention), ensure_ascii=False)
                _write(row if layout is None else layout.row(item), out, args.out)
                done += 1
    except Interruption as interruption:
        raise Interruption(interruption.number, f"{done} of {len(files)} files are done") from None
    if failed:
        print(f"{failed} of {len(files)} files could not be used", file=sys.stderr)
    return 2 if failed else 0


def _texts(args: argparse.Namespace, recogniser: EmotionRecogniser, files: Sequence[Path]) -> dict[Path, str]:
    """What is said in each file, as far as it is given.

    Raises:
        RunError: if the heads need it and it is not given, or the other way round
    """
    if args.text is None:
        if recogniser.reads_text and args.asr is None:
            raise RunError(
                f"{args.run}: these heads ({recogniser.parts.downstream}) read what is said: give it with --text FILE, "
                "or have it heard with --asr MODEL"
            )
        return {}
    if not recogniser.reads_text:
        raise RunError(f"--text: the heads of {args.run} ({recogniser.parts.downstream}) read no text; leave it out")
    from s3prl_emotion.inference.transcripts import texts_of

    return texts_of(args.text, files)


def _audio_files(paths: Sequence[Path]) -> list[Path]:
    """Files as given, folders as all audio files below them, in the order of their names.

    Raises:
        RunError: for a folder without audio
    """
    files: list[Path] = []
    for path in paths:
        if not path.is_dir():
            files.append(path)  # one that is not there is reported with the others, when its turn comes
            continue
        found = sorted(item for item in path.rglob("*") if item.suffix.lower() in SUFFIXES and item.name[0] != ".")
        if not found:
            raise RunError(f"{path}: no audio files in this folder or below it ({', '.join(SUFFIXES)})")
        files += found
    return files


def _check_out(out: Path | None, files: Sequence[Path]) -> None:
    """Refuse to write over audio; a mistyped ``--out a.wav b.wav`` would.

    Raises:
        RunError: if it is a folder, is or is called like audio, or there is nothing to write
    """
    if out is None:
        return
    check_not_of_a_run(out)
    if out.is_dir():
        raise RunError(f"--out {out}: a folder; name a file, such as {out / 'emotions.jsonl'}")
    if any(
        file.resolve() == out.resolve() or (file.exists() and out.exists() and file.samefile(out)) for file in files
    ):
        raise RunError(f"--out {out}: one of the audio files, which it would overwrite; name another file")
    if out.suffix.lower() in SUFFIXES:
        raise RunError(
            f"--out {out}: called like an audio file ({out.suffix}); name a text file, such as emotions.jsonl"
        )
    if out.exists() and not any(file.is_file() for file in files):
        raise RunError(f"--out {out}: not overwritten, because none of the audio files is there: {files[0]}, ...")


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    if path is None:
        yield sys.stdout
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w", encoding="utf-8")
    except OSError as error:
        raise RunError(f"--out {path}: cannot be written: {explain_os_error(error)}") from error
    try:
        yield file
    finally:
        with named(path):
            file.close()


def _write(line: str, out: TextIO, path: Path | None) -> None:
    with named(path or "standard output"):
        print(line, file=out, flush=True)


def _free_for_bar(out: Path | None) -> bool:
    """Whether a progress bar on the terminal would not cross the lines printed there."""
    return out is not None or not sys.stdout.isatty()


class _Table:
    """Lines of equal columns, whose widths are known before the first file is computed."""

    def __init__(self, files: Sequence[Path], labels: Sequence[str], attention: bool) -> None:
        self.file_width = max(4, min(WIDEST, max(len(str(file)) for file in files)))
        self.label_width = max(9, *map(len, labels))
        self.widths = {label: max(6, len(label)) for label in labels}
        self.attention = attention

    def head(self) -> str:
        cells = [f"{'file':<{self.file_width}}", f"{'seconds':>8}", f"{'predicted':<{self.label_width}}"]
        cells += [f"{label:>{width}}" for label, width in self.widths.items()]
        return printable("  ".join([*cells, "most weight"] if self.attention else cells).rstrip())

    def row(self, item: Recognition) -> str:
        name = str(item.file)
        if len(name) > self.file_width:
            name = "..." + name[-(self.file_width - 3) :]
        cells = [
            f"{name:<{self.file_width}}",
            f"{item.duration_s:>8.2f}",
            f"{item.predicted:<{self.label_width}}",
        ]
        cells += [f"{item.probabilities[label]:>{width}.4f}" for label, width in self.widths.items()]
        if self.attention:
            span = item.strongest_second()
            cells.append(
                "the same everywhere" if span is None else f"{span[0]:.2f}-{span[1]:.2f} s ({100 * span[2]:.0f} %)"
            )
        return printable("  ".join(cells).rstrip())
