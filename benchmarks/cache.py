"""What storing hidden states gains: stock S3PRL against this package, side by side in one run.

    python benchmarks/cache.py                      # steps per second, extraction, growth; CPU or GPU, random weights
    python benchmarks/cache.py --only steps --models fbank,small,base --head emotion_attn_corr --device cuda
    python benchmarks/cache.py --only large --device cuda    # WavLM-Large shape on IEMOCAP's length distribution

Audio is synthetic, with lengths like those of a corpus (log-normal, mean ``--seconds``); weights are random, which
changes no cost. "stock" is S3PRL's Runner with S3PRL's own upstream path and featurizer: padded batches, the upstream
run at every step, our head with the same configuration. "ours" is the same Runner on stored states. Medians are of
the Runner's own steps, after a warm-up.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import platform
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

import s3prl_emotion
from s3prl_emotion.config import read_yaml
from s3prl_emotion.corpora import Manifest, Utterance
from s3prl_emotion.corpora.validation import validate
from s3prl_emotion.downstream.config import ModelConfig
from s3prl_emotion.downstream.head import sees_only_means
from s3prl_emotion.downstream.settings import check_config
from s3prl_emotion.features.extraction import human
from s3prl_emotion.protocols.split import make_folds
from s3prl_emotion.s3prl_runner import arguments, launch
from s3prl_emotion.s3prl_runner.cache import CacheOptions, open_cache
from s3prl_emotion.s3prl_runner.registration import downstream_configs
from s3prl_emotion.s3prl_runner.selection import states

MODELS = {  # layers, width, convolution channels, feature-extractor norm
    "small": (4, 128, 64, "group"),
    "base": (12, 768, 512, "group"),
    "large": (24, 1024, 512, "layer"),
}
LABELS = ("neu", "hap", "ang", "sad")


def make_corpus(folder: Path, count: int, seconds: float, seed: int = 0) -> Manifest:
    """Noise of log-normal lengths (sigma 0.6, as IEMOCAP's; at least 0.6 s, at most 34 s), 10 speakers, 5 folds."""
    generator = np.random.default_rng(seed)
    lengths = np.clip(generator.lognormal(np.log(seconds) - 0.18, 0.6, count), 0.6, 34.0)
    folder.mkdir(parents=True, exist_ok=True)
    utterances = []
    for number, length in enumerate(lengths):
        path = folder / f"u{number}.wav"
        soundfile.write(path, generator.standard_normal(int(length * 16000)).astype(np.float32) * 0.1, 16000)
        speaker = number % 10
        label = LABELS[number // 10 % 4]
        utterances.append(Utterance(f"u{number}", path.name, label, f"s{speaker}", fold=speaker % 5 + 1))
    return validate(Manifest("noise", LABELS, str(folder), tuple(utterances)))[0]


def make_checkpoint(folder: Path, model: str) -> Path:
    """A HuBERT of the model's shape with random weights, in transformers format."""
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    layers, width, channels, norm = MODELS[model]
    config = HubertConfig(
        num_hidden_layers=layers,
        hidden_size=width,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
        conv_dim=(channels,) * 7,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
    )
    torch.manual_seed(0)
    HubertModel(config).save_pretrained(folder / model)
    Wav2Vec2FeatureExtractor(do_normalize=norm == "layer").save_pretrained(folder / model)
    return folder / model


def prepare(
    folder: Path, manifest: Manifest, model: str, head: str, device: str, steps: int
) -> tuple[Any, dict[str, Any]]:
    """Arguments and configuration of one fold, evaluated once at the end only."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest.write(folder / "manifest.jsonl")
    make_folds(manifest, "strict").write(folder / "folds.json")
    config = read_yaml(downstream_configs()[head])
    config["runner"].update(total_steps=steps, eval_step=steps, save_step=steps, log_step=steps)
    config["downstream_expert"]["datarc"].update(manifest="../manifest.jsonl", folds="../folds.json", test_fold="fold1")
    config = check_config(config, head)
    values = {"upstream": "fbank", "downstream": head, "device": device, "expdir": str(folder / "fold1")}
    if model != "fbank":
        # S3PRL's own wrapper of transformers models: padded batches with an attention mask
        values.update(upstream="hf_hubert_custom", upstream_ckpt=str(folder.parent / model))
    (folder / "fold1").mkdir(exist_ok=True)
    return arguments.arguments(**values), config


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


def time_steps(args: Any, config: dict[str, Any], cached: Any, warm_up: int) -> tuple[float, float]:
    """Median seconds of one optimiser step of the Runner, and the last training loss."""
    runner = launch.start(args, config, cached)
    stamps: list[float] = []
    losses: list[float] = []
    expert = runner.downstream.model
    original = expert.forward

    def forward(split: str, *rest: Any, **kwargs: Any) -> Any:
        if split == "train":
            if args.device.startswith("cuda"):
                torch.cuda.synchronize()
            stamps.append(time.perf_counter())
        loss = original(split, *rest, **kwargs)
        if split == "train":
            losses.append(float(loss.detach()))
        return loss

    expert.forward = forward
    runner.evaluate = lambda *_: []
    runner.train()
    gaps = [after - before for before, after in zip(stamps[warm_up:], stamps[warm_up + 1 :], strict=False)]
    return statistics.median(gaps), losses[-1]


def steps_table(options: argparse.Namespace, folder: Path, manifest: Manifest) -> None:
    print(f"\nsteps: {options.head}, batch 32, one fold of {len(manifest.utterances)} utterances, medians")
    print(f"{'upstream':<10}{'stock ms':>10}{'ours ms':>10}{'ratio':>8}   states read per step, and time to touch them")
    for model in options.models.split(","):
        work = folder / f"run-{model}"
        args, config = prepare(work, manifest, model, options.head, options.device, options.stock_steps)
        with quiet():
            stock, _ = time_steps(args, config, None, warm_up=2)
        args, config = prepare(work, manifest, model, options.head, options.device, options.steps)
        means = sees_only_means(ModelConfig(**config["downstream_expert"]["modelrc"]))
        with quiet():
            cached = open_cache(args, manifest, CacheOptions(folder / "cache", options.dtype), (model, None), means)
        config["downstream_expert"]["datarc"]["cached"] = options.dtype
        with quiet():
            ours, _ = time_steps(args, config, cached, warm_up=10)
        store = cached.store
        frames = sum(store.frames(key) for key in cached.keys) / len(cached.keys)
        touched = 32 * frames * store.frame_bytes
        blocks = [cached.block(torch.empty(0, number)) for number in range(min(64, len(cached.keys)))]
        floor = touch(blocks) * 32 / len(blocks)
        print(
            f"{model:<10}{1e3 * stock:>10.1f}{1e3 * ours:>10.1f}{stock / ours:>8.1f}",
            f"  {human(touched)}, {1e3 * floor:.1f} ms",
            flush=True,
        )


def touch(blocks: list[torch.Tensor]) -> float:
    """Seconds to read every byte of ``blocks`` once (a sum), the floor under any use of them."""
    views = [block.view(torch.int16 if block.dtype == torch.float16 else torch.int32) for block in blocks]
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for view in views:
            view.max()
        if views[0].is_cuda:
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def extraction_table(options: argparse.Namespace, folder: Path, manifest: Manifest) -> None:
    """Our extraction against a bare forward loop over the same waveforms, and how both grow with the corpus."""
    from s3prl import hub

    from s3prl_emotion.audio import read_audio

    model = "fbank" if options.models == "fbank" else options.models.split(",")[-1]
    print(f"\nextraction: {model}, one utterance at a time")
    print(
        f"{'utterances':<12}{'audio s':>9}{'bare s':>9}{'ours s':>9}{'throughput':>12}{'disk':>10}{'peak memory':>13}"
    )
    for share in (1, 2, 4):
        part = manifest.with_utterances(manifest.utterances[: len(manifest.utterances) * share // 4])
        args, _ = prepare(folder / f"run-{model}", manifest, model, options.head, options.device, 10)
        with quiet():
            upstream = getattr(hub, args.upstream)(ckpt=args.upstream_ckpt).to(options.device).eval()
        rate = upstream.get_downsample_rates("hidden_states")
        waveforms = [torch.from_numpy(read_audio(part.path_of(u))).to(options.device) for u in part.utterances]
        with torch.no_grad():
            upstream(waveforms[:1])
            start = time.perf_counter()
            for waveform in waveforms:
                upstream([waveform])
            if options.device.startswith("cuda"):
                torch.cuda.synchronize()
            bare = time.perf_counter() - start
        states(upstream, waveforms[0], selection="hidden_states", layer=None, rate=rate)
        root = folder / f"cache-{share}"
        with quiet():
            opening = time.perf_counter()
            open_cache(args, part.with_utterances([]), CacheOptions(root, options.dtype), (model, None), False)
            opening = time.perf_counter() - opening  # building and fingerprinting the model, once per run
            start = time.perf_counter()
            cached = open_cache(args, part, CacheOptions(root, options.dtype), (model, None), False)
            ours = time.perf_counter() - start - opening
        disk = sum(path.stat().st_size for path in cached.store.folder.iterdir())
        audio = sum(u.duration_s or 0 for u in part.utterances)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(
            f"{len(part.utterances):<12}{audio:>9.0f}{bare:>9.2f}{ours:>9.2f}{bare / ours:>12.2f}{human(disk):>10}",
            f"{human(peak):>13}",
            flush=True,
            sep="",
        )
        shutil.rmtree(root)


def composition_table(options: argparse.Namespace, folder: Path, manifest: Manifest) -> None:
    """How far the features of an utterance move with the batch that it is in: stock S3PRL, and stored states."""
    from s3prl import hub
    from s3prl.upstream.interfaces import Featurizer

    from s3prl_emotion.audio import read_audio
    from s3prl_emotion.features.upstream import BlockFeaturizer

    print(
        "\nbatch composition: relative L2 distance of an utterance's features from those it has alone (mean, largest),"
    )
    print("and utterances whose number of frames changes, of 32")
    print(f"{'upstream':<10}{'norm':<8}{'stock, batch 8':>22}{'stock, batch 32':>22}{'stored, batch 32':>22}")
    part = manifest.with_utterances(manifest.utterances[:32])
    for model in options.models.split(","):
        args, _ = prepare(folder / f"run-{model}", manifest, model, options.head, options.device, 10)
        waveforms = [torch.from_numpy(read_audio(part.path_of(u))).to(options.device) for u in part.utterances]
        with quiet(), torch.no_grad():
            upstream = getattr(hub, args.upstream)(ckpt=args.upstream_ckpt).to(options.device).eval()
            featurizer = Featurizer(upstream, upstream_device=options.device).to(options.device)
            batched = {
                size: [
                    item
                    for start in range(0, 32, size)
                    for item in featurizer(waveforms[start : start + size], upstream(waveforms[start : start + size]))
                ]
                for size in (1, 8, 32)
            }
            cached = open_cache(args, part, CacheOptions(folder / "cache-composition", "float32"), (model, None), False)
            stored = BlockFeaturizer(cached.store).to(options.device)
            tickets = [torch.empty(0, number) for number in range(32)]
            batched[-1] = [stored([item], cached([item]))[0] for item in tickets]
            batched[-32] = list(stored(tickets, cached(tickets)))
        cells = [
            distance(batched[1], batched[8]),
            distance(batched[1], batched[32]),
            distance(batched[-1], batched[-32]),
        ]
        norm = "none" if model == "fbank" else MODELS[model][3]
        print(f"{model:<10}{norm:<8}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


def distance(alone: list[torch.Tensor], together: list[torch.Tensor]) -> str:
    """Mean and largest relative L2 distance over the frames that both have, and how many differ in length."""
    relative = [
        float((one[: len(two)] - two[: len(one)]).norm() / one.norm()) for one, two in zip(alone, together, strict=True)
    ]
    lengths = sum(len(one) != len(two) for one, two in zip(alone, together, strict=True))
    return f"{statistics.mean(relative):.1e} {max(relative):.1e} {lengths}"


def recipe(options: argparse.Namespace, folder: Path, manifest: Manifest) -> None:
    """A whole recipe of 30000 steps and 30 dev evaluations a fold, five folds, extrapolated from measured steps."""
    model = options.models.split(",")[-1]
    work = folder / f"run-{model}"
    args, config = prepare(work, manifest, model, options.head, options.device, options.stock_steps)
    with quiet():
        stock, _ = time_steps(args, config, None, warm_up=2)
    args, config = prepare(work, manifest, model, options.head, options.device, options.steps)
    with quiet():
        start = time.perf_counter()
        cached = open_cache(args, manifest, CacheOptions(folder / "cache-recipe", options.dtype), (model, None), False)
        extraction = time.perf_counter() - start
        config["downstream_expert"]["datarc"]["cached"] = options.dtype
        ours, _ = time_steps(args, config, cached, warm_up=10)
    hours = 5 * 30000 / 3600
    print(f"\nrecipe: {options.head}, {model}, five folds of 30000 steps, extrapolated, without evaluation")
    print(f"stock {stock * hours:.1f} h, ours {ours * hours + extraction / 3600:.1f} h (extraction {extraction:.0f} s)")


def main() -> None:
    """Parse options and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["steps", "extraction", "composition", "recipe", "large"])
    parser.add_argument("--models", default="fbank,small,base")
    parser.add_argument("--head", default="emotion_attn_corr")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", default="float16", choices=["float16", "float32"])
    parser.add_argument("--utterances", type=int, default=160)
    parser.add_argument("--seconds", type=float, default=2.0, help="mean length of an utterance")
    parser.add_argument("--steps", type=int, default=60, help="steps of ours")
    parser.add_argument("--stock-steps", type=int, default=6, help="steps of stock S3PRL")
    options = parser.parse_args()
    if options.only == "large":  # IEMOCAP: 5531 utterances, 4.5 s on average
        options.models, options.utterances, options.seconds = "large", 5531, 4.5
    s3prl_emotion.register()
    on_gpu = options.device.startswith("cuda")
    name = torch.cuda.get_device_name() if on_gpu else platform.processor() or platform.machine()
    print(f"{options.device} ({name}), {torch.get_num_threads()} threads, torch {torch.__version__}, {options.dtype}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        manifest = make_corpus(folder / "audio", options.utterances, options.seconds)
        seconds = sum(u.duration_s or 0 for u in manifest.utterances)
        print(f"{options.utterances} utterances, {seconds:.0f} s of audio")
        for model in set(options.models.split(",")) - {"fbank"}:
            make_checkpoint(folder, model)
        if options.only in (None, "steps", "large"):
            steps_table(options, folder, manifest)
        if options.only in (None, "extraction"):
            extraction_table(options, folder, manifest)
        if options.only in (None, "composition"):
            composition_table(options, folder, manifest)
        if options.only in ("recipe", "large"):
            recipe(options, folder, manifest)


if __name__ == "__main__":
    main()
