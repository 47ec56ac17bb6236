"""What a wheel holds."""

from __future__ import annotations

import configparser
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_package_is_listed() -> None:
    """Packages are listed by hand, because two of them lie at the top level; a forgotten one would miss in a wheel."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    listed = set(config["options"]["packages"].split())
    inside = {
        path.parent.relative_to(ROOT).as_posix().replace("/", ".") for path in ROOT.glob("s3prl_emotion/**/__init__.py")
    }
    beside = ("downstream_configs", "upstream_patches")
    assert listed == inside | {f"s3prl_emotion.{name}" for name in beside}


def test_data_files_are_listed() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    patterns = {package: value.split() for package, value in config["options.package_data"].items()}
    folders = {"s3prl_emotion.downstream_configs": ROOT / "downstream_configs"}
    for path in [*ROOT.glob("downstream_configs/*.yaml"), *ROOT.glob("s3prl_emotion/**/*.csv")]:
        matching = [
            package
            for package, globs in patterns.items()
            for pattern in globs
            if path in (folders.get(package) or ROOT / package.replace(".", "/")).glob(pattern)
        ]
        assert matching, path
