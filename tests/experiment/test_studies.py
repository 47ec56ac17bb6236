"""Studies: each through its whole machinery on fabricated corpora, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from five_corpora import make_five
from reporting.runs import make_run
from text.models import tiny_bert

from s3prl_emotion.cli import main
from s3prl_emotion.errors import EmotionError
from s3prl_emotion.experiment.request import Request
from s3prl_emotion.experiment.studies import Setting, studies
from s3prl_emotion.experiment.studies.base import StudyArm
from s3prl_emotion.protocols import protocols

NAMES = studies.names()


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_five(tmp_path_factory.mktemp("five"))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("states")


def setting(**changes: object) -> Setting:
    request = Request({"device": "cpu"}, corpus="five", data=Path("data"))
    return Setting(**{"request": request, "upstreams": ("mfcc",), "downstreams": ("emotion_mean",), **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", NAMES)
def test_every_study_is_a_question_with_variants(name: str) -> None:
    study = studies.get(name)()
    assert study.question().endswith(".")
    assert "?" in study.question()
    request = Request({"device": "cpu"}, corpus="five", data=Path("data"), text="transcription.jsonl")
    variants = study.variants(setting(request=request))
    assert len({variant.name for variant in variants}) == len(variants) > 0
    for variant in variants:
        assert variant.request.protocol is None or variant.request.protocol in protocols.names()


def test_cross_corpus_goes_both_ways() -> None:
    variants = studies.get("cross-corpus")().variants(setting(parts=("savee", "tess", "cremad")))
    assert [variant.name for variant in variants][:3] == ["cremad to savee", "cremad to tess", "savee to cremad"]
    assert len(variants) == 6
    assert variants[0].request.corpus_options == {"train": "cremad", "test": "savee"}
    assert {variant.request.protocol for variant in variants} == {"cross"}


def test_leave_one_out_trains_on_the_others() -> None:
    variants = {item.name: item.request for item in studies.get("leave-one-out")().variants(setting())}
    assert len(variants) == 12
    assert variants["without tess"].corpus_options == {"parts": "cremad,savee,iemocap,ravdess"}
    assert variants["corpus unheard"].corpus_options == {"folds": "corpora"}
    assert variants["tess alone"].protocol == "superb"  # two speakers
    assert variants["savee alone"].protocol is None


def test_options_of_the_user_stay() -> None:
    request = Request({"override": "a=1"}, corpus_options={"cremad": "/elsewhere", "exc": "happy"}, data=Path("d"))
    changed = setting(request=request).changed(override="b=2", corpus_options={"parts": "savee"})
    assert changed.s3prl["override"] == "a=1,,b=2"
    assert changed.corpus_options == {"cremad": "/elsewhere", "exc": "happy", "parts": "savee"}
    alone = setting(request=request).alone("cremad")
    assert (alone.corpus, alone.data, alone.corpus_options) == ("cremad", Path("/elsewhere"), {"exc": "happy"})
    assert setting(request=request).alone("savee").data == Path("d/savee")


@pytest.mark.parametrize(
    ("name", "parts", "message"),
    [
        ("leave-one-out", ("savee", "tess"), "needs at least three corpora"),
        ("cross-corpus", ("savee",), "needs at least two corpora"),
        ("cross-corpus", ("savee", "saveee"), "is not a corpus that can be combined"),
        ("intensity", ("savee",), "none tells the intensity"),
        ("neutral", ("savee", "savee"), "named twice"),
        ("transcripts", (), "--text names the transcription"),
    ],
)
def test_refusals(name: str, parts: tuple[str, ...], message: str) -> None:
    with pytest.raises(EmotionError) as caught:
        studies.get(name)().variants(setting(parts=parts))
    assert message in str(caught.value)


def test_without_data() -> None:
    with pytest.raises(EmotionError, match="--data DIR"):
        studies.get("intensity")().variants(setting(request=Request({})))


def test_the_matrix_stands_beside_emobox(tmp_path: Path) -> None:
    """Two pairs, of which EmoBox has one, with the reason why it is another test set."""
    done = {}
    for train, test in (("ravdess", "savee"), ("savee", "tess")):
        folder = tmp_path / f"{train}-{test}"
        corpus = f"combined_{train}-to-{test}"
        made = make_run(folder, upstream="hubert_base", corpus=corpus, folds=(1,), folds_expected=[1])
        done[StudyArm(f"{train} to {test}", "hubert_base", "emotion_mean")] = [folder]
        if train == "ravdess":
            ours = f"{100 * made['ua']['mean']:.2f}"
    text = "\n".join(studies.get("cross-corpus")().answer(done))
    flat = " ".join(text.split())
    assert f"ravdess to savee: ours UA {ours} (" in flat
    assert "EmoBox 43.47 %; not comparable: EmoBox tests on class-balanced parts" in flat
    assert flat.count("EmoBox 4") == 1
    rows = [line.split() for line in text.splitlines() if line.startswith("ravdess ")]
    assert rows[0] == ["ravdess", "-", ours, "-"] or ours in rows[0]


def start(name: str, five: Path, store: Path, *options: str) -> list[str]:
    speech = ["-u", "fbank_no_cmvn", "-d", "classical_bayes", "--device", "cpu", "--cache-root", str(store)]
    return ["study", name, "--data", str(five), *speech, *options]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("cross-corpus", ("trained on \\ tested on", "number of classes", "EmoBox: has none of these pairs")),
        ("leave-one-out", ("corpus unheard", "without savee", "tess alone")),
        ("neutral", ("without neutral", "recall %", "surprised")),
        ("intensity", ("By intensity", "By level")),
    ],
)
def test_a_whole_study(
    name: str, told: tuple[str, ...], five: Path, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Through the command line; repeated, nothing is run again and the same is printed."""
    assert main(start(name, five, store)) == 0
    first = capsys.readouterr()
    for text in told:
        assert text in first.out
    assert "Block 1" in first.out
    times = {path: path.stat().st_mtime_ns for path in Path("result/studies").rglob("fold.json")}
    assert times
    assert main(start(name, five, store)) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert "scored" not in again.err
    assert {path: path.stat().st_mtime_ns for path in Path("result/studies").rglob("fold.json")} == times


@pytest.mark.slow
def test_speech_text_and_both(five: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Four systems of one block: speech, text, both, and the late fusion of the first two."""
    tiny = "config.runner.total_steps=2,,config.runner.eval_step=1,,config.runner.save_step=2,,config.runner.log_step=2"
    encoder = ["--text-encoder", str(tiny_bert(tmp_path / "bert")), "--allow-empty-text", "--fold", "1"]
    options = ["--data", str(five / "savee"), "--corpus", "savee", "-d", "emotion_mean_std", "-o", tiny, *encoder]
    command = ["study", "modality", "-u", "mfcc", "--device", "cpu", "--cache-root", str(store), *options]
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed.count("Block ") == 1
    for name in ("mfcc emotion_mean_std", "mfcc emotion_text", "mfcc emotion_speech_text"):
        assert f": {name}, seed" in printed
    assert ": mfcc fusion(emotion_mean_std+emotion_text), seed" in printed


@pytest.mark.slow
def test_two_processes_share_a_study(five: Path, store: Path, tmp_path: Path) -> None:
    """Each fold is computed once, and both end with the same tables."""
    command = [sys.executable, "-m", "s3prl_emotion", *start("neutral", five, store, "--parts", "savee,ravdess")]
    both = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outs = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], [err[-2000:] for _, err in outs]
    assert outs[0][0] == outs[1][0]
    scored = [line for _, err in outs for line in err.splitlines() if ": UA " in line]
    folds = len(list((tmp_path / "result/studies").rglob("fold.json")))
    assert len(scored) == folds
