"""A comparison as JSON, or as CSV with one number and its source per row."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from s3prl_emotion.evaluation.metrics import measures, rates
from s3prl_emotion.published import rate_of
from s3prl_emotion.reporting.layout import Rows

COLUMNS = (
    *("block", "kind", "key", "name", "metric", "value", "ci95_low", "ci95_high", "std_folds", "std_seeds", "folds"),
    *("seeds", "baseline", "p_bootstrap", "p_holm", "p_mcnemar", "p_corrected_t", "comparable_with", "reason"),
    *("corpus", "protocol", "protocol_sha256", "split_sha256", "marks", "source"),
    *("headline", "pooled", "pooled_ci95_low", "pooled_ci95_high", "standard_error", "detectable"),
)


def comparison_json(comparison: Mapping[str, Any]) -> str:
    """The whole comparison as JSON; rates are fractions."""
    text = json.dumps(comparison, indent=2, ensure_ascii=False, allow_nan=False)
    return re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)  # which a terminal would obey


def comparison_csv(comparison: Mapping[str, Any]) -> str:
    """One row per number: ``kind`` is ``system``, ``published``, ``difference`` or ``unfinished``; rates are fractions.

    ``headline`` tells which to quote, ``value``, the mean over folds, or ``pooled``; differences are of that one.

    ``folds`` holds ``number:rate`` parted by blanks; lists are parted by ``; ``.
    """
    buffer = io.StringIO()
    writer = Rows(buffer, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for block in comparison["blocks"]:
        for row in (*_systems(block), *_published(block), *_differences(block)):
            writer.writerow({key: _cell(value) for key, value in {"block": block["number"], **row}.items()})
    for folder in comparison["unfinished"]:
        writer.writerow({"kind": "unfinished", "source": folder, "reason": "no fold has a result yet"})
    return buffer.getvalue().rstrip("\n")


def _cell(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value))
    return "" if value is None else str(value)


def _task(block: Mapping[str, Any]) -> dict[str, Any]:
    protocol = block["protocol"]
    return {
        "corpus": block["corpus"],
        "protocol": protocol["name"],
        "protocol_sha256": protocol["sha256"],
        "split_sha256": protocol["split_sha256"],
        "marks": block["marks"],
        "headline": block["headline"]["of"],
        "reason": [f"not comparable with block {item['block']}: {item['reason']}" for item in block["apart"]],
    }


def _bounds(interval: list[float] | None) -> dict[str, float | None]:
    low, high = interval or (None, None)
    return {"ci95_low": low, "ci95_high": high}


def _folds(values: Mapping[Any, float]) -> str:
    return " ".join(f"{fold}:{value}" for fold, value in values.items())


def _systems(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for system in block["systems"]:
        about = {key: system[key] for key in ("key", "name", "seeds", "source")} | {"kind": "system", **_task(block)}
        if system["copy_of"] is not None:
            about["reason"] = [*about["reason"], f"a copy: the same predictions as {system['copy_of']}"]
        for rate in rates():
            found = system["figures"][rate]
            spread = {key: found[key] for key in ("std_folds", "std_seeds")}
            numbers = {"value": found["mean"], **_bounds(found["ci95"]), **spread, "folds": _folds(found["folds"])}
            low, high = found["pooled_ci95"] or (None, None)
            numbers |= {"pooled": found["pooled"], "pooled_ci95_low": low, "pooled_ci95_high": high}
            yield {**about, "corpus": system["corpus"], "metric": rate, **numbers}
        for name in measures():
            if system["figures"][name] is not None:
                yield {**about, "corpus": system["corpus"], "metric": name, "value": system["figures"][name]}


def _published(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in block["published"]:
        yield {
            "kind": "published",
            "name": f"{row['upstream']} {row['downstream']}".strip(),
            "metric": rate_of(row["metric"]),
            "value": row["accuracy"],
            "std_folds": row["std"],
            "folds": _folds(dict(enumerate(row["folds"], start=1))),
            "comparable_with": row["comparable_with"],
            "reason": [f"not comparable with {key}: {reason}" for key, reason in row["reasons"].items()],
            "corpus": row["corpus"],
            "protocol": row["protocol"],
            "source": f"{row['source']} ({row['note']})" if row["note"] else row["source"],
        }


def _differences(block: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    systems = {system["key"]: system for system in block["systems"]}
    for item in block["differences"]:
        both = systems[item["key"]], systems[item["baseline"]]
        for rate in rates():
            found = item[rate]
            yield {
                "kind": "difference",
                "key": item["key"],
                "baseline": item["baseline"],
                "name": f"{both[0]['name']} minus {both[1]['name']}",
                "metric": rate,
                "value": found["difference"],
                **_bounds(found["ci95"]),
                **{name: found[name] for name in ("p_bootstrap", "p_holm", "p_corrected_t")},
                **{name: found[name] for name in ("standard_error", "detectable")},
                "p_mcnemar": item["mcnemar"]["median"] if rate == "wa" else None,
                **_task(block),
                "source": [*both[0]["source"], *both[1]["source"]],
            }
