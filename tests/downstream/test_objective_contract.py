"""Every registered objective keeps the promises of :class:`s3prl_emotion.downstream.objectives.Objective`.

Each promise is a ``check_*`` function, so that the end of this file can show that it fails where a promise is broken.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from s3prl_emotion.config import read_yaml
from s3prl_emotion.downstream.objectives import Objective, objectives
from s3prl_emotion.downstream.objectives._base import check_objective
from s3prl_emotion.downstream.settings import check_config
from s3prl_emotion.errors import ConfigError
from s3prl_emotion.s3prl_runner.registration import downstream_configs

CLASSES = 5
BATCH = 7
NAMES = objectives.names()
SOFT = [name for name in NAMES if objectives.get(name).soft]
every_objective = pytest.mark.parametrize("name", NAMES)


def make(name: str) -> nn.Module:
    return objectives.build(name, {})  # type: ignore[no-any-return]


def logits(dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(BATCH, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)


def indices() -> Tensor:
    return torch.tensor([0, 4, 2, 1, 3, 4, 0])


def rates(dtype: torch.dtype = torch.float64) -> Tensor:
    drawn = torch.rand(BATCH, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    drawn[0] = 1.0  # all classes alike
    drawn[1, :4] = 0.0  # one class alone
    return (drawn / drawn.sum(dim=1, keepdim=True)).to(dtype)


def kinds(objective: nn.Module) -> list[Tensor]:
    return [indices(), rates()] if getattr(objective, "soft", False) else [indices()]


# --- promises ---------------------------------------------------------------------------------------------------------


def check_one_finite_number(objective: nn.Module) -> None:
    for dtype in (torch.float32, torch.float64):
        for scale in (0.0, 1.0, 1e4):
            for labels in kinds(objective):
                loss = objective(logits(dtype) * scale, labels.to(dtype) if labels.is_floating_point() else labels)
                assert loss.shape == ()
                assert loss.dtype == dtype
                assert loss.isfinite()


def check_batch_mean(objective: nn.Module) -> None:
    for labels in kinds(objective):
        alone = [objective(logits()[k : k + 1], labels[k : k + 1]) for k in range(BATCH)]
        torch.testing.assert_close(objective(logits(), labels), torch.stack(alone).mean(), rtol=1e-12, atol=0)


def check_gradient(objective: nn.Module) -> None:
    for labels in kinds(objective):
        for scale in (1.0, 1e4):
            x = (logits() * scale).requires_grad_()
            (gradient,) = torch.autograd.grad(objective(x, labels), x)
            assert gradient.isfinite().all()
        x = logits().requires_grad_()
        loss = objective(x, labels)
        (gradient,) = torch.autograd.grad(loss, x)
        assert (gradient.abs().sum(dim=1) > 0).all(), "every utterance teaches something"
        assert objective(x - 1e-3 * gradient, labels) < loss
        assert torch.autograd.gradcheck(lambda z, labels=labels: objective(z, labels), (x,))


def check_one_hot_is_its_index(objective: nn.Module) -> None:
    one_hot = functional.one_hot(indices(), CLASSES).to(torch.float64)
    torch.testing.assert_close(objective(logits(), one_hot), objective(logits(), indices()), rtol=1e-12, atol=0)


def check_classes_are_alike(objective: nn.Module) -> None:
    """Without options no class weighs more than another: their order does not matter."""
    order = torch.tensor([3, 1, 4, 0, 2])
    place = order.argsort()
    torch.testing.assert_close(
        objective(logits()[:, order], place[indices()]), objective(logits(), indices()), rtol=1e-12, atol=0
    )
    if getattr(objective, "soft", False):
        torch.testing.assert_close(
            objective(logits()[:, order], rates()[:, order]), objective(logits(), rates()), rtol=1e-12, atol=0
        )


def check_nothing_is_kept(objective: nn.Module) -> None:
    before, state = copy.deepcopy(objective.state_dict()), torch.get_rng_state()
    first = [objective(logits(), labels) for labels in kinds(objective)]
    for _ in range(3):
        x, given = logits().requires_grad_(), indices()
        objective(3 * x, given).backward()
        assert torch.equal(given, indices())
    assert torch.equal(torch.get_rng_state(), state), "a random number was drawn"
    after = objective.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [objective(logits(), labels) for labels in kinds(objective)] == first


CHECKS = (check_one_finite_number, check_batch_mean, check_gradient, check_classes_are_alike, check_nothing_is_kept)


@every_objective
@pytest.mark.parametrize("check", CHECKS)
def test_contract(name: str, check: Callable[[nn.Module], None]) -> None:
    check(make(name))


@pytest.mark.parametrize("name", SOFT)
def test_one_hot_is_its_index(name: str) -> None:
    check_one_hot_is_its_index(make(name))


@every_objective
def test_derives_from_the_base_and_has_defaults(name: str) -> None:
    assert issubclass(objectives.get(name), Objective)
    assert isinstance(make(name), Objective)


@pytest.mark.gpu
@every_objective
def test_device_is_kept(name: str) -> None:
    objective = make(name).cuda()
    for labels in kinds(objective):
        assert objective(logits().cuda(), labels.cuda()).device.type == "cuda"


def test_the_ones_that_ship_take_votes() -> None:
    assert {"cross_entropy", "label_smoothing"} <= set(SOFT)


# --- what a user's own objective is told ------------------------------------------------------------------------------


@pytest.fixture
def hard_only(monkeypatch) -> str:
    """Registered for one test: the focal loss as many write it."""

    class Focal(nn.Module):
        def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
            chosen = logits.log_softmax(dim=-1).gather(1, labels.unsqueeze(1))
            return -((1 - chosen.exp()) ** 2 * chosen).mean()

    objectives.names()
    monkeypatch.setitem(objectives._entries, "focal", Focal)
    return "focal"


def configuration(objective: str, labels: str) -> dict:
    config = read_yaml(downstream_configs()["emotion_mean"])
    config["downstream_expert"]["modelrc"]["objective"] = {"name": objective}
    config["downstream_expert"]["datarc"]["labels"] = labels
    return config


def test_votes_with_an_objective_that_does_not_take_them(hard_only: str) -> None:
    check_config(configuration(hard_only, "hard"), "mine.yaml")
    check_config(configuration("cross_entropy", "soft"), "mine.yaml")
    with pytest.raises(ConfigError) as caught:
        check_config(configuration(hard_only, "soft"), "mine.yaml")
    assert str(caught.value) == (
        "mine.yaml: downstream_expert.datarc.labels is soft, and the objective 'focal' takes class indices only (its "
        "class does not say soft = True). Use labels: hard, or the objective cross_entropy or label_smoothing"
    )


def test_votes_are_refused_before_anything_is_read(hard_only: str, run, capsys) -> None:
    more = f"config.downstream_expert.modelrc.objective.name={hard_only},,config.downstream_expert.datarc.labels=soft"
    assert run("-u", "fbank", "-d", "emotion_mean", "--fold", "1", more=more) == 2
    assert "the objective 'focal' takes class indices only" in " ".join(capsys.readouterr().err.split())


class Weighted(Objective):
    """Of four classes."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))


class PerUtterance(Objective):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="none")


class Infinite(Objective):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits.sum() * 0).log()


class Pretends(Objective):
    soft = True

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.nll_loss(logits.log_softmax(dim=-1), labels)


@pytest.mark.parametrize(
    ("objective", "soft", "told"),
    [
        (
            Weighted(),
            False,
            "on logits (3, 5) and class indices (3,), as a corpus of 5 classes gives them, it fails: ",
        ),
        (PerUtterance(), False, "it gives torch.float32 of shape (3,), expected one finite number"),
        (Infinite(), False, "it gives -inf, expected one finite number"),
        (Pretends(), True, "on logits (3, 5) and rates (3, 5), as a corpus of 5 classes gives them, it fails: "),
    ],
)
def test_an_objective_that_cannot_work_is_told_before_training(objective: nn.Module, soft: bool, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_objective(objective, CLASSES, soft, "objective 'mine'")
    assert str(caught.value).startswith("objective 'mine': on logits (3, 5)")
    assert told in str(caught.value)


# --- the checks fail where a promise is broken ------------------------------------------------------------------------


class Sum(Objective):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels, reduction="sum")


class ClassWeights(Objective):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        weight = torch.arange(1, CLASSES + 1, dtype=logits.dtype)
        return (functional.cross_entropy(logits, labels, weight=weight, reduction="none")).mean()


class Naive(Objective):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return -logits.exp().div(logits.exp().sum(dim=-1, keepdim=True)).log().gather(1, labels.unsqueeze(1)).mean()


class Argmax(Objective):
    soft = True

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(logits, labels.argmax(dim=1) * 0 if labels.ndim == 2 else labels)


class Dropping(Objective):
    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(functional.dropout(logits, 0.5), labels)


@pytest.mark.parametrize(
    ("check", "objective"),
    [
        (check_one_finite_number, Naive()),
        (check_batch_mean, Sum()),
        (check_gradient, Naive()),
        (check_one_hot_is_its_index, Argmax()),
        (check_classes_are_alike, ClassWeights()),
        (check_nothing_is_kept, Dropping()),
    ],
)
def test_the_checks_see_what_is_broken(check: Callable[[nn.Module], None], objective: nn.Module) -> None:
    with pytest.raises(AssertionError):
        check(objective)
