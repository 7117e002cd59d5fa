"""A tiny tower of every kind that public encoders have, with random weights, offline.

Each is the published architecture with few and narrow layers, registered with timm and open_clip
under a name of its own.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

WIDTH = 32
CONTEXT = 12
CLIP_WORDS = {"context_length": 32, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
SIGLIP_WORDS = {
    "context_length": CONTEXT, "width": 32, "heads": 2, "layers": 2, "no_causal_mask": True,
    "proj_bias": True, "pool_type": "last", "tokenizer_kwargs": {"clean": "canonicalize"},
}  # fmt: skip
VIT = {"image_size": 32, "layers": 2, "width": 64, "head_width": 16, "patch_size": 8}
KINDS = (
    "vit", "quickgelu", "eva", "vitamin", "pe", "mobileclip", "mobileclip-hybrid", "siglip",
    "siglip2", "worldwide", "xlm-roberta",
)  # fmt: skip


def register(folder):
    """Make timm and open_clip know every kind.

    Args:
        folder: Where the tokenizers and the configurations are written.

    Returns:
        The encoder's name by its kind.
    """
    import open_clip

    _register_timm()
    unigram, bpe, roberta = (folder / name for name in ("unigram", "bpe", "roberta"))
    rows = write_t5(unigram)
    bpe_rows = write_gemma(bpe)
    write_xlm_roberta(roberta)
    siglip = {**_timm("tiny_siglip", pool="map", proj="none")}
    siglip_words = {**SIGLIP_WORDS, "vocab_size": rows, "hf_tokenizer_name": str(unigram)}
    gelu = {"act_kwargs": {"approximate": "tanh"}}
    configs: dict[str, dict[str, Any]] = {
        "vit": {"vision_cfg": VIT, "text_cfg": CLIP_WORDS},
        "quickgelu": {"vision_cfg": VIT, "text_cfg": CLIP_WORDS, "quick_gelu": True},
        "eva": {"vision_cfg": _timm("tiny_eva", pool="token"), "text_cfg": CLIP_WORDS},
        "vitamin": {
            "vision_cfg": _timm("tiny_vitamin", pool="", proj="linear"),
            "text_cfg": CLIP_WORDS,
        },
        "pe": {"vision_cfg": _timm("tiny_pe", pool="map", size=48), "text_cfg": CLIP_WORDS},
        "mobileclip": {
            "vision_cfg": _timm("tiny_mci", pool="avg", size=64),
            "text_cfg": {**CLIP_WORDS, "no_causal_mask": True},
        },
        "mobileclip-hybrid": {
            "vision_cfg": _timm("tiny_hybrid", pool="token"), "text_cfg": CLIP_WORDS,
        },
        "siglip": {"vision_cfg": siglip, "text_cfg": siglip_words, "init_logit_bias": -10},
        "siglip2": {
            "vision_cfg": siglip,
            "text_cfg": {
                **siglip_words, **gelu, "vocab_size": bpe_rows, "hf_tokenizer_name": str(bpe),
            },
            "init_logit_bias": -10,
        },
        "worldwide": {
            "vision_cfg": VIT,
            "text_cfg": {
                "context_length": CONTEXT, "width": 32, "heads": 2, "layers": 2,
                "vocab_size": rows, "hf_tokenizer_name": str(unigram), "pool_type": "eos",
                "eos_id": 1,
            },
            "quick_gelu": True,
        },
        "xlm-roberta": {
            "vision_cfg": VIT,
            "text_cfg": {
                "hf_model_name": str(roberta), "hf_tokenizer_name": str(roberta),
                "hf_proj_type": "mlp", "hf_pooler_type": "mean_pooler",
            },
        },
    }  # fmt: skip
    for kind, config in configs.items():
        whole = {"embed_dim": WIDTH, "custom_text": True, **config}
        (folder / f"tiny-{kind}.json").write_text(json.dumps(whole))
    open_clip.add_model_config(folder)
    return {kind: f"open_clip:tiny-{kind}" for kind in configs}


def write_t5(folder: Path):
    """A vocabulary of T5's kind, as SigLIP and MetaCLIP 2 read."""
    return write_unigram(folder, special=("<pad>", "</s>", "<unk>"), end="</s>")


def write_unigram(folder: Path, *, special, end):
    """A SentencePiece vocabulary of T5's kind: pieces with scores, spaces written as "▁"."""
    pieces = [*special, *_pieces()]
    scores = [(piece, 0.0 if piece in special else -float(len(pieces) - index) / 40)
              for index, piece in enumerate(pieces)]  # fmt: skip
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=special.index("<unk>")))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace()
    _save(tokenizer, folder, end=end, pad="<pad>", unk="<unk>")
    return len(pieces)


def write_gemma(folder: Path):
    """A vocabulary of Gemma's kind: byte-pair merges with bytes for what is unknown."""
    special = ["<pad>", "<eos>", "<bos>", "<unk>"]
    hexadecimal = [f"<0x{byte:02X}>" for byte in range(256)]
    pieces = [*special, *hexadecimal, *dict.fromkeys(letter for p in _pieces() for letter in p)]
    merges = []
    for piece in _pieces():
        for cut in range(1, len(piece)):
            left, right = piece[:cut], piece[cut]
            if left in pieces and right in pieces and left + right not in pieces:
                merges.append((left, right))
                pieces.append(left + right)
    vocabulary = {piece: index for index, piece in enumerate(pieces)}
    tokenizer = Tokenizer(
        models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    _save(tokenizer, folder, end="<eos>", pad="<pad>", unk="<unk>")
    return len(pieces)


def write_xlm_roberta(folder: Path, **sizes: int):
    """A folder of XLM-R: its configuration, with sizes of one's own, and its tokenizer."""
    import transformers

    special = ("<s>", "<pad>", "</s>", "<unk>")
    rows = write_unigram(folder, special=special, end="</s>")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    _wrap(tokenizer, folder, end="</s>", pad="<pad>", unk="<unk>")
    tiny = {
        "vocab_size": rows, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 64, "max_position_embeddings": 90,
    }  # fmt: skip
    config = transformers.XLMRobertaConfig(pad_token_id=1, type_vocab_size=1, **{**tiny, **sizes})
    config.save_pretrained(folder)


def _timm(name, *, pool, proj=None, size=32):
    return {"timm_model_name": name, "timm_pool": pool, "timm_proj": proj, "image_size": size}


def _pieces():
    letters = "abcdefghijklmnopqrstuvwxyz0123456789'-.,!?éüßабвгдежзийклмнопрстуфхцчшщыьэюя猫狗走人"
    words = ("dog", "cat", "the", "runs", "photo", "собака", "кошка", "人", "猫", "走る", "ing")
    return ["▁", *letters, *(f"▁{word}" for word in words), *(word for word in words[5:])]


def _save(tokenizer, folder, *, end, pad, unk):
    ids = tokenizer.get_vocab()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", special_tokens=[(end, ids[end])]
    )
    _wrap(tokenizer, folder, end=end, pad=pad, unk=unk)


def _wrap(tokenizer, folder, *, end, pad, unk):
    from transformers import PreTrainedTokenizerFast

    folder.mkdir(exist_ok=True)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, pad_token=pad, unk_token=unk,
        model_max_length=64,
    ).save_pretrained(folder)  # fmt: skip


def _register_timm():
    from timm.models import is_model, register_model

    if is_model("tiny_eva"):
        return
    for make in (tiny_eva, tiny_pe, tiny_siglip, tiny_vitamin, tiny_mci, tiny_hybrid):
        register_model(make)


def tiny_eva(pretrained=False, **kwargs):
    """EVA02: rotary positions, gated MLP, norms inside attention and MLP."""
    from timm.models.eva import Eva

    return Eva(
        img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, qkv_fused=False,
        mlp_ratio=4 * 2 / 3, swiglu_mlp=True, scale_mlp=True, scale_attn_inner=True,
        use_rot_pos_emb=True, ref_feat_shape=(4, 4), **_plain(kwargs),
    )  # fmt: skip


def tiny_pe(pretrained=False, **kwargs):
    """Perception Encoder: rotary attention, a norm before the blocks, attention pooling."""
    from timm.layers.norm import LayerNorm
    from timm.models.eva import Eva

    return Eva(
        img_size=48, patch_size=16, embed_dim=32, depth=2, num_heads=2, mlp_ratio=4.0,
        attn_type="rope", use_pre_transformer_norm=True, use_rot_pos_emb=True,
        ref_feat_shape=(3, 3), rope_grid_offset=1.0, rope_grid_indexing="xy",
        attn_pool_num_heads=2, attn_pool_mlp_ratio=4.0,
        norm_layer=partial(LayerNorm, eps=1e-5), **_plain(kwargs),
    )  # fmt: skip


def tiny_siglip(pretrained=False, **kwargs):
    """SigLIP: no class token, attention pooling."""
    from timm.models.vision_transformer import VisionTransformer

    return VisionTransformer(
        img_size=32, patch_size=16, embed_dim=32, depth=2, num_heads=2, class_token=False,
        **_plain(kwargs),
    )  # fmt: skip


def tiny_vitamin(pretrained=False, **kwargs):
    """ViTamin: a convolutional stem, then blocks with a gated GELU."""
    from timm.layers.hybrid_embed import HybridEmbed
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vitamin import GeGluMlp, MbConvStages, VitCfg, VitConvCfg

    stages = MbConvStages(
        cfg=VitCfg(
            embed_dim=(16, 24, 32), depths=(1, 1, 1), stem_width=16, head_type="1d",
            conv_cfg=VitConvCfg(norm_layer="layernorm2d", norm_eps=1e-6),
        )
    )  # fmt: skip
    model = VisionTransformer(
        img_size=32, patch_size=1, embed_dim=32, depth=2, num_heads=2, mlp_ratio=2.0,
        mlp_layer=GeGluMlp, class_token=False,
        embed_layer=partial(HybridEmbed, backbone=stages, proj=False),
        **{"global_pool": "avg", **_plain(kwargs)},
    )  # fmt: skip
    setattr(model, "default_cfg", {})  # noqa: B010 - a module's attributes are typed as tensors
    return model


def tiny_mci(pretrained=False, **kwargs):
    """MobileCLIP's FastViT: branches for training that are merged before export."""
    from timm.models.fastvit import FastVit, RepConditionalPosEnc

    positions: Any = partial(RepConditionalPosEnc, spatial_shape=(7, 7))
    model = FastVit(
        layers=(1, 1, 1, 1), embed_dims=(16, 16, 32, 32), mlp_ratios=(2, 2, 2, 2),
        se_downsamples=(False, False, True, True),
        pos_embs=(None, None, None, positions),
        token_mixers=("repmixer", "repmixer", "repmixer", "attention"), lkc_use_act=True,
        **_plain(kwargs),
    )  # fmt: skip
    # Statistics as of a trained network, so that merging has something to merge.
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model


def tiny_hybrid(pretrained=False, **kwargs):
    """MobileCLIP's larger towers: a convolutional stem before a vision transformer."""
    from timm.layers.hybrid_embed import HybridEmbed
    from timm.models.vision_transformer import VisionTransformer
    from timm.models.vision_transformer_hybrid import ConvStem

    stem = ConvStem(
        channels=(8, 8, 32), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, in_chans=3,
        act_layer=torch.nn.GELU,
    )  # fmt: skip
    return VisionTransformer(
        img_size=32, patch_size=1, embed_dim=32, depth=2, num_heads=2, no_embed_class=True,
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False), **_plain(kwargs),
    )  # fmt: skip


def _plain(kwargs):
    """What open_clip passes on: the number of outputs, and the pooling."""
    return {key: kwargs[key] for key in ("num_classes", "global_pool") if key in kwargs}
