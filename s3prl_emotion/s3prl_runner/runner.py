"""Subclass of S3PRL's Runner with atomic checkpoints, signals and NaN detection.

``train``, ``evaluate`` and ``inference`` are S3PRL's own code. What is added around them:

- nothing reaches the texts that it evaluates without having passed :mod:`s3prl_emotion.s3prl_runner.validation`;
- parameters and states of a checkpoint that do not fit are an error that names them;
- an evaluation no longer moves the random state of the training that it interrupts (the Runner reseeds everything);
- a NaN or infinite gradient is an error that names the step, where the Runner prints a line and skips the step;
- checkpoints are replaced whole, and a resumed training does not log its steps twice;
- a signal that ends the process waits for the end of a step, and leaves a checkpoint of it;
- ``--device cpu`` works on a machine that has a GPU;
- an upstream is fine-tuned as ``finetune`` says (:mod:`s3prl_emotion.s3prl_runner.fine_tuning`);
- a head may start from pretrained weights (:mod:`s3prl_emotion.s3prl_runner.training_files`);
- what S3PRL prints goes to a file beside the checkpoints;
- progress bars of single epochs and evaluations disappear when done, and none are drawn into a log file.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from s3prl.downstream import runner as s3prl_runner
from tqdm import tqdm

from s3prl_emotion.downstream.config import fold_number
from s3prl_emotion.errors import EmotionError, RunError
from s3prl_emotion.features.upstream import BlockFeaturizer, CachedUpstream
from s3prl_emotion.interruption import asked, check, deferred
from s3prl_emotion.module_weights import check_kinds
from s3prl_emotion.random_state import preserved_random_state, seed_everything
from s3prl_emotion.s3prl_runner.building import check_interface
from s3prl_emotion.s3prl_runner.checkpoints import check_optimizer, check_scheduler
from s3prl_emotion.s3prl_runner.fine_tuning import fine_tune
from s3prl_emotion.s3prl_runner.registration import STOCK_DOWNSTREAMS
from s3prl_emotion.s3prl_runner.selection import check_selection, probe_states, rate_of
from s3prl_emotion.s3prl_runner.training_files import (
    atomic_checkpoints,
    kept_output,
    load_pretrained_head,
    truncate_logs,
)
from s3prl_emotion.s3prl_runner.unbatched import UnbatchedUpstream
from s3prl_emotion.s3prl_runner.validation import FAILURES, check_run
from s3prl_emotion.upstreams.explanation import explained, not_built
from s3prl_emotion.upstreams.per_fold import of_fold

logger = logging.getLogger(__name__)


class EmotionRunner(s3prl_runner.Runner):  # type: ignore[misc]
    """S3PRL's Runner; ``args`` and ``config`` are what its ``run_downstream`` passes.

    Args:
        cached: stored hidden states to use in place of the upstream
    """

    def __init__(
        self, args: Any, config: dict[str, Any], cached: CachedUpstream | UnbatchedUpstream | None = None
    ) -> None:
        self.cached = cached
        self._state: dict[str, Any] = {}  # optimiser and scheduler, under their keys in a checkpoint
        args, config = check_run(args, config, f"{args.init_ckpt or 'the run'}")
        with kept_output(Path(args.expdir)):
            super().__init__(args, config)

    def _load_weight(self, model: Any, name: str) -> None:
        state = self.init_ckpt.get(name)
        try:
            if name == "Scheduler" and state:
                check_scheduler(state, model.state_dict())
            if isinstance(model, torch.nn.Module) and state:
                check_kinds(model, state)
            groups = [dict(group) for group in model.param_groups] if name == "Optimizer" else []
            super()._load_weight(model, name)
            if name == "Optimizer" and state:
                check_optimizer(model, groups)
        except EmotionError:
            raise
        except FAILURES as error:
            raise RunError(
                f"{self.args.init_ckpt}: its {name} does not fit what its own settings describe: "
                f"{' '.join(str(error).split())[:300]}. Train again, or take the checkpoint from where it is whole"
            ) from error

    def _get_upstream(self) -> Any:
        if self.cached is None:
            given: argparse.Namespace = self.args  # type: ignore[has-type]
            datarc = self.config["downstream_expert"].get("datarc", {})
            test_fold = given.downstream_variant or datarc.get("test_fold")
            checkpoint = of_fold(given.upstream_ckpt, None if test_fold is None else fold_number(test_fold))
            self.args = argparse.Namespace(**{**vars(given), "upstream_ckpt": checkpoint})
            try:
                with explained(given.upstream, not_built(checkpoint)):
                    entry = super()._get_upstream()
                if entry.trainable and given.mode == "train":
                    fine_tune(entry.model, self.config.get("finetune"), given.upstream)
                return entry
            finally:
                self.args = given
        return self._init_model(self.cached, "Upstream", trainable=False, interfaces=["get_downsample_rates"])

    def _init_model(self, model: Any, name: str, trainable: bool, interfaces: list[str] | None = None) -> Any:
        if name == "Upstream":
            check_interface(model, self.args.upstream)
        return super()._init_model(model, name, trainable, interfaces)

    def _get_featurizer(self) -> Any:
        if self.cached is None:
            # S3PRL's featurizer falls back, or ignores an option, without an error
            upstream = self.upstream.model.eval()
            rate = rate_of(upstream, self.args.upstream_feature_selection, self.args.upstream)
            check_selection(self.args, len(probe_states(upstream, self.args, rate)))
            return super()._get_featurizer()
        model = BlockFeaturizer(self.cached.store, self.args.upstream_feature_normalize).to(self.args.device)
        return self._init_model(model, "Featurizer", trainable=True, interfaces=["output_dim", "downsample_rate"])

    def _get_downstream(self) -> Any:
        seed_everything(self.args.seed)  # the head starts the same whatever the upstream drew
        entry = super()._get_downstream()
        if self.args.downstream not in STOCK_DOWNSTREAMS:
            load_pretrained_head(
                self.args,
                self.config["downstream_expert"],
                self.upstream.model,
                self.featurizer.model,
                entry.model,
                bool(self.init_ckpt),
            )
        weights = getattr(self.featurizer.model, "weights", None)
        if hasattr(entry.model, "layer_weights") and weights is not None:
            entry.model.layer_weights = lambda: torch.softmax(weights, dim=-1)
        if hasattr(entry.model, "read_ahead") and isinstance(self.cached, CachedUpstream):
            entry.model.read_ahead = self.cached.read_ahead
        texts = getattr(self.cached, "texts", None)  # stored vectors of what is said
        if texts is not None and getattr(entry.model, "text", None) is not None:
            entry.model.text.use(texts)
        return entry

    def _get_optimizer(self, models: list[torch.nn.Module]) -> Any:
        optimizer = super()._get_optimizer(models)
        self._state["Optimizer"] = optimizer
        if not self.config["runner"].get("fp16", False):  # the gradient scaler expects, and handles, infinite gradients
            names = {
                id(p): f"{type(model).__name__}.{name}" for model in models for name, p in model.named_parameters()
            }
            _guard_gradients(optimizer, names)
        return optimizer

    def _get_scheduler(self, optimizer: torch.optim.Optimizer) -> Any:
        self._state["Scheduler"] = super()._get_scheduler(optimizer)
        return self._state["Scheduler"]

    def train(self) -> None:
        folder = Path(self.args.expdir)
        truncate_logs(folder, int(self.init_ckpt.get("Step", 0)))
        progress = _progress_of_training(int(self.init_ckpt.get("Epoch", 0)))
        with kept_output(folder), _quiet_progress(progress), atomic_checkpoints():
            try:
                with deferred("the training step"):
                    super().train()
            except _StepDone as done:
                runner = self.config["runner"]
                if done.step % runner["save_step"]:  # otherwise the Runner has just done so
                    self._save(folder / f"states-{done.step}.ckpt", done.step, done.epoch)
                check(f"{folder} has a checkpoint of step {done.step} of {runner['total_steps']}")

    def _save(self, path: Path, step: int, epoch: int) -> None:
        """Write a checkpoint, as the Runner's own ``train`` does."""
        content = {"Optimizer": self._state["Optimizer"].state_dict(), "Step": step, "Epoch": epoch}
        content |= {"Args": self.args, "Config": self.config}
        content |= {item.name: s3prl_runner.get_model_state(item.model) for item in self.all_entries if item.trainable}
        if "Scheduler" in self._state:
            content["Scheduler"] = self._state["Scheduler"].state_dict()
        torch.save(content, path)

    def evaluate(self, split: str | None = None, logger: Any = None, global_step: int = 0) -> list[str]:
        with (
            kept_output(Path(self.args.expdir)),
            preserved_random_state(),
            _cuda_hidden_from(self.args.device),
            _quiet_progress(),
        ):
            return list(super().evaluate(split, logger, global_step))


def _guard_gradients(optimizer: torch.optim.Optimizer, names: dict[int, str]) -> None:
    """Make a step with a non-finite gradient an error.

    The Runner clips, then skips ``step`` when the norm is NaN; an infinite norm turns into NaN by clipping and *would*
    be stepped. So gradients are checked before a step, and a ``zero_grad`` that no step came before looks for the NaN
    that made the Runner skip it.
    """
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    steps = 0
    stepped = False
    original_zero_grad = optimizer.zero_grad

    def complain() -> None:
        bad = [
            names[id(parameter)]
            for parameter in parameters
            if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
        ]
        if bad:
            raise RunError(
                f"the gradient is not finite at optimiser step {steps + 1}, first in {', '.join(bad[:3])} "
                f"({len(bad)} of {len(parameters)} parameters). Nothing was updated with it. Check the audio for "
                "broken files, lower the learning rate (-o config.optimizer.lr=...), or look at the upstream's features"
            )

    def before_step(*_: Any) -> None:
        nonlocal steps, stepped
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        if gradients and not bool(torch.isfinite(torch.stack(torch._foreach_norm(gradients))).all()):
            complain()
        steps, stepped = steps + 1, True

    def zero_grad(set_to_none: bool = True) -> None:
        nonlocal stepped
        if not stepped:
            complain()
        stepped = False
        original_zero_grad(set_to_none)

    optimizer.register_step_pre_hook(before_step)
    optimizer.zero_grad = zero_grad  # type: ignore[method-assign]


class _Progress(tqdm):  # type: ignore[type-arg]
    """The Runner's bars: one lasting per training, transient ones for epochs and evaluations, few lines in a log."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        lasting = kwargs.get("desc") == "overall"
        terminal = sys.stderr.isatty()
        kwargs["leave"] = lasting and terminal
        kwargs["disable"] = bool(kwargs.get("disable")) or not (terminal or lasting)
        if not terminal:
            kwargs["mininterval"] = max(30.0, kwargs.get("mininterval", 0.0))
        super().__init__(*args, **kwargs)

    @classmethod
    def write(cls, s: str, file: Any = None, end: str = "\n", nolock: bool = False) -> None:
        """What the Runner says between bars; it does not go to the terminal, so they are not drawn anew."""
        (sys.stdout if file is None else file).write(s + end)


class _StepDone(Exception):
    """A signal came, and the step in which it came is done."""

    def __init__(self, step: int, epoch: int) -> None:
        super().__init__(step)
        self.step, self.epoch = step, epoch


def _progress_of_training(epoch: int) -> type[_Progress]:
    """The Runner's bars in a training that begins in ``epoch``: a step ends by counting itself."""
    epochs = epoch - 1

    class Progress(_Progress):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            nonlocal epochs
            self.counts_steps = kwargs.get("desc") == "overall"
            epochs += kwargs.get("desc") == "train"  # a bar for each epoch
            super().__init__(*args, **kwargs)

        def update(self, n: float | None = 1) -> bool | None:
            shown = super().update(n)
            if self.counts_steps and asked() is not None:
                raise _StepDone(int(self.n), epochs)
            return shown

    return Progress


@contextlib.contextmanager
def _quiet_progress(progress: type[_Progress] = _Progress) -> Iterator[None]:
    original = s3prl_runner.tqdm
    outer = _bars()  # the training's own bar counts its steps: an evaluation must not close it
    s3prl_runner.tqdm = progress
    try:
        yield
    finally:
        s3prl_runner.tqdm = original
        for bar in _bars() - outer:
            bar.close()  # an error message begins a line of its own


def _bars() -> set[_Progress]:
    """The bars that are drawn now."""
    return {bar for bar in getattr(tqdm, "_instances", ()) if isinstance(bar, _Progress)}


@contextlib.contextmanager
def _cuda_hidden_from(device: Any) -> Iterator[None]:
    """``evaluate`` enters ``torch.cuda.device(args.device)`` wherever CUDA exists: a ValueError for the CPU."""
    if not str(device).startswith("cpu") or not torch.cuda.is_available():
        yield
        return
    original = torch.cuda.is_available
    torch.cuda.is_available = lambda: False
    try:
        yield
    finally:
        torch.cuda.is_available = original
