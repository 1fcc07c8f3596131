"""Which edit the words of a prompt ask for. Pure."""

from __future__ import annotations

import re
from enum import StrEnum
from hashlib import sha256

from msgspec import Struct


class Scene(StrEnum):
    """What is done with the picture as a whole."""

    PLAIN = "plain"
    WHITE = "white"
    PLACED = "placed"
    GRAY = "gray"
    SKETCH = "sketch"
    BLUR = "blur"
    PAINT = "paint"
    SEPIA = "sepia"
    MIRROR = "mirror"


class Tone(StrEnum):
    """The light over it."""

    NONE = "none"
    WARM = "warm"
    COLD = "cold"
    DAWN = "dawn"
    NIGHT = "night"
    RED = "red"
    GREEN = "green"
    BLUE = "blue"
    YELLOW = "yellow"
    PINK = "pink"


class Look(Struct, frozen=True):
    """One edit: a scene and a tone, of which at least one does something."""

    scene: Scene
    tone: Tone


SCENE_WORDS = (
    (Scene.GRAY, "black and white|black-and-white|grayscale|greyscale|monochrome"),
    (Scene.SKETCH, "sketch|drawing|pencil|line art|ink|charcoal"),
    (Scene.SEPIA, "sepia|vintage|antique|retro"),
    (Scene.PAINT, "painting|watercolou?r|oil|cartoon|comic|poster|illustration|anime"),
    (Scene.PLACED, "café|cafe|table|scene|lifestyle|room|kitchen|desk|beach|street|garden|forest|shelf|outdoors?|park"),
    (Scene.BLUR, "blur|blurred|blurry|bokeh|out of focus|fog|foggy"),
    (Scene.MIRROR, "mirror|mirrored|flip|flipped"),
    (Scene.WHITE, "white|background|studio|cut-?out|isolate|isolated"),
)
TONE_WORDS = (
    (Tone.WARM, "dusk|sunset|warm|golden|evening|candle|autumn|low sun"),
    (Tone.DAWN, "dawn|sunrise|morning|soft light|spring"),
    (Tone.NIGHT, "night|midnight|dark|moonlight|moody"),
    (Tone.COLD, "cold|cool|winter|snow|snowy|ice|overcast|rain|rainy"),
    (Tone.RED, "red"),
    (Tone.GREEN, "green"),
    (Tone.BLUE, "blue"),
    (Tone.YELLOW, "yellow|orange"),
    (Tone.PINK, "pink|purple|violet"),
)
FALLBACKS = (
    Look(Scene.PLAIN, Tone.WARM),
    Look(Scene.PLAIN, Tone.COLD),
    Look(Scene.PLACED, Tone.NONE),
    Look(Scene.PAINT, Tone.NONE),
    Look(Scene.BLUR, Tone.DAWN),
    Look(Scene.SEPIA, Tone.NONE),
    Look(Scene.MIRROR, Tone.GREEN),
)


def choose_look(prompt: str) -> Look:
    """Return the look that the prompt's words name, else one that its hash picks; the same for the same prompt."""
    text = prompt.casefold()
    look = Look(
        next((scene for scene, words in SCENE_WORDS if _says(text, words)), Scene.PLAIN),
        next((tone for tone, words in TONE_WORDS if _says(text, words)), Tone.NONE),
    )
    if look != Look(Scene.PLAIN, Tone.NONE):
        return look
    return FALLBACKS[sha256(prompt.encode("utf-8", "surrogatepass")).digest()[0] % len(FALLBACKS)]


def _says(text: str, words: str) -> bool:
    return re.search(rf"\b(?:{words})\b", text) is not None
