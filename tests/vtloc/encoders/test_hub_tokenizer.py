"""Tokenizers of SigLIP's, SigLIP 2's and XLM-R's kinds against open_clip's own way.

Their published vocabularies come from the hub alone; these are vocabularies of the same kinds.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

open_clip = pytest.importorskip("open_clip")
pytest.importorskip("transformers")

from open_clip.tokenizer import HFTokenizer  # noqa: E402 - after the skips

from tests.support import tiny_towers  # noqa: E402
from vtloc.encoders.hub_tokenizer import hub_tokenizer  # noqa: E402
from vtloc.errors import EncoderError  # noqa: E402

CONTEXT = 16
KINDS = {
    "SigLIP": (tiny_towers.write_t5, "canonicalize"),
    "SigLIP 2": (tiny_towers.write_gemma, "canonicalize"),
    "MetaCLIP 2": (tiny_towers.write_t5, "whitespace"),
    "XLM-R": (tiny_towers.write_xlm_roberta, "whitespace"),
}
SENTENCES = (
    "the dog runs",
    "The DOG, runs!!  (a photo)",
    "snake_case and  tabs\t\nand lines",
    "собака и КОШКА",
    "猫が走る 🙂 and 狗",
    "don't “quote” &amp; <b>",
    "ΟΔΟΣ ﬁne ＦＵＬＬ",
    "ΟΣ中 ΟΣ' Ο'Σ ΟΣ'Ο Σ 中Σ ΟΣ1",
    "",
    "dog " * 60,
)


@pytest.fixture(scope="module", params=KINDS)
def pair(request, tmp_path_factory):
    """A function that gives open_clip's ids, and the tokenizer that replaces it."""
    write, clean = KINDS[request.param]
    folder = tmp_path_factory.mktemp("tokenizer")
    write(folder)
    wrapped = HFTokenizer(str(folder), context_length=CONTEXT, clean=clean)
    tokenizer, pad_id = hub_tokenizer(wrapped, context_length=CONTEXT, name="test")

    def reference(sentence):
        row = wrapped([sentence])[0].tolist()
        while row and row[-1] == pad_id:
            row.pop()
        return row

    return reference, tokenizer


@pytest.mark.parametrize("sentence", SENTENCES)
def test_it_gives_open_clips_ids(pair, sentence):
    reference, tokenizer = pair
    assert tokenizer.encode(sentence).ids == reference(sentence)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.text(
        alphabet=st.one_of(
            st.characters(min_codepoint=32, max_codepoint=126, blacklist_characters="&"),
            st.sampled_from("éàüßñабвгдеΣσזש日本語中文한국'’“”—…🙂🎸\t\n "),
        ),
        max_size=40,
    )
)
def test_it_equals_open_clip_on_any_sound_text(pair, sentence):
    import ftfy

    reference, tokenizer = pair
    fixed = ftfy.fix_text(sentence, config=ftfy.TextFixerConfig(fix_encoding=False))
    if fixed == ftfy.fix_text(sentence):  # nothing that looks decoded wrongly
        assert tokenizer.encode(sentence).ids == reference(sentence)


def test_a_typed_special_token_is_only_text_where_text_is_canonical(tmp_path):
    tiny_towers.write_t5(tmp_path)
    wrapped = HFTokenizer(str(tmp_path), context_length=CONTEXT, clean="canonicalize")
    tokenizer, _ = hub_tokenizer(wrapped, context_length=CONTEXT, name="test")
    end = tokenizer.token_to_id("</s>")
    assert end is not None
    ids = tokenizer.encode("a dog </s> and <pad> a cat").ids
    assert ids.count(end) == 1
    assert ids == wrapped(["a dog </s> and <pad> a cat"])[0].tolist()[: len(ids)]


@pytest.mark.parametrize("option", [{"strip_sep_token": True}, {"tokenizer_mode": "clips"}])
def test_what_a_tokenizer_json_cannot_hold_is_refused(tmp_path, option):
    tiny_towers.write_t5(tmp_path)
    wrapped = HFTokenizer(str(tmp_path), context_length=CONTEXT, **option)
    with pytest.raises(EncoderError, match="its tokenizer does more than"):
        hub_tokenizer(wrapped, context_length=CONTEXT, name="test")
