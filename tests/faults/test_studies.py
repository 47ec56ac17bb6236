"""Studies, the ladder, late fusion, and the heads of arXiv 2312.11503, asked for what cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
from reporting.runs import make_run

from faults.campaign import Fault, hold, payload, table

pytestmark = pytest.mark.slow

STUDY = ("study", "neutral", "-u", "mfcc", "-d", "classical_bayes", "--device", "cpu")
LADDER = ("ladder", "--device", "cpu")
CNN = (
    "run",
    "-u",
    "fbank",
    "-d",
    "emotion_cnn",
    "--device",
    "cpu",
    "--corpus",
    "demo",
    "--data",
    "{demo}",
    "-p",
    "{here}/run",
)
MOBILENET = (
    "run",
    "-u",
    "spectrogram_16ms_4ms",
    "-d",
    "emotion_mobilenet",
    "--device",
    "cpu",
    "--corpus",
    "demo",
    "--data",
    "{demo}",
    "-p",
    "{here}/run",
)
WEIGHTS = "config.downstream_expert.modelrc.pooling.weights="


def _empty(here: Path) -> None:
    (here / "corpora").mkdir()


def _two(here: Path) -> None:
    make_run(here / "a")
    make_run(here / "b", upstream="fbank", rng=9)


def _other_labels(here: Path) -> None:
    make_run(here / "a")
    make_run(here / "b", labels=("x", "y"))


def _edited(here: Path) -> None:
    _two(here)
    path = here / "b" / "predictions.csv"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


def _run_in_the_way(here: Path) -> None:
    _two(here)
    folder = here / "fused" / "hubert+fbank" / "fusion(emotion_mean)" / "iemocap-superb-seed1337"
    make_run(folder)


@table(
    # --- study --------------------------------------------------------------------------------------------------------
    Fault("no study", ("study",), ("NAME",)),
    Fault("an unknown study", ("study", "neutrl", "-u", "mfcc"), ("unknown study 'neutrl'", "Did you mean 'neutral'")),
    Fault("code as study", ("study", payload(), "-u", "mfcc"), ("unknown study",)),
    Fault("a study by path", ("study", "../neutral", "-u", "mfcc"), ("unknown study '../neutral'",)),
    Fault("a study without data", STUDY, ("--data", "cremad, savee, tess, iemocap, ravdess")),
    Fault(
        "a study of a folder that is not there",
        (*STUDY, "--data", "{here}/nowhere"),
        ("nowhere: no such file or folder",),
    ),
    Fault(
        "a study of an empty folder",
        (*STUDY, "--data", "{here}/corpora"),
        ("points failed", "Expected the corpus cremad there"),
        _empty,
    ),
    Fault("a study without an upstream", ("study", "neutral", "--data", "{here}"), ("-u is missing",)),
    Fault(
        "a study of an unknown upstream",
        ("study", "neutral", "-u", "mfc", "--data", "{here}", "--device", "cpu"),
        ("-u 'mfc' is not",),
    ),
    Fault(
        "a study of an unknown head",
        ("study", "neutral", "-u", "mfcc", "-d", "emotion_men", "--data", "{here}", "--device", "cpu"),
        ("-d 'emotion_men'",),
    ),
    Fault(
        "an unknown part",
        (*STUDY, "--data", "{here}", "--parts", "savee,tes"),
        ("'tes' is not a corpus that can be combined", "Did you mean 'tess'"),
    ),
    Fault("a part twice", (*STUDY, "--data", "{here}", "--parts", "savee,savee"), ("named twice",)),
    Fault(
        "a study of one corpus",
        ("study", "cross-corpus", "-u", "mfcc", "--data", "{here}", "--parts", "savee", "--device", "cpu"),
        ("at least two corpora",),
    ),
    Fault("a study by name", (*STUDY, "--data", "{here}", "-n", "x"), ("study names its runs itself: --expname",)),
    Fault("a study that evaluates", (*STUDY, "--data", "{here}", "-m", "evaluate"), ("study trains",)),
    Fault(
        "a study with a seed and seeds",
        (*STUDY, "--data", "{here}", "--seed", "3", "--seeds", "1,2"),
        ("--seed 3 and --seeds",),
    ),
    Fault("a folder to write to", (*STUDY, "--data", "{here}", "--out", "{here}"), ("is a folder, expected a file",)),
    Fault(
        "transcripts without a transcription",
        ("study", "transcripts", "-u", "mfcc", "--data", "{here}", "--device", "cpu"),
        ("--text names the transcription",),
    ),
    # --- ladder -------------------------------------------------------------------------------------------------------
    Fault("a ladder without data", LADDER, ("Give the folder of corpus five with --data",)),
    Fault("a ladder on nothing", (*LADDER, "--data", "{here}/nowhere"), ("nowhere: no such file or folder",)),
    Fault("an unknown row", (*LADDER, "--data", "{here}", "--rows", "knnn"), ("--rows: unknown row 'knnn'",)),
    Fault(
        "a protocol twice", (*LADDER, "--data", "{here}", "--protocol", "strict,strict"), ("expected different names",)
    ),
    Fault("no protocol", (*LADDER, "--data", "{here}", "--protocol", ""), ("--protocol ''",)),
    Fault(
        "an unknown protocol of a ladder",
        (*LADDER, "--data", "{here}", "--protocol", "strikt", "--rows", "tree"),
        ("strikt",),
    ),
    Fault(
        "a head for the ladder",
        (*LADDER, "--data", "{here}", "-d", "emotion_mean"),
        ("--downstream: each row of the ladder has its own",),
    ),
    Fault(
        "a selection for the ladder",
        (*LADDER, "--data", "{here}", "-s", "last_hidden_state"),
        ("each row of the ladder has its own",),
    ),
    Fault(
        "a ladder on an empty folder",
        (*LADDER, "--data", "{here}/corpora", "--rows", "tree", "--protocol", "strict"),
        ("points failed", "Expected the corpus cremad there"),
        _empty,
    ),
    # --- late fusion --------------------------------------------------------------------------------------------------
    Fault("a fusion of one", ("compare", "--fuse", "{here}/a"), ("at least two runs",), _two),
    Fault("a fusion with itself", ("compare", "--fuse", "{here}/a", "{here}/a"), ("named twice",), _two),
    Fault(
        "a fusion of other labels",
        ("compare", "--fuse", "{here}/a", "{here}/b"),
        ("not comparable", "labels x, y"),
        _other_labels,
    ),
    Fault(
        "a fusion with an edited run",
        ("compare", "--fuse", "{here}/a", "{here}/b"),
        ("does not hold exactly the",),
        _edited,
    ),
    Fault("a fusion with nothing", ("compare", "--fuse", "{here}/a", "{here}/nowhere"), ("no such folder",), _two),
    Fault("a fusion of a folder of several", ("compare", "--fuse", "{here}/a", "{here}"), ("holds 2 systems",), _two),
    Fault(
        "a fusion in the way of a run",
        ("compare", "--fuse", "{here}/a", "{here}/b", "--save-fused", "{here}/fused"),
        ("a run is there already",),
        _run_in_the_way,
    ),
    Fault("nothing to compare", ("compare",), ("compare what?",)),
    Fault("nothing to save", ("compare", "{here}/a", "--save-fused", "{here}/f"), ("nothing to fuse",), _two),
    # --- epochs -------------------------------------------------------------------------------------------------------
    Fault("no epochs", (*CNN, "-o", "config.runner.epochs=0"), ("epochs must be at least 1",)),
    Fault("half an epoch", (*CNN, "-o", "config.runner.epochs=0.5"), ("runner.epochs: expected int, found 0.5",)),
    Fault("code as epochs", (*CNN, "-o", f"config.runner.epochs={payload()}"), ("runner.epochs",)),
    Fault(
        "epochs and steps",
        (*CNN, "-o", "config.runner.epochs=3,,config.runner.total_steps=5"),
        ("both say how long to train",),
    ),
    Fault("steps without an interval", (*CNN, "-o", "config.runner.total_steps=5"), ("missing key 'eval_step'",)),
    Fault(
        "an interval above the epochs",
        (*CNN, "-o", "config.runner.epochs=1,,config.runner.eval_step=999"),
        ("eval_step 999 is above total_steps",),
    ),
    # --- the networks -------------------------------------------------------------------------------------------------
    Fault(
        "a width of text",
        (*CNN, "-o", "config.downstream_expert.modelrc.pooling.width=wide"),
        ("width must be a whole number",),
    ),
    Fault(
        "a kernel that no machine has",
        (*CNN, "-o", "config.downstream_expert.modelrc.pooling.kernel=99999999999"),
        ("cnn",),
    ),
    Fault(
        "weights that are not there",
        (*MOBILENET, "-o", f"{WEIGHTS}{{here}}/nowhere.pt"),
        ("nowhere.pt': no such file",),
    ),
    Fault(
        "text as weights",
        (*MOBILENET, "-o", f"{WEIGHTS}{{here}}/text.pt"),
        ("not the state dict of torchvision's MobileNetV2",),
        lambda here: (here / "text.pt").write_text("x"),
    ),
    Fault("a checkpoint of the spectrogram", (*MOBILENET, "-k", "x.pt"), ("-k x.pt",)),
)
def test_a_fault_is_named(
    fault: Fault, tmp_path: Path, demo_root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hold(fault, tmp_path, capsys, demo=demo_root)
