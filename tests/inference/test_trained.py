"""A trained run recognises what it recognised in its own test, from wherever its head is loaded."""

from __future__ import annotations

import dataclasses
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import s3prl_emotion
from s3prl_emotion.audio import AudioError, read_audio
from s3prl_emotion.audio.preparation import Preparation
from s3prl_emotion.errors import RunError, UpstreamError
from s3prl_emotion.files import checkpoint_sha256
from s3prl_emotion.inference import trained as module
from s3prl_emotion.inference.trained import EmotionRecogniser, Recognition
from s3prl_emotion.upstreams.reference import Places, UpstreamOrigin, UpstreamRef, place_of
from s3prl_emotion.upstreams.verification import check_same_name, verify


def _load(source, **options) -> EmotionRecogniser:
    return EmotionRecogniser.load(source, device="cpu", **options)


def _rows(items: list[Recognition]) -> np.ndarray:
    return np.array([list(item.probabilities.values()) for item in items])


def _expected(predictions) -> np.ndarray:
    return np.array([row.probabilities for row in predictions])


@pytest.mark.parametrize("fold", [1, 2])
def test_a_fold_gives_its_own_test_predictions(trained, some_test_files, fold: int) -> None:
    files, predictions = some_test_files(trained, fold)
    items = _load(trained, fold=fold).predict(files)
    np.testing.assert_allclose(_rows(items), _expected(predictions), atol=2e-6, rtol=0)
    assert [item.predicted for item in items] == [row.predicted for row in predictions]
    assert np.ptp(_rows(items), axis=0).max() > 1e-3, "the head tells recordings apart"


def test_fine_tuning_and_the_cut_are_those_of_the_run(tuned, some_test_files) -> None:
    files, predictions = some_test_files(tuned, 1)
    recogniser = _load(tuned, fold=1)
    items = recogniser.predict(files)
    np.testing.assert_allclose(_rows(items), _expected(predictions), atol=2e-6, rtol=0)
    longest = max(items, key=lambda item: item.duration_s)
    assert longest.duration_s > 1.1
    assert len(longest.frame_weights) == 49
    frozen = dataclasses.replace(recogniser.parts.folds[0], upstream=None)
    untuned = dataclasses.replace(recogniser.parts.use, fine_tuned=False)
    other = EmotionRecogniser(dataclasses.replace(recogniser.parts, use=untuned, folds=(frozen,)), "cpu")
    assert np.abs(_rows(other.predict(files)) - _rows(items)).max() > 1e-4, "the run's own upstream was used"


def test_each_fold_has_its_own_fine_tuned_upstream(tuned, some_test_files) -> None:
    files, predictions = some_test_files(tuned, 2)
    second = _rows(_load(tuned, fold=2).predict(files))
    np.testing.assert_allclose(second, _expected(predictions), atol=2e-6, rtol=0)
    first = _rows(_load(tuned, fold=1).predict(files))
    np.testing.assert_allclose(_rows(_load(tuned).predict(files)), (first + second) / 2, atol=1e-7)


def test_layers_are_weighted_as_learned(trained, some_test_files) -> None:
    """All weight on the last layer is the last layer alone."""
    files, _ = some_test_files(trained, 1)
    parts = _load(trained, fold=1).parts

    def changed(weights: list[float] | None, layer: int | None) -> np.ndarray:
        fold = dataclasses.replace(parts.folds[0], layer_weights=None if weights is None else torch.tensor(weights))
        use = dataclasses.replace(parts.use, layer=layer)
        return _rows(EmotionRecogniser(dataclasses.replace(parts, use=use, folds=(fold,)), "cpu").predict(files))

    last = changed([0.0, 0.0, 60.0], None)
    np.testing.assert_allclose(last, changed(None, 2), atol=1e-6)
    assert np.abs(last - changed([0.0, 0.0, 0.0], None)).max() > 1e-4


def test_s3prls_own_expert_is_read_too(train, some_test_files) -> None:
    alone = "config.runner.gradient_accumulate_steps=1,,config.downstream_expert.datarc.eval_batch_size=1"
    run = train("-u", "fbank_no_cmvn", "-d", "emotion", "--fold", "4", "--trim-zeros", more=alone)
    files, predictions = some_test_files(run, 4)
    recogniser = _load(run)
    assert recogniser.parts.preparation.trim_zeros
    np.testing.assert_allclose(_rows(recogniser.predict(files)), _expected(predictions), atol=1e-5, rtol=0)


def test_several_folds_are_averaged_on_one_upstream(trained, some_test_files, monkeypatch) -> None:
    files, _ = some_test_files(trained, 1)
    built = []
    original = module.build_frozen
    monkeypatch.setattr(module, "build_frozen", lambda *args: built.append(args) or original(*args))
    both = _load(trained)
    assert both.folds == (1, 2)
    assert len(built) == 1
    singles = [_load(trained, fold=fold).predict(files) for fold in (1, 2)]
    items = both.predict(files)
    np.testing.assert_allclose(_rows(items), np.mean([_rows(item) for item in singles], axis=0), atol=1e-7)
    for item, one, two in zip(items, *singles, strict=True):
        mean = np.mean([one.frame_weights, two.frame_weights], axis=0)
        np.testing.assert_allclose(item.frame_weights, mean, atol=1e-7)
        assert item.predicted == max(item.probabilities, key=item.probabilities.__getitem__)
    assert np.abs(_rows(singles[0]) - _rows(singles[1])).max() > 1e-3


def test_arrays_and_any_company_give_the_same(trained, some_test_files) -> None:
    files, _ = some_test_files(trained, 1)
    recogniser = _load(trained, fold=1)
    together = recogniser.predict(files[:3])
    assert recogniser.predict(str(files[1])) == [dataclasses.replace(together[1], file=str(files[1]))]
    (alone,) = recogniser.predict(read_audio(files[1]))
    assert alone == dataclasses.replace(together[1], file=None)
    assert abs(sum(alone.probabilities.values()) - 1) < 1e-6
    assert abs(sum(alone.frame_weights) - 1) < 1e-5
    assert alone.frame_rate_hz == 50
    assert len(alone.frame_weights) == (len(read_audio(files[1])) - 400) // 320 + 1
    assert alone.times_s[:3] == (0.0, 0.02, 0.04)


def test_stereo_at_another_rate(trained, tmp_path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (22050, 2)).astype(np.float32)
    soundfile.write(tmp_path / "stereo.flac", noise, 22050)
    recogniser = _load(trained, fold=1)
    item, same = recogniser.predict([tmp_path / "stereo.flac", read_audio(tmp_path / "stereo.flac")])
    assert item.probabilities == same.probabilities
    assert item.duration_s == 1.0


def test_digital_zeros_are_left_out_where_training_left_them_out(trained) -> None:
    recogniser = _load(trained, fold=1)
    trims = EmotionRecogniser(dataclasses.replace(recogniser.parts, preparation=Preparation(trim_zeros=True)), "cpu")
    speech = np.random.default_rng(0).uniform(0.1, 0.5, 16000).astype(np.float32)
    padded = np.concatenate([np.zeros(1600, np.float32), speech, np.zeros(800, np.float32)])
    item, bare = trims.predict([padded, speech])
    assert item.probabilities == bare.probabilities
    assert item.start_s == 0.1
    assert item.times_s[1] == pytest.approx(0.12)
    assert item.duration_s == pytest.approx(1.15)
    assert recogniser.predict(padded)[0].probabilities != bare.probabilities
    assert trims.predict(np.zeros(16000, np.float32))[0].start_s == 0, "silence stays as it is, as in training"


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 16000), np.float32), r"expected finite floating-point samples .* found float32 of shape \(2, 16"),
        (np.zeros(16000, np.int16), "found int16"),
        (np.full(16000, np.nan, np.float32), "expected finite"),
        (np.zeros(399, np.float32), "399 samples at 16 kHz; at least 400"),
        ("nowhere.wav", "nowhere.wav: no such audio file"),
    ],
)
def test_audio_that_cannot_be_used(trained, audio, message: str) -> None:
    with pytest.raises(AudioError, match=message):
        _load(trained, fold=1).predict(audio)


def test_audio_beyond_the_memory_of_the_device_is_named(trained, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    recogniser = _load(trained, fold=1)
    monkeypatch.setattr(recogniser, "_compute", full)
    with pytest.raises(AudioError, match="the array: its 1 s do not fit into the memory of cpu"):
        recogniser.predict(np.zeros(16000, np.float32))


def test_the_strongest_second() -> None:
    """At 2 Hz a second is two frames: sums .3 .5 .6 .4, the third pair begins at 1 s."""
    item = Recognition("a", "x", {"x": 1.0}, (0.1, 0.2, 0.3, 0.3, 0.1), 2.0, 2.5)
    assert item.strongest_second() == (1.0, 2.0, pytest.approx(0.6))
    late = dataclasses.replace(item, start_s=0.25)
    assert late.times_s == (0.25, 0.75, 1.25, 1.75, 2.25)
    assert late.strongest_second() == (1.25, 2.25, pytest.approx(0.6))
    assert dataclasses.replace(item, frame_weights=(0.2,) * 5).strongest_second() is None
    short = dataclasses.replace(item, frame_weights=(0.4, 0.6), duration_s=0.9, frame_rate_hz=50.0)
    assert short.strongest_second() == (0.0, 0.04, pytest.approx(1.0))


def test_the_same_head_from_a_fold_folder_and_from_a_checkpoint(trained, some_test_files) -> None:
    files, _ = some_test_files(trained, 1)
    expected = _load(trained, fold=1).predict(files[:2])
    assert _load(trained / "fold1").predict(files[:2]) == expected
    assert _load(trained / "fold1" / "dev-best.ckpt", fold="all").predict(files[:2]) == expected


def test_what_is_not_a_trained_head(trained, tmp_path) -> None:
    for source, options, message in [
        (tmp_path, {}, "neither a run folder"),
        (trained, {"fold": 3}, "--fold 3: not finished, or no fold of .*; finished: 1, 2"),
        (trained, {"fold": "two"}, "--fold 'two': expected all, or the number of one fold"),
        (trained / "fold1", {"fold": 2}, "holds fold 1"),
        (trained, {"upstream": "fbank"}, "-u fbank: the head was trained on hf_auto_custom and fits no other"),
    ]:
        with pytest.raises(RunError, match=message):
            _load(source, **options)
    shutil.copy(trained / "fold1" / "dev-best.ckpt", tmp_path / "lost.ckpt")
    assert _load(tmp_path / "lost.ckpt").labels == _load(trained).labels, "a checkpoint names its classes itself"
    earlier = torch.load(tmp_path / "lost.ckpt", weights_only=False)
    earlier["Downstream"]["_extra_state"].pop("labels")
    torch.save(earlier, tmp_path / "earlier.ckpt")
    with pytest.raises(RunError, match="does not hold the names of its classes"):
        _load(tmp_path / "earlier.ckpt")
    shutil.copytree(trained, tmp_path / "run")
    shutil.copy(trained / "fold1" / "dev-best.ckpt", tmp_path / "run" / "fold2" / "dev-best.ckpt")
    with pytest.raises(RunError, match="not the one that fold 2 was scored with"):
        _load(tmp_path / "run")
    (tmp_path / "run" / "fold1" / "fold.json").unlink()
    (tmp_path / "run" / "fold2" / "fold.json").unlink()
    with pytest.raises(RunError, match="no fold is finished yet"):
        _load(tmp_path / "run")


def test_the_upstreams_checkpoint_must_be_the_same(tiny_hubert, tmp_path, caplog) -> None:
    sha256 = checkpoint_sha256(str(tiny_hubert))
    recorded = UpstreamRef("hf_auto_custom", UpstreamOrigin(str(tmp_path / "gone"), sha256=sha256))
    assert place_of(verify(recorded, Places(tiny_hubert)).checkpoint) == str(tiny_hubert)
    with pytest.raises(RunError, match=rf"there is nothing at {tmp_path}/gone: give -k PATH.*{sha256}\)"):
        verify(recorded)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_hubert, copy)
    assert place_of(verify(recorded, Places(copy)).checkpoint) == str(copy)
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    with pytest.raises(RunError, match=f"the head was trained on {sha256}"):
        verify(recorded, Places(copy))
    with pytest.raises(RunError, match="trained on fbank without -k; leave it out"):
        verify(UpstreamRef("fbank"), Places(copy))
    url = UpstreamRef("wav2vec2_url", UpstreamOrigin("https://host.test/a.pt"))
    with pytest.raises(UpstreamError, match=r"names -u wav2vec2_url with -k .*: it is not read"):
        verify(url)
    assert place_of(verify(url, Places("https://host.test/a.pt")).checkpoint) == "https://host.test/a.pt"
    assert place_of(verify(url, Places(copy)).checkpoint) == str(copy)
    assert "not checked" in caplog.text


def test_an_upstream_from_the_hub_is_found_by_its_commit(monkeypatch, tiny_hubert) -> None:
    from s3prl_emotion.upstreams import verification

    asked = []
    monkeypatch.setattr(verification, "snapshot", lambda *args, **options: asked.append((args, options)) or tiny_hubert)
    recorded = UpstreamRef("me__hubert", UpstreamOrigin("me/hubert", sha256="0" * 64, revision="abc"))
    check_same_name(recorded, "me/hubert")
    assert place_of(verify(recorded).checkpoint) == str(tiny_hubert)
    assert asked == [(("me/hubert",), {"revision": "abc"})]


def test_a_dropped_upstream(train, cache_root, tiny_hubert, some_test_files, tmp_path) -> None:
    """Trained by its name in a drop-in folder; the export finds it by that name and its hash, or by ``-k``."""
    shutil.copytree(tiny_hubert, "upstreams/my_hubert")
    run = train("-u", "my_hubert", "-d", "emotion_mean", "--fold", "1", "--cache-root", str(cache_root))
    files, predictions = some_test_files(run, 1)
    recogniser = _load(run, upstream="my_hubert")
    np.testing.assert_allclose(_rows(recogniser.predict(files)), _expected(predictions), atol=1e-5, rtol=0)
    folder = recogniser.export(tmp_path / "head")
    expected = recogniser.predict(files[:2])
    assert _load(folder).predict(files[:2]) == expected
    shutil.move("upstreams", "elsewhere")
    gone = "trained on my_hubert with -k my_hubert, and there is nothing at my_hubert: give -k PATH, where that file or"
    with pytest.raises(RunError, match=gone):
        _load(folder)
    assert _load(folder, checkpoint="elsewhere/my_hubert").predict(files[:2]) == expected
    assert _load(run, checkpoint="elsewhere/my_hubert").predict(files[:2]) == expected


def test_a_head_for_other_layers_is_refused(trained) -> None:
    parts = _load(trained, fold=1).parts
    with pytest.raises(RunError, match=r"has weights for 3 layers, and hf_auto_custom gives 1"):
        EmotionRecogniser(dataclasses.replace(parts, use=dataclasses.replace(parts.use, layer=1)), "cpu")
    with pytest.raises(RunError, match=r"its parameters do not fit a head"):
        EmotionRecogniser(dataclasses.replace(parts, labels=parts.labels[:3]), "cpu")


def test_three_lines(trained, tmp_path, some_test_files, capsys) -> None:
    """Those of the documentation of ``load``, as they stand there."""
    lines = re.findall(r"^ +((?:from|recogniser|print).+)$", s3prl_emotion.load.__doc__ or "", flags=re.MULTILINE)
    assert len(lines) == 3
    (place,) = re.findall(r'load\("(.+)"\)', lines[1])
    Path(place).parent.mkdir(parents=True)
    Path(place).symlink_to(trained)
    files, _ = some_test_files(trained, 1)
    shutil.copy(files[0], "a.wav")
    Path("lines.py").write_text("\n".join(lines))
    runpy.run_path("lines.py")
    printed = capsys.readouterr().out.splitlines()[-1]
    assert printed == str(_load(trained).predict(files[0])[0].probabilities)


def test_the_import_stays_light() -> None:
    code = "import sys, s3prl_emotion; s3prl_emotion.load; sys.exit('torch' in sys.modules or 's3prl' in sys.modules)"
    checkout = Path(s3prl_emotion.__file__).parent.parent
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=checkout).returncode == 0
