"""Every registered pooling keeps the promises of :class:`s3prl_emotion.pooling.Pooling`.

Each promise is a ``check_*`` function, so that the end of this file can show that it fails where a promise is broken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small import BY_LENGTH, DEEP, SMALL, small
from torch import Tensor

from s3prl_emotion.pooling import Pooling, poolings

FEATURES = 6
FRAMES = 9
LENGTHS = torch.tensor([9, 4, 1, 7])
NAMES = poolings.names()
every_pooling = pytest.mark.parametrize("name", NAMES)
each_mode = pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])


def make(name: str, dtype: torch.dtype = torch.float64, training: bool = False, **options: object) -> Pooling:
    torch.manual_seed(0)
    kept = torch.float32 if name in SMALL and dtype.itemsize < 4 else dtype  # networks: as autocast keeps them
    return small(name, FEATURES, **options).to(kept).train(training)


def batch(dtype: torch.dtype = torch.float64, seed: int = 1) -> Tensor:
    x = torch.randn(len(LENGTHS), FRAMES, FEATURES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return x.to(dtype)


def padding(lengths: Tensor = LENGTHS) -> Tensor:
    return torch.arange(FRAMES) >= lengths.unsqueeze(1)


def gradients(pooling: Any, x: Tensor, lengths: Tensor) -> list[Tensor]:
    """Gradients with respect to the input and all parameters of a loss in which every output has its own weight."""
    x = x.clone().requires_grad_()
    out = pooling(x, lengths)
    direction = torch.linspace(-1, 2, out.numel(), dtype=out.dtype, device=out.device).view_as(out)
    return list(torch.autograd.grad((out * direction).sum(), [x, *pooling.parameters()]))


# --- promises ---------------------------------------------------------------------------------------------------------


def check_padded_equals_alone(pooling: Pooling) -> None:
    x = batch()
    together = pooling(x, LENGTHS)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = pooling(x[row : row + 1, :length], torch.tensor([length]))
        torch.testing.assert_close(together[row : row + 1], alone, rtol=0, atol=1e-12)


def check_batch_mates_do_not_matter(pooling: Pooling) -> None:
    x, other = batch(), batch(seed=2)
    mixed = torch.cat((x[:1], other[1:]))
    lengths = torch.tensor([int(LENGTHS[0]), 2, 9, 3])
    torch.testing.assert_close(pooling(mixed, lengths)[0], pooling(x, LENGTHS)[0], rtol=0, atol=1e-12)


def check_padding_content_does_not_matter(pooling: Pooling, filler: float) -> None:
    x = batch()
    filled = x.masked_fill(padding().unsqueeze(-1), filler)
    assert torch.equal(pooling(filled, LENGTHS), pooling(x, LENGTHS))


def check_padding_gets_no_gradient(pooling: Pooling, filler: float) -> None:
    x = batch().masked_fill(padding().unsqueeze(-1), filler)
    grads = gradients(pooling, x, LENGTHS)
    assert all(grad.isfinite().all() for grad in grads)
    assert (grads[0][padding()] == 0).all()
    assert (grads[0][0] != 0).any()


def check_frame_weights(pooling: Pooling) -> None:
    x = batch().masked_fill(padding().unsqueeze(-1), math.nan)
    weights = pooling.frame_weights(x, LENGTHS)
    assert weights.shape == (len(LENGTHS), FRAMES)
    assert weights.dtype == x.dtype
    assert (weights[padding()] == 0).all()
    assert (weights[~padding()] > 0).all()
    torch.testing.assert_close(weights.sum(1), torch.ones(len(LENGTHS), dtype=x.dtype), rtol=0, atol=1e-12)


@every_pooling
def test_padded_equals_alone(name: str) -> None:
    check_padded_equals_alone(make(name))


@every_pooling
def test_batch_mates_do_not_matter(name: str) -> None:
    check_batch_mates_do_not_matter(make(name))


@every_pooling
@pytest.mark.parametrize("filler", [1e9, math.inf, math.nan])
def test_padding_content_does_not_matter(name: str, filler: float) -> None:
    check_padding_content_does_not_matter(make(name), filler)


@every_pooling
@each_mode
@pytest.mark.parametrize("filler", [0.0, math.inf, math.nan])
def test_padding_gets_no_gradient(name: str, training: bool, filler: float) -> None:
    check_padding_gets_no_gradient(make(name, training=training), filler)


@every_pooling
def test_frame_weights(name: str) -> None:
    check_frame_weights(make(name))


@every_pooling
def test_frame_weights_do_not_depend_on_the_mode(name: str) -> None:
    x = batch()
    assert torch.equal(make(name, training=True).frame_weights(x, LENGTHS), make(name).frame_weights(x, LENGTHS))


@every_pooling
def test_permuted_batch(name: str) -> None:
    pooling, x, order = make(name), batch(), torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(pooling(x[order], LENGTHS[order]), pooling(x, LENGTHS)[order], rtol=0, atol=1e-12)


@every_pooling
def test_output_size(name: str) -> None:
    pooling = make(name)
    assert pooling(batch(), LENGTHS).shape == (len(LENGTHS), pooling.output_size)
    assert pooling(batch()[:0], LENGTHS[:0]).shape == (0, pooling.output_size)


@every_pooling
def test_frames_matter(name: str) -> None:
    assert not torch.allclose(make(name)(batch(), LENGTHS), make(name)(batch(seed=2), LENGTHS), atol=1e-3)


@every_pooling
@each_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("frames", ["one", "constant", "one constant channel", "zero"])
def test_degenerate_frames_are_finite(name: str, training: bool, dtype: torch.dtype, frames: str) -> None:
    pooling, x, lengths = make(name, dtype, training), batch(dtype), LENGTHS.clone()
    if name in DEEP and dtype is torch.float16:
        pytest.skip("its gradients at random weights leave float16's range: a matter of the gradient scaler")
    if frames == "one":
        lengths = torch.ones_like(LENGTHS)
    elif frames == "constant":
        x = x[:, :1].expand_as(x)
    elif frames == "one constant channel":
        x = torch.cat((x[..., :-1], torch.full_like(x[..., -1:], 3.7)), dim=-1)
    else:
        x = torch.zeros_like(x)
    assert pooling(x, lengths).isfinite().all()
    assert all(grad.isfinite().all() for grad in gradients(pooling, x, lengths))


@every_pooling
@each_mode
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_dtype_is_kept(name: str, training: bool, dtype: torch.dtype) -> None:
    pooling, x = make(name, dtype, training), batch(dtype)
    assert pooling(x, LENGTHS).dtype == dtype
    if name in DEEP and dtype is torch.float16:
        pytest.skip("its gradients at random weights leave float16's range: a matter of the gradient scaler")
    for grad, given in zip(gradients(pooling, x, LENGTHS), [x, *pooling.parameters()], strict=True):
        assert grad.dtype == given.dtype
        assert grad.isfinite().all()


@every_pooling
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rounds_only_input_and_output(name: str, dtype: torch.dtype) -> None:
    half, x = make(name, dtype), batch(dtype)
    exact = make(name, torch.float64)
    exact.load_state_dict({key: value.double() for key, value in half.state_dict().items()})
    expected = exact(x.double(), LENGTHS)
    atol = 2e-3 if name in DEEP else 1e-5
    torch.testing.assert_close(half(x, LENGTHS), expected.to(dtype), rtol=torch.finfo(dtype).eps, atol=atol)


@every_pooling
def test_autocast_does_not_lower_the_precision(name: str) -> None:
    pooling, x = make(name, torch.float32), batch(torch.float32).requires_grad_()
    inputs = [x, *pooling.parameters()]
    expected = pooling(x, LENGTHS)
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = pooling(x, LENGTHS)
        weights = pooling.frame_weights(x, LENGTHS)
    assert torch.equal(found, expected)
    assert torch.equal(weights, pooling.frame_weights(x, LENGTHS))
    for grad, reference in zip(
        torch.autograd.grad(found, inputs, direction), torch.autograd.grad(expected, inputs, direction), strict=True
    ):
        assert torch.equal(grad, reference)


@every_pooling
def test_state_dict_round_trip(name: str) -> None:
    first = make(name)
    torch.manual_seed(7)
    second = small(name, FEATURES).double()
    second.load_state_dict(first.state_dict())
    assert torch.equal(second(batch(), LENGTHS), first(batch(), LENGTHS))
    beside = set(first.state_dict()) - {key for key, _ in first.named_parameters()}
    assert beside <= {key for key, _ in first.named_buffers()}
    assert first.mixes_batch == bool(beside), "what is kept beside parameters are statistics over batches"


@every_pooling
def test_gradcheck(name: str) -> None:
    torch.manual_seed(0)
    pooling = small(name, 3).double()
    x = batch()[:2, :4, :3].requires_grad_()
    lengths = torch.tensor([4, 3])
    parameters = [] if name in DEEP else list(pooling.parameters())

    def run(x: Tensor, *values: Tensor) -> Tensor:
        names = [key for key, _ in pooling.named_parameters()]
        return torch.func.functional_call(pooling, dict(zip(names[: len(values)], values, strict=True)), (x, lengths))

    assert torch.autograd.gradcheck(run, (x, *parameters), fast_mode=name in SMALL)


@every_pooling
@each_mode
def test_compiles_to_one_graph(name: str, training: bool) -> None:
    if name in BY_LENGTH:
        pytest.skip("its shapes depend on lengths")
    torch._dynamo.reset()  # else earlier poolings count as recompilations of this one
    pooling, x = make(name, torch.float32, training), batch(torch.float32)
    compiled = torch.compile(pooling, backend="aot_eager", fullgraph=True)
    torch.manual_seed(3)
    expected = gradients(pooling, x, LENGTHS)
    torch.manual_seed(3)
    for grad, reference in zip(gradients(compiled, x, LENGTHS), expected, strict=True):
        torch.testing.assert_close(grad, reference, rtol=1e-4, atol=1e-5)


@every_pooling
def test_input_is_not_changed(name: str) -> None:
    x = batch()
    gradients(make(name, training=True), x, LENGTHS)
    assert torch.equal(x, batch())


@every_pooling
@pytest.mark.gpu
def test_device_is_kept_and_agrees_with_the_cpu(name: str) -> None:
    pooling, x = make(name), batch()
    expected, expected_grads = pooling(x, LENGTHS), gradients(pooling, x, LENGTHS)
    pooling = pooling.cuda()
    for lengths in (LENGTHS.cuda(), LENGTHS):
        out = pooling(x.cuda(), lengths)
        assert out.device.type == "cuda"
        torch.testing.assert_close(out.cpu(), expected, rtol=0, atol=1e-10)
        assert pooling.frame_weights(x.cuda(), lengths).device.type == "cuda"
        for grad, reference in zip(gradients(pooling, x.cuda(), lengths), expected_grads, strict=True):
            torch.testing.assert_close(grad.cpu(), reference, rtol=1e-8, atol=1e-10)


@every_pooling
@pytest.mark.gpu
def test_forward_does_not_wait_for_the_gpu(name: str) -> None:
    if name in BY_LENGTH:
        pytest.skip("its shapes depend on lengths")
    pooling, x, lengths = make(name, torch.float32).cuda(), batch(torch.float32).cuda(), LENGTHS.cuda()
    pooling(x, lengths)
    torch.cuda.set_sync_debug_mode("error")
    try:
        pooling.train()(x, lengths)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# --- wrong input ------------------------------------------------------------------------------------------------------


@every_pooling
@pytest.mark.parametrize(
    ("shape", "lengths", "message"),
    [
        ((2, 5), [5, 5], r"\(batch, frames, features\).*\(2, 5\)"),
        ((2, 5, FEATURES + 1), [5, 5], f"features: {FEATURES + 1} != {FEATURES}"),
        ((2, 5, FEATURES), [5], "batch: 2 != 1"),
        ((2, 5, FEATURES), [[5, 5]], r"lengths must be \(batch,\).*\(1, 2\)"),
        ((2, 5, FEATURES), [5, 6], "utterance 1 has 6 > 5"),
        ((2, 5, FEATURES), [0, 5], "utterance 0 has 0"),
        ((2, 5, FEATURES), [5, -1], "utterance 1 has -1"),
        ((2, 5, FEATURES), [5.0, 5.0], "lengths must be whole numbers.*float32"),
        ((2, 5, FEATURES), [True, True], "lengths must be whole numbers.*bool"),
    ],
)
def test_wrong_input(name: str, shape: tuple[int, ...], lengths: list[object], message: str) -> None:
    pooling = make(name, torch.float32)
    for call in (pooling, pooling.frame_weights):
        with pytest.raises(ValueError, match=message):
            call(torch.zeros(shape), torch.tensor(lengths))


@every_pooling
def test_wrong_dtype(name: str) -> None:
    with pytest.raises(ValueError, match=r"x must be floating point.*int64"):
        make(name, torch.float32)(torch.zeros(2, 5, FEATURES, dtype=torch.long), torch.tensor([5, 5]))


@every_pooling
@pytest.mark.parametrize("size", [0, -3, 2.5, True, "256"])
def test_wrong_input_size(name: str, size: object) -> None:
    with pytest.raises(ValueError, match=r"input_size .*must be a whole number"):
        poolings.get(name)(size)  # type: ignore[arg-type]


# --- the checks can fail ----------------------------------------------------------------------------------------------

CHECKS: dict[str, Callable[[Pooling], None]] = {
    "padded equals alone": check_padded_equals_alone,
    "batch mates": check_batch_mates_do_not_matter,
    "padding content": lambda pooling: check_padding_content_does_not_matter(pooling, 1e3),
    "NaN in padding": lambda pooling: check_padding_content_does_not_matter(pooling, math.nan),
    "padding gradient": lambda pooling: check_padding_gets_no_gradient(pooling, 0.0),
    "frame weights": check_frame_weights,
}


@pytest.mark.parametrize("name", ["correlation", "attentive_correlation"])
@pytest.mark.parametrize("promise", [key for key in CHECKS if key != "batch mates"])
def test_released_faults_are_caught(name: str, promise: str) -> None:
    CHECKS[promise](make(name))
    with pytest.raises(AssertionError):
        CHECKS[promise](make(name, variant="released"))


class _BatchCentred(Pooling):
    output_size = FEATURES

    def pool(self, v: Tensor, valid: Tensor) -> Tensor:
        return v[:, 0] - v[:, 0].mean(dim=0)


def test_dependence_on_batch_mates_is_caught() -> None:
    with pytest.raises(AssertionError):
        check_batch_mates_do_not_matter(_BatchCentred(FEATURES))
