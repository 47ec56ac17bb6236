"""From a corpus folder to a checked manifest and folds, both as files."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from s3prl_emotion.corpora import Manifest, corpora
from s3prl_emotion.corpora.demo import make_demo_corpus
from s3prl_emotion.corpora.validation import NOTICE, Problem, apply, trim_zeros, validate
from s3prl_emotion.corpora.validation import summarise as summarise_problems
from s3prl_emotion.errors import CorpusError
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.split import Folds, make_folds

logger = logging.getLogger(__name__)


def prepare(
    corpus: str,
    data: Path | None,
    options: Mapping[str, Any],
    protocol: str | None,
    folder: Path,
    skip_bad: bool = False,
    trim: bool = False,
) -> tuple[Manifest, Folds]:
    """Read a corpus, check its audio, divide it, and write ``manifest.jsonl`` and ``folds.json`` into ``folder``.

    Raises:
        EmotionError: naming the files that cannot be used; ``problems.csv`` in ``folder`` lists them all
    """
    entry = corpora.get(corpus, "--corpus")
    chosen = protocols.get(protocol or entry.default_protocol, "--protocol")
    manifest = entry.read(_data_folder(corpus, data, folder), **options)
    logger.info("checking %d audio files of %s", len(manifest.utterances), corpus)
    with tqdm(total=len(manifest.utterances), desc="audio", leave=False, disable=None) as bar:

        def show(done: int, total: int) -> None:
            bar.update(done - bar.n)

        manifest, problems = validate(manifest, show)
    folder.mkdir(parents=True, exist_ok=True)
    _report(problems, folder / "problems.csv", trim)
    manifest = apply(manifest, problems, skip_bad)
    if trim:
        manifest = trim_zeros(manifest)
    folds = make_folds(manifest, chosen)
    manifest.write(folder / "manifest.jsonl")
    folds.write(folder / "folds.json")
    return manifest, folds


def _report(problems: Sequence[Problem], path: Path, trim: bool) -> None:
    """Write all problems to a table, and say what kinds of notices there are."""
    if not problems:
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["severity", "kind", "utterance", "path", "message"])
        writer.writerows([p.severity, p.kind, p.utterance, p.path, p.message] for p in problems)
    notices = [problem for problem in problems if problem.severity == NOTICE]
    if not notices:
        return
    logger.warning("notices: %s; for example %s. All are in %s", summarise_problems(notices), notices[0].message, path)
    padded = sum(problem.kind == "zero-padded" for problem in notices)
    if padded and not trim:
        logger.warning("%d clips end in digital zeros, which are no speech: --trim-zeros leaves them out", padded)


def _data_folder(corpus: str, data: Path | None, folder: Path) -> Path:
    if data is not None:
        return data
    if corpus == "demo":
        return make_demo_corpus(folder / "corpus")
    raise CorpusError(
        f"--corpus {corpus}: where is it? Give its folder with --data DIR. To try out without a corpus, add --demo"
    )
