"""open_clip's towers, compared with open_clip itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

open_clip = pytest.importorskip("open_clip")

from pathlib import Path  # noqa: E402 - after the skip

from vtloc.encoders import load_text_encoder, load_visual_encoder  # noqa: E402
from vtloc.encoders.clip_tokenizer import clip_tokenizer  # noqa: E402
from vtloc.encoders.exportable_attention import WrittenAttention, write_out_attention  # noqa: E402
from vtloc.errors import EncoderError  # noqa: E402

CONTEXT = 77
TOKENIZER = clip_tokenizer(Path(open_clip.tokenizer.default_bpe()), context_length=CONTEXT)
SENTENCES = (
    "a photo of a cat",
    "A Dog's  breakfast!! It's 42 years’ old\n",
    "“ﬁne” &amp; dandy &lt;b&gt;",
    "naïve café, ΟΔΟΣ και ΟΔΟΣ, 日本語 🙂",
    "",
    "word " * 200,
    "＃ｆｕｌｌ\u3000wide",
    "don't won't we'll they've I'd I'm _foo_bar !'s",
    "e\u0301te\u0301 \u00a0 non-breaking",
)


def reference(sentence):
    ids = open_clip.tokenize([sentence])[0].tolist()
    return ids[: ids.index(49407) + 1]


@pytest.mark.parametrize("sentence", SENTENCES)
def test_the_tokenizer_gives_open_clips_ids(sentence):
    assert TOKENIZER.encode(sentence).ids == reference(sentence)


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        alphabet=st.one_of(
            st.characters(min_codepoint=32, max_codepoint=126, blacklist_characters="&"),
            st.sampled_from("éàüßñçøåłžığščαβγδжзиשלوم日本語中文한국0123456789'’“”—…🙂🎸\t\n "),
        ),
        max_size=60,
    )
)
def test_the_tokenizer_equals_open_clips_on_any_sound_text(sentence):
    import ftfy

    fixed = ftfy.fix_text(sentence, config=ftfy.TextFixerConfig(fix_encoding=False))
    if fixed == ftfy.fix_text(sentence):  # nothing that looks decoded wrongly
        assert TOKENIZER.encode(sentence).ids == reference(sentence)


def test_a_cut_sentence_keeps_its_end_token():
    ids = TOKENIZER.encode("dog " * 500).ids
    assert len(ids) == CONTEXT
    assert ids[-1] == 49407


def test_a_typed_special_token_cannot_cut_the_query_short():
    ids = TOKENIZER.encode("a dog <end_of_text> and a cat").ids
    assert ids.count(49407) == 1
    assert ids[-1] == 49407


def test_frames_are_encoded_as_open_clip_does(tiny_clip):
    encoder = load_visual_encoder(f"open_clip:{tiny_clip}")
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(tiny_clip, force_custom_text=True).eval()
    mean, std = model.visual.preprocess_cfg["mean"], model.visual.preprocess_cfg["std"]
    pixels = ((frames / 255.0 - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = model.encode_image(pixels, normalize=True)
    torch.testing.assert_close(encoder(frames), expected, atol=1e-5, rtol=1e-4)
    assert encoder.shared_space is not None
    assert encoder.shared_space.stop == encoder.dimension == 32


@pytest.mark.parametrize("suffix", ["", "-bidirectional"])
def test_sentences_are_encoded_as_open_clip_does(tiny_clip, suffix):
    encoder = load_text_encoder(f"open_clip:{tiny_clip}{suffix}")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(f"{tiny_clip}{suffix}", force_custom_text=True).eval()
    ids = open_clip.tokenize(["a dog", "a photo of a very large cat with eyes"], context_length=24)
    with torch.no_grad():
        expected = model.encode_text(ids, normalize=True)
    longest = int((ids != 0).sum(1).max())
    cut = ids[:, :longest]
    tokens, sentence = encoder(cut, cut != 0)
    torch.testing.assert_close(sentence, expected, atol=1e-5, rtol=1e-4)
    assert tokens.shape == (2, longest, 32)


def test_the_sentence_is_its_end_tokens_state(tiny_clip):
    encoder = load_text_encoder(f"open_clip:{tiny_clip}")
    ids = torch.tensor([[49406, 320, 1929, 49407, 0, 0]])
    tokens, sentence = encoder(ids, ids != 0)
    direction = tokens[:, 3] / tokens[:, 3].norm(dim=-1, keepdim=True)
    torch.testing.assert_close(sentence, direction, atol=1e-5, rtol=1e-4)


def test_random_weights_are_the_same_every_time(tiny_clip):
    first, second = (load_visual_encoder(f"open_clip:{tiny_clip}") for _ in range(2))
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_local_checkpoint_is_loaded(tiny_clip, tmp_path):
    torch.manual_seed(5)
    model = open_clip.create_model(tiny_clip)
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    encoder: Any = load_visual_encoder(f"open_clip:{tiny_clip}:{path}")
    assert torch.equal(encoder.tower.conv1.weight, model.visual.conv1.weight)


def test_an_unknown_model_and_missing_weights_are_named(tiny_clip, tmp_path):
    with pytest.raises(EncoderError, match="no model 'ViT-Z'"):
        load_visual_encoder("open_clip:ViT-Z")
    with pytest.raises(EncoderError, match="local checkpoint"):
        load_visual_encoder(f"open_clip:{tiny_clip}:{tmp_path / 'none.pt'}")
    for load in (load_visual_encoder, load_text_encoder):
        with pytest.raises(EncoderError, match="resnet: unknown"):
            load("resnet")


def test_written_attention_equals_the_fused_module():
    torch.manual_seed(0)
    fused = torch.nn.MultiheadAttention(24, 3, batch_first=True).eval()
    written = WrittenAttention(fused)
    query, memory = torch.randn(2, 5, 24), torch.randn(2, 7, 24)
    mask = torch.zeros(5, 7)
    mask[:, -1] = float("-inf")
    for key, added in ((query, None), (memory, None), (memory, mask)):
        expected = fused(query, key, key, need_weights=False, attn_mask=added)[0]
        given = written(query, key, key, attn_mask=added)[0]
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-4)


def test_attention_that_cannot_be_written_out_is_refused():
    holder = torch.nn.Sequential(torch.nn.MultiheadAttention(8, 2))  # sequence first
    with pytest.raises(EncoderError, match="sequence-first"):
        write_out_attention(holder)
