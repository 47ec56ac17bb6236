"""Every shipped ``-d`` file trains: its own optimiser, in its own batches, on random features."""

from __future__ import annotations

import contextlib
import importlib
import io
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from s3prl_emotion.config import read_yaml
from s3prl_emotion.downstream.head import Head
from s3prl_emotion.downstream.objectives import objectives
from s3prl_emotion.downstream.settings import read_expert
from s3prl_emotion.features.ragged import pack
from s3prl_emotion.s3prl_runner.arguments import mapping
from s3prl_emotion.s3prl_runner.registration import STOCK_DOWNSTREAMS, downstream_configs
from s3prl_emotion.s3prl_runner.validation import check_settings

WIDTH, TEXT_WIDTH, CLASSES = 24, 10, 4
CONFIGS = downstream_configs()


class Ours(nn.Module):
    """Head and objective, as our expert puts them together."""

    def __init__(self, expert: dict[str, Any]) -> None:
        super().__init__()
        config, _ = read_expert(expert, "downstream_expert")
        self.text_size = 0 if config.modelrc.text is None else TEXT_WIDTH
        self.head = Head(WIDTH, CLASSES, config.modelrc, self.text_size)
        objective = dict(config.modelrc.objective)
        self.objective = objectives.build(objective.pop("name"), objective)

    def forward(self, features: list[Tensor], labels: Tensor) -> Tensor:
        said = torch.ones(len(features), self.text_size) if self.text_size else None
        return self.objective(self.head(pack(features), said), labels)  # type: ignore[no-any-return]


class Theirs(nn.Module):
    """Projector and model, as S3PRL's expert puts them together."""

    def __init__(self, expert: dict[str, Any]) -> None:
        super().__init__()
        settings = expert["modelrc"]
        module = importlib.import_module("s3prl.downstream.emotion.expert")
        self.projector = nn.Linear(WIDTH, settings["projector_dim"])
        options = settings.get(settings["select"], {})
        self.model = getattr(module, settings["select"])(settings["projector_dim"], CLASSES, **options)
        self.objective = nn.CrossEntropyLoss()

    def forward(self, features: list[Tensor], labels: Tensor) -> Tensor:
        lengths = torch.tensor([len(item) for item in features])
        logits, _ = self.model(self.projector(pad_sequence(features, batch_first=True)), lengths)
        return self.objective(logits, labels)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", CONFIGS)
def test_two_steps_on_random_features(name: str) -> None:
    from s3prl.optimizers import get_optimizer

    config = mapping(name, *check_settings(read_yaml(CONFIGS[name]), name, str(CONFIGS[name])))
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = (Theirs if name in STOCK_DOWNSTREAMS else Ours)(config["downstream_expert"]).train()
    with contextlib.redirect_stdout(io.StringIO()):
        optimizer = get_optimizer([model], config["runner"].get("total_steps", 100), config["optimizer"])
    size = config["downstream_expert"]["datarc"]["train_batch_size"]
    before = {key: value.clone() for key, value in model.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        for _ in range(config["runner"]["gradient_accumulate_steps"]):
            lengths = torch.randint(1, 20, (size,), generator=generator).tolist()
            features = [torch.randn(length, WIDTH, generator=generator) for length in lengths]
            loss = model(features, torch.randint(CLASSES, (size,), generator=generator))
            assert loss.isfinite()
            (loss / config["runner"]["gradient_accumulate_steps"]).backward()
        norm = nn.utils.clip_grad_norm_(list(model.parameters()), config["runner"]["gradient_clipping"])
        assert norm.isfinite()
        assert norm > 0
        optimizer.step()
    after = dict(model.named_parameters())
    assert all(value.isfinite().all() for value in after.values())
    unmoved = [key for key in before if torch.equal(before[key], after[key])]
    assert not unmoved, f"{unmoved} learn nothing"


def test_every_file_of_the_folder_is_a_name() -> None:
    folder = Path(next(iter(CONFIGS.values()))).parent
    assert {path.stem for path in folder.iterdir() if path.suffix in (".yaml", ".yml")} == set(CONFIGS)
