"""Any Hugging Face encoder: the library's own numbers, whatever the padding."""

from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModel

from vtloc.encoders import load_text_encoder
from vtloc.errors import EncoderError


@pytest.fixture(params=["tiny_bert", "tiny_roberta"])
def directory(request):
    return request.getfixturevalue(request.param)


def padded(encoder, lengths, longest):
    torch.manual_seed(1)
    ids = torch.randint(4, 12, (len(lengths), longest))
    mask = torch.arange(longest)[None] < torch.tensor(lengths)[:, None]
    return torch.where(mask, ids, encoder.pad_id), mask


def test_token_states_are_the_librarys_own(directory):
    encoder = load_text_encoder(f"hf:{directory}")
    ids, mask = padded(encoder, [9, 4, 1], 9)
    tokens, sentence = encoder(ids, mask)
    expected = AutoModel.from_pretrained(directory).eval()(ids, attention_mask=mask.long())
    torch.testing.assert_close(tokens[mask], expected.last_hidden_state[mask], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(sentence.norm(dim=1), torch.ones(3))


def test_padding_changes_nothing_whatever_ids_fill_it(directory):
    encoder = load_text_encoder(f"hf:{directory}")
    ids, mask = padded(encoder, [5], 5)
    tokens, sentence = encoder(ids, mask)
    wider = torch.nn.functional.pad(ids, (0, 6), value=7)  # not even the padding token
    longer = torch.nn.functional.pad(mask, (0, 6))
    padded_tokens, padded_sentence = encoder(wider, longer)
    torch.testing.assert_close(padded_tokens[:, :5], tokens, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(padded_sentence, sentence, atol=1e-5, rtol=1e-4)


def test_the_longest_sentence_fits_the_position_table(directory):
    encoder = load_text_encoder(f"hf:{directory}")
    tokenizer = Tokenizer.from_str(encoder.tokenizer_json())
    encoded = tokenizer.encode("dog " * 100)
    assert len(encoded.ids) == encoder.max_tokens == 20
    ids = torch.tensor([encoded.ids])
    assert torch.isfinite(encoder(ids, torch.ones_like(ids, dtype=torch.bool))[0]).all()


def test_a_directory_without_a_model_is_named(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(EncoderError, match="cannot load it") as caught:
        load_text_encoder(f"hf:{tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert "config.json" in str(caught.value)


def test_a_directory_without_a_tokenizer_is_refused(tiny_bert, tmp_path):
    for file in tiny_bert.iterdir():
        if not file.name.startswith("tokenizer"):
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(EncoderError, match="contains no tokenizer"):
        load_text_encoder(f"hf:{tmp_path}")
