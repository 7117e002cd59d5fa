"""The whole network: shapes, padding, sensitivity to the sentence, half precision, every arm."""

from __future__ import annotations

import copy

import pytest
import torch

from vtloc.errors import ConfigurationError
from vtloc.model import LocalizerConfig, LocalizerNetwork

ARMS = {
    "default": {},
    "no multi-scale encoder": {"multiscale": False},
    "no routing": {"routing": False},
    "printed agreement": {"agreement": "printed"},
    "classic agreement": {"agreement": "votes"},
    "tokens shared out": {"coupling": "frames"},
    "nothing shared out": {"coupling": "independent"},
    "additive": {"fusion": "additive", "similarity_channels": False, "blocks_after_fusion": 0},
    "no similarity channels": {"similarity_channels": False},
    "plain similarity channels": {"standardize_similarity": False},
    "no block after fusion": {"blocks_after_fusion": 0},
    "transformer": {"multiscale": False, "routing": False, "transformer_layers": 2},
    "last token": {"sentence_pooling": "last"},
    "no shared space": {"shared_space": None},
    "shared space alone": {"shared_only": True},
    "inputs as they are": {"normalize_inputs": False},
}


@pytest.fixture(params=list(ARMS.values()), ids=list(ARMS))
def network(request, config, build) -> LocalizerNetwork:
    return build(config, **request.param)


def test_shapes_are_those_of_the_contract(network, batch) -> None:
    output = network(*batch.inputs())
    assert output.start_logits.shape == output.end_logits.shape == (3, 9)
    assert output.alignment.shape == (3, 4, 9)
    assert {value.dtype for value in output} == {torch.float32}


def test_padding_changes_no_answer(network, batch) -> None:
    padded = network(*batch.inputs())
    for row, (frames, tokens) in enumerate([(9, 4), (6, 1), (1, 3)]):
        alone = network(
            batch.features[row : row + 1, :frames],
            batch.frame_mask[row : row + 1, :frames],
            batch.tokens[row : row + 1, :tokens],
            batch.token_mask[row : row + 1, :tokens],
        )
        for name in ("start_logits", "end_logits"):
            both = getattr(padded, name)[row, :frames], getattr(alone, name)[0]
            assert torch.allclose(*both, atol=2e-5), name
        assert torch.allclose(
            padded.alignment[row, :tokens, :frames], alone.alignment[0], atol=1e-5
        )


def test_padding_is_masked_in_every_output(network, batch) -> None:
    output = network(*batch.inputs())
    assert (output.start_logits[~batch.frame_mask] <= -1e4).all()
    assert (output.end_logits[~batch.frame_mask] <= -1e4).all()
    real = batch.token_mask.unsqueeze(2) & batch.frame_mask.unsqueeze(1)
    assert (output.alignment[~real] == 0).all()


def test_the_alignment_of_what_is_shared_out_sums_to_one(network, batch) -> None:
    alignment = network(*batch.inputs()).alignment
    if network.config.coupling == "tokens":
        assert torch.allclose(alignment.sum(dim=1), batch.frame_mask.float(), atol=1e-5)
    elif network.config.coupling == "frames":
        assert torch.allclose(alignment.sum(dim=2), batch.token_mask.float(), atol=1e-5)
    else:
        assert ((alignment >= 0) & (alignment <= 1)).all()


def test_another_sentence_gives_another_answer(network, batch) -> None:
    asked = network(*batch.inputs()).start_logits[0]
    generator = torch.Generator().manual_seed(9)
    other = torch.randn(batch.tokens.shape, generator=generator)
    answered = network(batch.features, batch.frame_mask, other, batch.token_mask).start_logits[0]
    # Not a shift of every logit alike: the shape over time must change with the sentence.
    assert ((asked - answered) - (asked - answered).mean()).abs().max() > 1e-4


def test_half_precision_stays_close(network, batch) -> None:
    half = copy.deepcopy(network).half()
    features, frame_mask, tokens, token_mask = batch.inputs()
    found = half(features.half(), frame_mask, tokens.half(), token_mask)
    expected = network(*batch.inputs())
    assert found.start_logits.dtype == torch.float32
    assert torch.allclose(
        found.start_logits[frame_mask], expected.start_logits[frame_mask], atol=0.05
    )


def test_training_reaches_every_weight(network, batch) -> None:
    states = network.train().states(*batch.inputs())
    real = states.output.start_logits[batch.frame_mask].sum()
    (real + states.output.end_logits[batch.frame_mask].square().sum()).backward()
    silent = [name for name, p in network.named_parameters() if p.grad is None]
    # As printed, the coupling does not depend on frames, but it still passes on gradients.
    assert silent == []


def test_the_same_seed_builds_the_same_network(config, batch, build) -> None:
    first, second = (build(config)(*batch.inputs()) for _ in range(2))
    assert all(torch.equal(*both) for both in zip(first, second, strict=True))


def test_frames_and_tokens_start_in_the_same_space(build) -> None:
    """A frame that equals the sentence has cosine one before any training."""
    config = LocalizerConfig(
        feature_dim=10, token_dim=8, hidden_dim=8, attention_heads=2, shared_space=(2, 10)
    )
    network = build(config)
    token = torch.randn(1, 1, 8)
    features = torch.cat((torch.randn(1, 1, 2) * 100, token), dim=-1)
    real = torch.ones(1, 1, dtype=torch.bool)
    states = network.states(features, real, token, real)
    cosine = torch.cosine_similarity(states.frames[0, 0], states.sentence[0], dim=0)
    assert cosine.item() == pytest.approx(1.0, abs=1e-5)


def test_what_lies_beside_the_shared_space_can_be_left_unread(config, batch, build) -> None:
    network = build(config, shared_only=True)
    assert network.frame_projection.weight.shape == (16, 12)
    features = batch.features.clone()
    features[..., :4] = 7
    features[..., 16:] = -7
    changed = network(features, batch.frame_mask, batch.tokens, batch.token_mask)
    assert all(torch.equal(*both) for both in zip(changed, network(*batch.inputs()), strict=True))
    features[..., 8] += 1
    changed = network(features, batch.frame_mask, batch.tokens, batch.token_mask)
    assert not torch.equal(changed.start_logits, network(*batch.inputs()).start_logits)


def test_videos_of_a_batch_do_not_see_each_other(network, batch) -> None:
    features = batch.features.clone()
    features[1:] = 0
    changed = network(features, batch.frame_mask, batch.tokens, batch.token_mask)
    assert torch.allclose(
        changed.start_logits[0], network(*batch.inputs()).start_logits[0], atol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_dim": 0}, "hidden_dim"),
        ({"hidden_dim": 18, "attention_heads": 4}, "multiple"),
        ({"kernel_sizes": [2]}, "odd"),
        ({"dropout": 1.0}, "dropout"),
        ({"shared_space": [0, 5]}, "5 wide"),
        ({"shared_space": [0, 99]}, "does not lie"),
        ({"shared_space": None, "shared_only": True}, "shared_only"),
        ({"agreement": "loud"}, "agreement"),
        ({"coupling": "loose"}, "coupling"),
        ({"colour": "blue"}, "unknown fields colour"),
        ({"feature_dim": "wide"}, "feature_dim"),
    ],
)
def test_impossible_configurations_are_refused(config, changes, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        LocalizerConfig.from_json({**config.to_json(), **changes})


def test_configurations_survive_json(config) -> None:
    assert LocalizerConfig.from_json(config.to_json()) == config
