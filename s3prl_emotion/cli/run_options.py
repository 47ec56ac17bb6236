"""Options that describe a run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3prl_emotion.config import read_yaml
from s3prl_emotion.errors import ConfigError, suggest

if TYPE_CHECKING:
    from s3prl_emotion.runs.plan import AudioDerivation

KEY = "augmentation"
"""The key of the file that ``--augmentation`` names, as in ``datarc``."""


def add_derivation_arguments(parser: argparse._ActionsContainer) -> None:
    """Cleaned recordings, and augmented copies of those that are trained on."""
    group = parser.add_argument_group("derived audio (cleaning, class balancing)")
    group.add_argument(
        "--preparation",
        "--denoise",
        metavar="NAME",
        help="clean every recording first: paper-d (noise reduction, no silence)",
    )
    group.add_argument(
        "--balance",
        metavar="N",
        help="train on N utterances of each class (or max, median, min), by leaving out and by augmented copies",
    )
    group.add_argument(
        "--augmentation", type=Path, metavar="YAML", help="effects of the copies, under the key augmentation"
    )
    group.add_argument(
        "--balance-seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the choice of utterances and of their augmented copies (default: %(default)s)",
    )
    group.add_argument("--audio-root", type=Path, metavar="DIR", help="where such files lie (default: result/audio)")


def derivation_of(args: argparse.Namespace) -> AudioDerivation:
    """What the command line asks for.

    Raises:
        ConfigError: naming the option, or file and key
    """
    from s3prl_emotion.protocols.balance import Balance, parse_size
    from s3prl_emotion.runs.plan import AUDIO_ROOT, AudioDerivation

    if args.balance is None:
        for flag, given in (("--augmentation", args.augmentation), ("--balance-seed", args.balance_seed or None)):
            if given is not None:
                raise ConfigError(
                    f"{flag} {given}: is for the copies of --balance, which is missing. To augment while training, use "
                    "the key datarc.augmentation of the configuration"
                )
        balance = None
    else:
        try:
            size = parse_size(args.balance)
        except ValueError as error:
            raise ConfigError(f"--balance: {error}") from None
        balance = Balance(size, args.balance_seed, _effects(args.augmentation))
    return AudioDerivation(args.preparation, balance, args.audio_root or AUDIO_ROOT)


def _effects(path: Path | None) -> tuple[dict[str, Any], ...] | None:
    if path is None:
        return None
    content = read_yaml(path)
    for key in content:
        if key != KEY:
            raise ConfigError(f"{path}: unknown key {key!r}. {suggest(str(key), (KEY,))}")
    listed = content.get(KEY)
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ConfigError(f"{path}: key {KEY!r}: expected a list of effects, each with keys and values")
    return tuple(listed)


if TYPE_CHECKING:
    from s3prl_emotion.experiment import Request
    from s3prl_emotion.s3prl_runner.cache import CacheOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """S3PRL's options keep their names, short forms and defaults; a test compares them with S3PRL's own parser."""
    ours = parser.add_argument_group("what to benchmark")
    ours.add_argument("-u", "--upstream", help="upstream, as `s3prl-emotion ls upstreams` lists them")
    ours.add_argument(
        "-d",
        "--downstream",
        help="downstream, as `s3prl-emotion ls downstreams` lists them; or classical_ and a name of `ls classifiers`",
    )
    add_corpus_arguments(ours)
    ours.add_argument(
        "--text",
        metavar="corpus|FILE",
        help="what is said, for heads that read it: corpus (default), or a file that `transcribe` wrote, or its folder",
    )
    ours.add_argument(
        "--allow-empty-text", action="store_true", help="take an utterance without text as one in which nothing is said"
    )
    ours.add_argument(
        "--train-share",
        type=float,
        metavar="SHARE",
        help="train on this share of each fold's training part, such as 0.1, stratified by speaker and class and drawn "
        "by the seed; dev and test stay whole",
    )
    ours.add_argument(
        "--pretrained",
        type=Path,
        metavar="FOLDER",
        help="start layer weights, projector and pooling from a pretrained head, see `pretrain contrastive`",
    )
    add_derivation_arguments(parser)
    cache = parser.add_argument_group("hidden states of a frozen upstream are computed once and stored")
    cache.add_argument(
        "--cache", action=argparse.BooleanOptionalAction, help="default: on, except with -f and -d emotion"
    )
    cache.add_argument("--cache-dtype", default="float16", choices=["float16", "float32"], help="default: %(default)s")
    add_store_arguments(cache)
    cache.add_argument(
        "--cache-device", help="keep states in this device's memory as far as they fit (default: --device)"
    )

    mode = parser.add_argument_group("S3PRL: mode and checkpoints")
    mode.add_argument("-m", "--mode", choices=["train", "evaluate", "inference"], default="train")
    mode.add_argument(
        "-t", "--evaluate_split", default="test", help="split of -m evaluate; the audio file of -m inference"
    )
    mode.add_argument(
        "-e", "--past_exp", metavar="CKPT", help="checkpoint, or fold folder, to resume, evaluate or infer with"
    )
    mode.add_argument("-i", "--init_ckpt", metavar="CKPT", help="checkpoint whose parameters -m evaluate loads")
    mode.add_argument("-a", "--auto_resume", action="store_true", help="accepted; a repeated command always resumes")
    mode.add_argument(
        "-o", "--override", help='"config.optimizer.lr=1e-3,,config.runner.total_steps=5000,,args.seed=7"'
    )
    mode.add_argument("-c", "--config", metavar="YAML", help="configuration file in place of the shipped one")
    mode.add_argument("-v", "--downstream_variant", help="S3PRL's name of a test fold: fold1, ...")
    mode.add_argument("-n", "--expname", help="run folder: <root>/EXPNAME")
    mode.add_argument("-p", "--expdir", help="run folder; fold N is trained in EXPDIR/fold<N>")

    upstream = parser.add_argument_group("S3PRL: upstream")
    add_checkpoint_arguments(upstream)
    upstream.add_argument(
        "-f", "--upstream_trainable", action="store_true", help="fine-tune the upstream (default: frozen)"
    )
    add_selection_argument(upstream)
    upstream.add_argument("-l", "--upstream_layer_selection", type=int, help="one layer instead of the weighted sum")
    upstream.add_argument(
        "--upstream_feature_normalize", action="store_true", help="layer-normalise before the weighted sum"
    )
    upstream.add_argument("--upstream_model_name", default="model.pt", help=argparse.SUPPRESS)
    upstream.add_argument("--upstream_revision", help=argparse.SUPPRESS)
    upstream.add_argument("--hub", default="torch", choices=["torch", "huggingface"], help=argparse.SUPPRESS)

    machine = parser.add_argument_group("S3PRL: machine")
    add_seed_arguments(machine)
    machine.add_argument("--cache_dir", help="where S3PRL keeps downloads")
    machine.add_argument("--disable_cudnn", action="store_true")
    machine.add_argument("--verbose", action="store_true", help="log everything")
    for flag, kind in (("--backend", str), ("--local_rank", int), ("--push_to_hf_hub", str), ("--hf_hub_org", str)):
        machine.add_argument(flag, type=kind, default="nccl" if flag == "--backend" else None, help=argparse.SUPPRESS)


def add_corpus_arguments(ours: argparse._ActionsContainer) -> None:
    """What to train and test on, and where the result goes."""
    ours.add_argument("--corpus", default=None, help="corpus (default: iemocap), see `s3prl-emotion ls corpora`")
    ours.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="the corpus' folder (for --corpus table: the table; its relative paths start from its own folder)",
    )
    ours.add_argument(
        "--corpus-option", action="append", default=[], metavar="KEY=VALUE", help="option of the corpus' reader"
    )
    ours.add_argument("--protocol", help="how to divide and select (default: the corpus' own), see `ls protocols`")
    ours.add_argument("--fold", default="all", metavar="N|all", help="test folds: all (default), 3, or 1,4")
    ours.add_argument(
        "--demo", action="store_true", help="make a synthetic corpus and train briefly: does everything work?"
    )
    ours.add_argument("--skip-bad", action="store_true", help="go on without audio files that cannot be used")
    ours.add_argument("--trim-zeros", action="store_true", help="leave out exact digital zeros at both ends of a clip")
    add_audit_arguments(ours)
    ours.add_argument(
        "--root", type=Path, default=Path("result/downstream"), help="run folders are made below (%(default)s)"
    )


def add_store_arguments(cache: argparse._ActionsContainer) -> None:
    """Where hidden states are stored."""
    cache.add_argument(
        "--cache-root", type=Path, default=Path("result/cache"), metavar="DIR", help="default: %(default)s"
    )
    cache.add_argument(
        "--cache-limit", metavar="SIZE", help="bound for all of DIR, such as 100G; oldest states go first"
    )


def add_checkpoint_arguments(upstream: argparse._ActionsContainer) -> None:
    """S3PRL's options that say which weights an upstream has."""
    upstream.add_argument("-k", "--upstream_ckpt", metavar="PATH", help="checkpoint of upstreams that need one")
    upstream.add_argument("-g", "--upstream_model_config", metavar="PATH", help="model configuration of such upstreams")
    upstream.add_argument(
        "--trust-checkpoint", action="store_true", help="let the upstream's checkpoint execute the code it brings along"
    )
    upstream.add_argument("-r", "--upstream_refresh", action="store_true", help="download the upstream again")


def add_selection_argument(upstream: argparse._ActionsContainer) -> None:
    """S3PRL's option that says which of an upstream's outputs is taken."""
    upstream.add_argument("-s", "--upstream_feature_selection", default="hidden_states", help="default: %(default)s")


def add_seed_arguments(machine: argparse._ActionsContainer) -> None:
    """Seeds and device."""
    machine.add_argument(
        "--seeds", type=seeds_option, metavar="0,1,2", help="one run for each, and their summary, in place of --seed"
    )
    machine.add_argument("--seed", default=1337, type=seed_option, help="default: %(default)s, as in S3PRL")
    machine.add_argument("--device", default=None, help="cuda or cpu (default: cuda where there is one)")


def add_audit_arguments(group: argparse._ActionsContainer) -> None:
    """What `run` and `prepare` need to know about leaks."""
    group.add_argument(
        "--drop-leaks",
        action="store_true",
        help="leave out of train and dev what is in a later part under another id, as audio or as augmented sibling",
    )
    group.add_argument(
        "--pretraining-data",
        type=Path,
        action="append",
        default=[],
        metavar="MANIFEST",
        help="manifest of what the upstream was pretrained on, for the audit; may be given several times",
    )


def seed_option(text: str) -> int:
    seed = int(text)
    if not 0 <= seed <= MAX_SEED:
        shown = text if len(text) < 40 else f"{text[:40]}..."
        raise argparse.ArgumentTypeError(f"a seed is 0 or more, and at most {MAX_SEED}, NumPy's limit; got {shown}")
    return seed


MAX_SEED = 2**32 - 1
"""That of :data:`s3prl_emotion.random_state.MAX_SEED`, which needs torch; a test compares them."""


def seeds_option(text: str) -> tuple[int, ...]:
    try:
        return tuple(seed_option(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas, such as 0,1,2, got {text!r}") from None


def request_of(args: argparse.Namespace) -> Request:
    """What the command line asks for.

    Raises:
        ConfigError: if the upstream or the downstream is missing, or an option cannot be meant so
    """
    from s3prl_emotion.upstreams.names import check_name

    for name, flag in (("upstream", "-u"), ("downstream", "-d")):
        if getattr(args, name) is None:
            raise ConfigError(f"{flag} is missing: which {name}? `s3prl-emotion ls {name}s` lists them")
    for name in filter(None, args.upstream.split(",")) if args.command in ("sweep", "classical") else [args.upstream]:
        check_name(name)  # before torch is loaded
    if args.init_ckpt:
        raise ConfigError("-i: to evaluate a checkpoint use -m evaluate -e CKPT; to go on with one, -m train -e CKPT")
    from s3prl_emotion.experiment import Request
    from s3prl_emotion.s3prl_runner.arguments import ARGUMENTS

    return Request(
        s3prl={key: value for key, value in vars(args).items() if key in ARGUMENTS},
        corpus=args.corpus or ("demo" if args.demo else "iemocap"),
        data=args.data,
        corpus_options=corpus_options(args.corpus_option),
        protocol=args.protocol,
        folds=folds_option(args.fold),
        root=args.root,
        demo=args.demo,
        skip_bad=args.skip_bad,
        trim_zeros=args.trim_zeros,
        drop_leaks=args.drop_leaks,
        pretraining=tuple(args.pretraining_data),
        making=derivation_of(args),
        cache=args.cache,
        cache_options=cache_options(args),
        text=args.text,
        allow_empty_text=args.allow_empty_text,
        pretrained=args.pretrained,
        train_share=args.train_share,
    )


def cache_options(args: argparse.Namespace) -> CacheOptions:
    from s3prl_emotion.features.extraction import parse_size
    from s3prl_emotion.s3prl_runner.cache import CacheOptions

    try:
        limit = None if args.cache_limit is None else parse_size(args.cache_limit)
    except ValueError as error:
        raise ConfigError(f"--cache-limit {args.cache_limit!r}: {error}") from None
    return CacheOptions(args.cache_root, args.cache_dtype, limit, args.cache_device)


def folds_option(text: str) -> tuple[int, ...] | None:
    if text == "all":
        return None
    try:
        folds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--fold {text!r}: expected all, a number, or numbers with commas") from None
    if len(set(folds)) < len(folds):
        raise ConfigError(f"--fold {text!r}: a fold is named twice")
    return folds


def corpus_options(pairs: list[str], option: str = "--corpus-option") -> dict[str, str]:
    """``KEY=VALUE`` of an option that may be repeated."""
    options = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"{option} {pair!r}: expected KEY=VALUE")
        if key in options:
            raise ConfigError(f"{option} {pair!r}: {key} is given twice; several values go with commas")
        options[key] = value
    return options
