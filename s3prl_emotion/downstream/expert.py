"""The downstream expert behind every ``-d`` name of this package; S3PRL's Runner trains and evaluates it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from s3prl_emotion.audio.augmenting import Augmentation
from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.corpora.manifest import Manifest
from s3prl_emotion.downstream.data import UtteranceDataset, epoch_batches, make_loader
from s3prl_emotion.downstream.head import Head, warn_of_zero_means
from s3prl_emotion.downstream.label_share import draw_share
from s3prl_emotion.downstream.objectives import objectives
from s3prl_emotion.downstream.objectives._base import check_objective
from s3prl_emotion.downstream.settings import read_expert
from s3prl_emotion.downstream.speaker_task import build_auxiliary, speaker_figures
from s3prl_emotion.errors import ConfigError, RunError, suggest
from s3prl_emotion.evaluation.metrics import columns
from s3prl_emotion.features.ragged import pack
from s3prl_emotion.files import append, write_atomically
from s3prl_emotion.pooling import poolings
from s3prl_emotion.protocols import protocols
from s3prl_emotion.protocols.integrity import seal
from s3prl_emotion.protocols.split import Folds
from s3prl_emotion.random_state import (
    check_random_state,
    preserved_random_state,
    random_state,
    restore_random_state,
)
from s3prl_emotion.runs.folder import BEST, FOLDS, MANIFEST, FoldFolder
from s3prl_emotion.runs.prediction import Prediction, write_predictions
from s3prl_emotion.text.choice import text_of, texts_sha256

if TYPE_CHECKING:
    from s3prl_emotion.downstream.text import TextBranch

SPLITS = ("train", "dev", "test")
METRICS = {"accuracy": "wa", "ua": "ua", "macro_f1": "macro_f1"}
"""A protocol's selection to the figure it selects by."""


class DownstreamExpert(nn.Module):
    """Head, objective, data and metrics of one fold, with the interface that S3PRL's Runner expects.

    Args:
        upstream_dim: width of the upstream's features
        upstream_rate: samples per frame
        downstream_expert: the configuration, see :class:`~s3prl_emotion.downstream.config.ExpertConfig`
        expdir: the fold's folder
        downstream: the ``-d`` name, for log entries
        downstream_variant: S3PRL's ``-v``: the test fold, as ``fold2``
        seed: of the run; batches depend on it and on the epoch alone

    Raises:
        ConfigError: if the manifest, the folds or the test fold are missing
    """

    best_score: Tensor

    def __init__(
        self,
        upstream_dim: int,
        upstream_rate: int,
        downstream_expert: dict[str, Any],
        expdir: str,
        downstream: str = "emotion",
        downstream_variant: str | None = None,
        seed: int = 1337,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        config, inputs = read_expert(downstream_expert, "downstream_expert")
        self.config, self.inputs = config, inputs
        self.expdir = Path(expdir)
        self.upstream_rate = upstream_rate
        self.name = downstream
        self.seed = int(seed)
        self.fold = inputs.number(downstream_variant)

        manifest = Manifest.read(self._input(inputs.manifest, "manifest"))
        folds = Folds.read(self._input(inputs.folds, "folds"))
        fold = folds[self.fold]
        self.labels = manifest.labels
        self.corpus = manifest.corpus
        self.seal = seal(manifest, folds)
        self.utterances = manifest.by_id
        self.selection = METRICS[protocols.get(folds.protocol).selection]
        data = config.datarc
        if not fold.train:
            raise ConfigError(f"{manifest.corpus}, fold {self.fold}: there is nothing to train on")
        if data.labels == "soft" and not any(self.utterances[item].soft for item in fold.train):
            raise ConfigError(
                f"downstream_expert.datarc.labels is soft, but no training utterance of {manifest.corpus} has "
                "annotators' votes: use labels: hard, or a corpus that has them"
            )
        if data.augmentation and inputs.cached is not None:
            raise ConfigError(
                "downstream_expert.datarc.augmentation changes the audio in every epoch, so no hidden states of it can "
                "be stored: leave one of the two out"
            )
        self.preparation = Preparation(data.max_duration_s)  # of zeros, the manifest's times say what is left out
        parts = {split: getattr(fold, split) for split in SPLITS}
        parts["train"] = draw_share(manifest, fold.train, data.train_share, self.seed)
        self.datasets = {
            split: UtteranceDataset(
                manifest, ids, self.preparation, data.pre_load, cached=inputs.cached is not None, seed=self.seed
            )
            for split, ids in parts.items()
        }

        text = config.modelrc.text
        self.text: TextBranch | None = None
        if text is not None:
            from s3prl_emotion.downstream.text import TextBranch  # which loads transformers

            self.text = TextBranch(text)
        self.texts_sha256 = "" if text is None else texts_sha256(manifest)
        size = 0 if self.text is None else self.text.output_size
        self.head = Head(upstream_dim, len(self.labels), config.modelrc, size)
        objective = dict(config.modelrc.objective)
        self.objective: nn.Module = objectives.build(objective.pop("name"), objective, where="objective")
        with preserved_random_state():
            told = f"objective {config.modelrc.objective['name']!r}"
            check_objective(self.objective, len(self.labels), data.labels == "soft", told)
        self.auxiliary = build_auxiliary(config.modelrc, self.head, self.datasets["train"].utterances)
        self.register_buffer("best_score", torch.full((1,), -1.0))

        self.layer_weights: Callable[[], Tensor] | None = (
            None  # set by the launcher: softmax of the featurizer's weights
        )
        self.read_ahead: Callable[[list[int]], None] | None = None  # set by the launcher where states are stored
        self.inferred: list[dict[str, Any]] = []
        self._epoch = 0
        self._used_batches = 0  # of the current epoch
        self._resume: dict[str, Any] | None = None
        hears = text is None or text.speech
        self._looked_at_mean = not (hears and isinstance(self.head.pooling, poolings.get("mean")))

    # --- what the Runner calls -------------------------------------------------------------------------------------

    def get_dataloader(self, split: str, epoch: int = 0) -> Any:
        """Batches of one split. Training batches go on where a resumed checkpoint stopped, with its random state."""
        if split not in SPLITS:
            raise ConfigError(f"unknown split {split!r}. {suggest(split, SPLITS)}")
        data, dataset = self.config.datarc, self.datasets[split]
        if split != "train":
            size = data.eval_batch_size
            indices = list(range(len(dataset)))
            batches = [indices[start : start + size] for start in range(0, len(indices), size)]
            return make_loader(dataset, batches, data.num_workers, self.read_ahead)
        self._epoch, self._used_batches = epoch, 0
        dataset.epoch = epoch
        if data.augmentation and dataset.augmentation is None:
            dataset.augmentation = Augmentation.of(data.augmentation, "downstream_expert.datarc.augmentation")
        if self._resume is not None:
            self._used_batches = self._resume["used_batches"] if self._resume["epoch"] == epoch else 0
            restore_random_state(self._resume["random_state"])
            self._resume = None
        weighted = data.sampler == "class_weighted"
        chosen = epoch_batches(dataset.labels, data.train_batch_size, self.seed, epoch, weighted, self._used_batches)
        return make_loader(dataset, chosen, data.num_workers, self.read_ahead)

    def forward(
        self,
        split: str,
        features: list[Tensor],
        labels: list[int],
        ids: list[str],
        records: dict[str, list[Any]],
        **_: Any,
    ) -> Tensor:
        """Features of a batch, each ``(frames, upstream_dim)``, to the loss; predictions are added to ``records``."""
        packed = pack(features)
        if split == "train" and not self._looked_at_mean:
            self._looked_at_mean = True
            warn_of_zero_means(packed)
        truth = torch.tensor(labels, device=packed.flat.device)
        vectors = self.head.pooled(packed) if self.head.hears else None
        logits = self.head.answer(vectors, self._said(ids, packed.flat.device))
        soft = split == "train" and self.config.datarc.labels == "soft"
        loss: Tensor = self.objective(logits, self._votes(ids).to(logits) if soft else truth)
        if split == "train":
            self._used_batches += 1
        records["loss"].append(loss.detach())
        if split == "train" and self.auxiliary is not None and vectors is not None:
            share, told = self.auxiliary(vectors, [self.utterances[item] for item in ids])
            loss = loss + share
            records["speakers"].append(told)
        records["probabilities"].append(logits.detach().float().softmax(dim=-1))
        records["truth"] += labels
        records["ids"] += ids
        return loss

    def log_records(
        self, split: str, records: dict[str, list[Any]], logger: Any, global_step: int, **_: Any
    ) -> list[str]:
        """Write loss and rates of a split; on dev, ask for a checkpoint at the best selected figure."""
        probabilities = torch.cat(records["probabilities"]).cpu().numpy()
        truth = [self.labels[index] for index in records["truth"]]
        predicted = [self.labels[index] for index in probabilities.argmax(axis=1)]
        values = {
            "loss": float(torch.stack(records["loss"]).mean()),
            **{name: rate(truth, predicted, self.labels) for name, rate in columns().items()},
            **speaker_figures(records.get("speakers", ())),
        }
        when = f" at step {global_step}" if self.training_is_running(global_step) else ""
        if not np.isfinite(values["loss"]):
            raise RunError(f"{self.name}, fold {self.fold}: the {split} loss{when} is {values['loss']}")
        for key, value in values.items():
            logger.add_scalar(f"{self.name}-fold{self.fold}/{split}-{key}", value, global_step=global_step)
        if split == "train":
            self._log_layer_weights(logger, global_step)

        save_names = []
        lines = [f"{split}{when}: " + ", ".join(f"{key} {value:.6f}" for key, value in values.items())]
        score = values[self.selection]
        running = split == "dev" and self.training_is_running(global_step)
        tie = float(np.float32(score)) == float(self.best_score)  # which is kept in float32
        if running and score > float(self.best_score):
            self.best_score.fill_(score)
            lines.append(f"New best on dev at step {global_step}: {self.selection} {score:.6f}")
            save_names.append(BEST)
        if running and tie:
            kept = "replaces" if save_names else "does not replace"
            lines.append(f"Tie on dev at step {global_step}: as good as the best before, which it {kept}")
        append(self.expdir / "log.log", "".join(line + "\n" for line in lines))
        if split != "train":
            self._write_predictions(split, records["ids"], truth, predicted, probabilities)
        return save_names

    @torch.no_grad()
    def inference(self, features: list[Tensor], names: list[str]) -> None:
        """Probabilities and frame weights of any audio; they are collected in ``inferred`` for the caller."""
        if self.text is not None:
            raise RunError(
                f"-m inference: {self.name} reads what is said: use `s3prl-emotion predict` with --text or --asr"
            )
        packed = pack(features)
        probabilities = self.head(packed).softmax(dim=-1).cpu()
        weights = self.head.frame_weights(packed).cpu()
        for name, row, frames, length in zip(names, probabilities, weights, packed.lengths, strict=True):
            self.inferred.append(
                {
                    "file": name,
                    "predicted": self.labels[int(row.argmax())],
                    "probabilities": dict(zip(self.labels, row.tolist(), strict=True)),
                    "frame_weights": frames[:length].tolist(),
                }
            )

    def load_audio(self, path: str | Path) -> Tensor:
        """Any audio file as the waveform ``(samples,)`` that training would hear; the Runner's inference mode uses it.

        Whether a run trims zeros or cleans is told by its record, which this module does not know: ``predict`` does.
        """
        return torch.from_numpy(self.preparation.waveform(path))

    # --- state beyond the weights: what makes a resumed run the same run ------------------------------------------

    def get_extra_state(self) -> dict[str, Any]:
        return {
            "epoch": self._epoch,
            "used_batches": self._used_batches,
            "random_state": random_state(),
            "labels": list(self.labels),
            "corpus": self.corpus,
            **self.seal,
            **({} if self.text is None else self.text.sealed(self.texts_sha256)),
        }

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Take over the state of a checkpoint.

        Raises:
            RunError: if it was trained on other classes, or the run folder's manifest or folds are others by now
        """
        try:
            counts = [state[key] for key in ("epoch", "used_batches")]
            if any(type(count) is not int or count < 0 for count in counts):
                raise ValueError(f"epoch and used_batches are {counts}")
            check_random_state(state["random_state"])
        except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(f"_extra_state is not what a training goes on from: {error}") from error
        given = self.inputs
        trained = state.get("labels", list(self.labels))  # checkpoints of earlier versions do not hold them
        if trained != list(self.labels):
            raise RunError(
                f"{given.manifest}, seen from {self.expdir}, has the classes {', '.join(self.labels)}; the "
                f"checkpoint was trained on {', '.join(map(str, trained))}, in this order: the manifest was edited, "
                "or is another corpus'. Restore it"
            )
        for key, name, beside in (
            ("manifest_sha256", given.manifest, f"../{MANIFEST}"),
            ("folds_sha256", given.folds, f"../{FOLDS}"),
        ):
            if name == beside and state.get(key, self.seal[key]) != self.seal[key]:  # others are named by -o
                raise RunError(
                    f"{name}, seen from {self.expdir}, is not the one that the checkpoint was trained with: it was "
                    "edited, made again, or comes from another run. Restore it"
                )
        if self.text is not None:
            self.text.check_seal(state, self.texts_sha256, str(self.expdir))
        self._resume = state

    # --- details ----------------------------------------------------------------------------------------------------

    def _input(self, path: str | None, key: str) -> Path:
        """A file that the launcher prepared: absolute, or relative to the fold's folder or the working directory."""
        if path is None:
            raise ConfigError(
                f"downstream_expert.datarc.{key} is not set: start through `s3prl-emotion run`, which prepares it, "
                f"or name the file with -o config.downstream_expert.datarc.{key}=PATH"
            )
        for candidate in (self.expdir / path, Path(path)):
            if candidate.is_file():
                return candidate
        raise ConfigError(
            f"downstream_expert.datarc.{key}: no file {path!r}, neither in {self.expdir} nor in {Path.cwd()}"
        )

    @staticmethod
    def training_is_running(global_step: int) -> bool:
        """The Runner passes step 0 exactly when an evaluation was asked for from outside of training."""
        return global_step > 0

    def _votes(self, ids: list[str]) -> Tensor:
        """The annotators' rates ``(batch, classes)`` of utterances; one-hot where there are none."""
        return torch.tensor([self.utterances[item].rates(self.labels) for item in ids])

    def _said(self, ids: list[str], device: torch.device) -> Tensor | None:
        """What is said in utterances, ``(batch, text.output_size)``; None for a head that does not read it."""
        return None if self.text is None else self.text([text_of(self.utterances[item]) for item in ids], device)

    def _log_layer_weights(self, logger: Any, global_step: int) -> None:
        if self.layer_weights is None:
            return
        weights = self.layer_weights().detach().cpu().tolist()
        for layer, weight in enumerate(weights):
            logger.add_scalar(f"{self.name}-fold{self.fold}/layer-weight-{layer:02d}", weight, global_step=global_step)
        line = ",".join([str(global_step), *(f"{weight:.6f}" for weight in weights)])
        append(self.expdir / "layer_weights.csv", line + "\n")

    def _write_predictions(
        self, split: str, ids: list[str], truth: list[str], predicted: list[str], probabilities: np.ndarray
    ) -> None:
        rows = [
            Prediction(
                self.fold,
                item,
                self.utterances[item].speaker,
                label,
                guess,
                tuple(float(value) for value in row),
                self.utterances[item].rates(self.labels) if self.utterances[item].soft else None,
            )
            for item, label, guess, row in zip(ids, truth, predicted, probabilities, strict=True)
        ]
        write_predictions(FoldFolder(self.expdir).scored(split), rows, self.labels)
        for kind, values in (("predict", predicted), ("truth", truth)):  # S3PRL's own files
            lines = [f"{item} {value}\n" for item, value in zip(ids, values, strict=True)]
            write_atomically(self.expdir / f"{split}_fold{self.fold}_{kind}.txt", "".join(lines))
