"""From concepts to the sentences that people would ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from recipes.default_bundle.vocabulary import Concept, Split

_TEMPLATES: dict[Split, tuple[str, ...]] = {
    "training": (
        "{a}",
        "{a}",
        "{x}",
        "a photo of {a}",
        "{a} is shown",
        "there is {a}",
        "we see {a}",
        "a close-up of {a}",
        "the moment with {a}",
        "{a} in the picture",
        "when does {a} appear",
        "find {a}",
        "{a} can be seen",
        "the camera shows {a}",
        "{a} {place}",
        "{a} {place}",
        "{a} {action}",
        "{a} {action} {place}",
        "{an_adjective} {x}",
        "{an_adjective} {x} {place}",
        "{an_adjective} {x} {action}",
        "a view of {an_adjective} {x}",
        "someone looks at {a}",
        "a person next to {a}",
        "a man with {a}",
        "a woman and {a} {place}",
        "people around {a}",
        "{a} near {an_adjective} wall",
        "this part is about {a}",
        "{a} comes into view",
        "a picture of {an_adjective} {x} {place}",
        "two or more of {x}",
        "footage of {a}",
        "{a} fills the frame",
    ),
    "held-out": (
        "show me {a}",
        "where is {a} visible",
        "an image of {a} {place}",
        "the video cuts to {a}",
        "{a} seen from the side",
        "the scene that has {a} {action}",
        "{an_adjective} looking {x}",
        "look, {a}",
        "somebody films {a} {place}",
    ),
}

_PAIRS: dict[Split, tuple[str, ...]] = {
    "training": (
        "{a} and {b}",
        "{a} next to {b}",
        "{a} with {b}",
        "{b} beside {a}",
        "{a} in front of {b}",
        "{a} near {b} {place}",
        "{a} together with {b}",
    ),
    "held-out": ("{a} close to {b}", "both {a} and {b} are visible", "{b} behind {a}"),
}

_SCENE_TEMPLATES: dict[Split, tuple[str, ...]] = {
    "training": (
        "{x}",
        "{a}",
        "a view of {a}",
        "a scene at {a}",
        "somebody at {a}",
        "people at {a}",
        "the camera shows {a}",
        "{an_adjective} {x}",
        "this takes place at {a}",
        "a man is at {a}",
        "it looks like {a}",
        "the part with {a}",
    ),
    "held-out": ("show me {a}", "a shot of {an_adjective} {x}", "we are at {a} now"),
}

_ADJECTIVES = (
    "small", "large", "big", "red", "white", "black", "blue", "green", "brown", "old", "new",
    "young", "beautiful", "dark", "bright", "yellow", "wooden", "single", "tall", "colorful",
    "tiny", "shiny", "empty", "clean", "grey", "different", "lonely",
)  # fmt: skip

_PLACES = (
    "in the background", "on a table", "on the left", "in the middle", "outside", "indoors",
    "on the ground", "in the sun", "on a wooden floor", "in front of a wall", "in the grass",
    "at night", "on the right side", "in a room", "by the window", "on the street", "in a field",
    "under the sky", "in the water", "on a white surface", "up close", "from above",
)  # fmt: skip

_ACTIONS = (
    "standing", "sitting", "lying", "moving", "being held", "facing the camera", "looking around",
    "passing by", "resting", "waiting", "is there", "moves slowly", "stands still", "being used",
    "sitting alone", "in motion",
)  # fmt: skip


def write_sentence(
    concept: Concept,
    rng: np.random.Generator,
    *,
    split: Split,
    companion: Concept | None = None,
) -> str:
    """A sentence that asks for a concept, or for two of them together.

    Args:
        concept: What is asked for.
        rng: Where the choices come from.
        split: Whose templates are used; the splits share none.
        companion: What else the moment shows.
    """
    if companion is not None:
        templates = _PAIRS[split]
    elif concept.relation == "scene":
        templates = _SCENE_TEMPLATES[split]
    else:
        templates = _TEMPLATES[split]
    template = templates[rng.integers(len(templates))]
    adjective = _ADJECTIVES[rng.integers(len(_ADJECTIVES))]
    sentence = template.format(
        x=concept.phrase,
        a=with_article(concept.phrase),
        b=with_article(companion.phrase) if companion else "",
        place=_PLACES[rng.integers(len(_PLACES))],
        action=_ACTIONS[rng.integers(len(_ACTIONS))],
        an_adjective=with_article(adjective),
    )
    style = rng.random()
    if style < 0.25:
        return sentence[0].upper() + sentence[1:] + "."
    return sentence.lower() if style < 0.5 else sentence


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase.

    Example:
        >>> with_article("owl")
        'an owl'
    """
    return f"an {phrase}" if phrase[:1].lower() in set("aeio") else f"a {phrase}"
