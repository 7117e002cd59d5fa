"""From an encoder's name to a trained bundle that answers, by the commands of the four programs."""

from __future__ import annotations

import json

import pytest

from tests.support import tiny_towers
from tests.support.films import Film
from vtloc.cli.main import main as train
from vtloc_export.cli.main import main as export
from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.cli.main import main as run

RUN = """
[localizer]
hidden_dim = 16
scale_dim = 8
capsules = 2
capsule_dim = 8
attention_heads = 2

[training]
epochs = 2
batch_size = 2

[data]
train = "moments.jsonl"
validation = "moments.jsonl"
frames = [{ path = "store" }]
tokens = { path = "store" }
"""


def call(program, *words):
    with pytest.raises(SystemExit) as left:
        program([str(word) for word in words])
    assert not left.value.code


@pytest.mark.slow
def test_a_localizer_is_added_to_public_encoders(tmp_path):
    name = tiny_towers.register(tmp_path)["siglip"]
    asked = (("the dog runs", [0, 2]), ("a cat", [3, 6]))
    rows: list[dict[str, object]] = []
    for video in ("one", "two"):
        Film(ticks=tuple(range(0, 120, 5))).save(tmp_path, f"{video}.mp4")
        for query, moment in asked:
            row = {"id": len(rows), "video": video, "duration": 6}
            rows.append({**row, "query": query, "moments": [moment]})
    moments = tmp_path / "moments.jsonl"
    moments.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (tmp_path / "run.toml").write_text(RUN)
    store, out, found = (tmp_path / name for name in ("store", "run", "found.jsonl"))
    call(
        *(train, "features", tmp_path / "one.mp4", tmp_path / "two.mp4", "--encoder", name),
        *("--queries", moments, "--text-encoder", name, "--out", store),
    )
    call(train, "train", tmp_path / "run.toml", "--out", out)
    call(
        *(export, "onnx", out / "checkpoint.safetensors", "--out", tmp_path / "bundle"),
        *("--precision", "fp32", "--no-lint"),
    )
    manifest = Bundle.open(tmp_path / "bundle").manifest
    assert manifest.network_names == ("visual", "text", "localizer")
    assert manifest.provenance.visual_encoder == manifest.provenance.text_encoder == name
    # Frames and sentences of one model: it tells presence by the sentence bank, trained or not.
    assert manifest.shared_space is not None
    assert manifest.sentence_bank is not None
    call(
        *(run, tmp_path / "one.mp4", "-q", "the dog runs", "--bundle", tmp_path / "bundle"),
        *("--out", found, "--no-cache"),
    )
    (record,) = map(json.loads, found.read_text().splitlines())
    assert record["video"].endswith("one.mp4")
    assert "error" not in record
