"""Who may hear what, what a folder is for, and what is no request."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from s3prl_emotion.corpora import Manifest
from s3prl_emotion.errors import ConfigError, CorpusError, EmotionError, ProtocolError, RunError
from s3prl_emotion.pretraining.contrastive.plan import own_id
from s3prl_emotion.pretraining.contrastive.recipe import next_command
from s3prl_emotion.pretraining.contrastive.study import variant
from s3prl_emotion.pretraining.plan import excluded_ids
from s3prl_emotion.protocols import audit, protocols
from tests.pretraining.contrastive.plans import plan, table


@pytest.mark.parametrize("protocol", ["strict", "superb"])
def test_no_fold_hears_what_it_tests_on(tmp_path: Path, demo_root: Path, cache_root: Path, protocol: str) -> None:
    made = plan(tmp_path / "run", cache_root, f"demo={demo_root}", protocol=protocol)
    assert made.folds is not None
    assert made.numbers == (1, 2, 3, 4, 5)
    for fold in made.folds.folds:
        heard = {own_id(item) for item in made.heard(fold.number).utterances}
        dev = set() if protocol == "strict" else set(fold.dev)
        assert heard == set(fold.train) | dev
        assert not heard & set(fold.test)
    assert made.heard(None) == made.speech


def test_the_audit_knows_what_was_heard(tmp_path: Path, demo_root: Path, cache_root: Path) -> None:
    """Fold 1's pretraining is no leak in fold 1, and one in fold 2."""
    made = plan(tmp_path / "run", cache_root, f"demo={demo_root}", protocol="strict")
    assert made.manifest is not None
    assert made.folds is not None
    told = made.told(1)
    assert set(told.speakers) < set(made.manifest.speakers)
    found = audit.audit(made.manifest, made.folds, protocols.get("strict"), [audit.Pretraining("it", told)])
    leaks = [item for item in found if item.status == audit.LEAK]
    assert {item.kind for item in leaks} == {"pretraining"}
    assert 1 not in {item.fold for item in leaks}
    assert 3 in {item.fold for item in leaks}


def test_transductive_only_by_name(tmp_path: Path, demo_root: Path, cache_root: Path) -> None:
    made = plan(tmp_path / "run", cache_root, f"demo={demo_root}", protocol="superb-transductive")
    assert made.numbers == (None,)
    assert made.place(None) == tmp_path / "run"
    with pytest.raises(ProtocolError, match="--no-inductive: protocol superb does not allow"):
        plan(tmp_path / "other", cache_root, f"demo={demo_root}", protocol="superb", inductive=False)
    with pytest.raises(ConfigError, match="--fold: under superb-transductive one pretraining serves all folds"):
        plan(tmp_path / "third", cache_root, f"demo={demo_root}", protocol="superb-transductive", folds=(1,))


def test_labels_of_what_is_tested_on_are_never_read(tmp_path: Path, demo_root: Path, cache_root: Path) -> None:
    given = {"protocol": "superb-transductive", "changes": {"cluster": {"by": "labels"}}}
    with pytest.raises(ConfigError, match=r"cluster.by: labels under superb-transductive .* give --inductive"):
        plan(tmp_path / "one", cache_root, f"demo={demo_root}", **given)
    assert plan(tmp_path / "one", cache_root, f"demo={demo_root}", inductive=True, **given).numbers == (1, 2, 3, 4, 5)
    made = plan(tmp_path / "two", cache_root, f"demo={demo_root}", protocol="superb-transductive")
    assert made.numbers == (None,)
    assert variant(made, "random").numbers == (None,)
    bound = variant(made, "labels")
    assert made.folds is not None
    assert bound.numbers == (1, 2, 3, 4, 5)
    assert not {own_id(item) for item in bound.heard(1).utterances} & set(made.folds[1].test)


def test_unlabelled_speech_alone_has_no_folds(
    tmp_path: Path, demo_manifest: Manifest, cache_root: Path, demo_root: Path
) -> None:
    speech = table(tmp_path / "talks.csv", demo_manifest, None)
    made = plan(tmp_path / "run", cache_root, speech)
    assert made.numbers == (None,)
    assert made.folds is None
    assert len(made.speech.utterances) == 80
    for wanted in ({"protocol": "strict"}, {"folds": (1,)}, {"inductive": True}, {"drop_leaks": True}):
        with pytest.raises(ConfigError, match="nothing is divided, since no corpus is named"):
            plan(tmp_path / "other", cache_root, speech, **wanted)
    with pytest.raises(ConfigError, match=r"--data .*: of which corpus\?"):
        plan(tmp_path / "other", cache_root, speech, data=demo_root)


def test_other_sources_lose_what_sounds_like_a_test_utterance(
    tmp_path: Path, demo_root: Path, demo_manifest: Manifest, cache_root: Path
) -> None:
    """The corpus' own clips under other names: those that fold 1 holds out are not heard in them either."""
    speech = table(tmp_path / "talks.csv", demo_manifest, None)
    made = plan(tmp_path / "run", cache_root, speech, corpus="demo", data=demo_root, protocol="strict")
    assert made.divided is None
    assert made.folds is not None
    fold = made.folds[1]
    heard = {own_id(item) for item in made.heard(1).utterances}
    assert heard == set(fold.train)


def test_other_names_of_held_out_speakers_are_not_heard(
    tmp_path: Path, demo_root: Path, demo_manifest: Manifest, cache_root: Path
) -> None:
    """One clip tells who is held out: what else they say, which the corpus does not have, is left out with it."""
    rng = np.random.default_rng(0)
    known = {item.speaker: item for item in demo_manifest.utterances}
    rows = ["path,speaker"]
    for number, item in enumerate(known.values()):
        other = tmp_path / f"other{number}.wav"
        soundfile.write(other, 0.1 * rng.standard_normal(16000), 16000)
        rows += [f"{demo_manifest.path_of(item)},voice{number}", f"{other},voice{number}"]
    (tmp_path / "talks.csv").write_text("\n".join(rows) + "\n")
    speech = str(tmp_path / "talks.csv")
    made = plan(tmp_path / "run", cache_root, speech, corpus="demo", data=demo_root, protocol="loso")
    assert made.folds is not None
    assert made.manifest is not None
    for fold in made.folds.folds:
        away = {made.manifest.by_id[name].speaker for name in excluded_ids(made.folds, fold.number)}
        assert away
        kept = {f"talks:voice{number}" for number, speaker in enumerate(known) if speaker not in away}
        assert set(made.heard(fold.number).speakers) == kept
        assert len(made.heard(fold.number).utterances) == 2 * len(kept)


def test_other_releases_lose_their_held_out_speakers(tmp_path: Path, cache_root: Path) -> None:
    from tests.corpora.copies import COPIES

    root, _ = COPIES["emodb"](tmp_path / "emodb")
    rng = np.random.default_rng(0)
    for path in sorted(root.rglob("*.wav")):
        soundfile.write(path, 0.1 * rng.standard_normal(8000), 16000)
    made = plan(
        tmp_path / "run", cache_root, f"emodb={root}", corpus="emodb4", data=root, changes={"speech": {"min_s": 0.025}}
    )
    assert made.divided is None
    assert made.relatives == {"emodb"}
    assert made.folds is not None
    assert made.manifest is not None
    for fold in made.folds.folds:
        away = {made.manifest.by_id[name].speaker for name in (*fold.test, *fold.dev)}
        assert away
        assert not {f"emodb:{speaker}" for speaker in away} & set(made.heard(fold.number).speakers)
        assert set(made.heard(fold.number).speakers)


def test_short_utterances_are_left_out(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    speech = table(tmp_path / "talks.csv", demo_manifest, None)
    made = plan(tmp_path / "run", cache_root, speech, changes={"speech": {"min_s": 1.5}})
    assert 0 < len(made.speech.utterances) < 80
    assert min(item.duration_s or 0 for item in made.speech.utterances) >= 1.5
    with pytest.raises(CorpusError, match="talks: no utterance of 500 s or more: contrastive pretraining"):
        plan(tmp_path / "other", cache_root, speech, changes={"speech": {"min_s": 500.0}})


def test_one_speaker_is_not_enough(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    first = demo_manifest.utterances[0].speaker
    alone = demo_manifest.with_utterances(item for item in demo_manifest.utterances if item.speaker == first)
    speech = table(tmp_path / "talks.csv", alone, None)
    with pytest.raises(CorpusError, match=r"talks: one speaker only \(talks:.*\): contrastive pretraining needs"):
        plan(tmp_path / "run", cache_root, speech)


def test_a_folder_is_for_one_thing(tmp_path: Path, demo_manifest: Manifest, cache_root: Path) -> None:
    speech = table(tmp_path / "talks.csv", demo_manifest, None)
    first = plan(tmp_path / "run", cache_root, speech)
    assert plan(tmp_path / "run", cache_root, speech).speech == first.speech
    with pytest.raises(RunError, match="holds pretraining with other settings: seed was 1337 and is 3"):
        plan(tmp_path / "run", cache_root, speech, seed=3)
    with pytest.raises(RunError, match=r"with other settings: upstream\.name was 'fbank_no_cmvn' and is 'fbank'"):
        plan(tmp_path / "run", cache_root, speech, upstream="fbank")
    table(tmp_path / "talks.csv", demo_manifest, None, count=72)
    with pytest.raises(RunError, match="holds pretraining with other settings: speech"):
        plan(tmp_path / "run", cache_root, speech)


@pytest.mark.parametrize(
    ("speech", "says"),
    [
        ((), "--speech is missing"),
        (("demo={demo}", "demo={demo}"), "two sources are called demo"),
        (("emodb=/x", "emodb4=/x"), "emodb and emodb4 are the same recordings"),
        (("demo={demo}/nowhere",), "no such file or folder. Corpus demo expects"),
    ],
)
def test_what_is_no_speech(
    tmp_path: Path, demo_root: Path, cache_root: Path, speech: tuple[str, ...], says: str
) -> None:
    with pytest.raises(EmotionError, match=says):
        plan(tmp_path / "run", cache_root, *(text.format(demo=demo_root) for text in speech))


def test_the_next_command_is_of_the_same_division(tmp_path: Path, demo_root: Path, cache_root: Path) -> None:
    given = {"protocol": "strict", "folds": (1, 3), "trim_zeros": True, "skip_bad": True}
    words = next_command(plan(tmp_path / "a run", cache_root, f"demo={demo_root}", **given))
    start = "s3prl-emotion run -u fbank_no_cmvn -d emotion_contrastive --pretrained"
    options = "--protocol strict --fold 1,3 --trim-zeros --skip-bad"
    places = [str(tmp_path / "a run" / "head"), "--corpus", "demo", "--data", str(demo_root)]
    assert words == [*start.split(), *places, *options.split()]
