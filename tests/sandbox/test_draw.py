"""The drawn pictures: what the prompt asks for, never the input again."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image, ImageChops

from pipeline.sandbox.draw import Order, draw_images, encode
from pipeline.sandbox.looks import FALLBACKS, Look, Scene, Tone, choose_look
from pipeline.sandbox.pictures import examine
from pipeline.sandbox.png import encode_png
from pipeline.sandbox.tokens import Size
from tests.sandbox.pictures import picture

SIZE = Size(256, 256)


def order(
    prompt: str = "a white background",
    *,
    size: Size = SIZE,
    count: int = 1,
    output_format: str = "png",
    transparent: bool = False,
    plain: bool = False,
    mask: Image.Image | None = None,
    seed: str = "0/1",
    upload: bytes | None = None,
) -> Order:
    previews = [examine(upload or picture((256, 256)), "image", 1536).preview]
    return Order(prompt, size, count, output_format, 100, transparent, plain, previews, mask, seed)


def drawn(order: Order) -> Image.Image:
    return Image.open(BytesIO(draw_images(order)[0])).convert("RGB")


@pytest.mark.parametrize(
    ("prompt", "look"),
    [
        ("Put the product on a pure white background.", Look(Scene.WHITE, Tone.NONE)),
        ("The red bag on a café table, warm low sun", Look(Scene.PLACED, Tone.WARM)),
        ("soft light at six in the morning", Look(Scene.PLAIN, Tone.DAWN)),
        ("Make it BLACK AND WHITE", Look(Scene.GRAY, Tone.NONE)),
        ("a pencil sketch at night", Look(Scene.SKETCH, Tone.NIGHT)),
        ("blurred, cold", Look(Scene.BLUR, Tone.COLD)),
        ("a redder picture, as in whiteness", choose_look("a redder picture, as in whiteness")),
    ],
)
def test_words_of_the_prompt_choose_the_look(prompt: str, look: Look) -> None:
    assert choose_look(prompt) == look


@pytest.mark.parametrize("prompt", ["xyzzy", "improve", "", "\ud800"])
def test_a_prompt_without_known_words_gets_a_look_from_its_hash(prompt: str) -> None:
    assert choose_look(prompt) == choose_look(prompt)
    assert choose_look(prompt) in FALLBACKS


def test_words_count_only_whole() -> None:
    assert choose_look("whiteness redder knight") in FALLBACKS


def test_a_white_background_is_white_around_the_subject() -> None:
    image = drawn(order())
    assert image.getpixel((8, 8)) == (255, 255, 255)
    red, green, _ = image.getpixel((128, 128))  # type: ignore[misc]  # an RGB pixel has three values
    assert red > 2 * green


@pytest.mark.parametrize("scene", list(Scene))
@pytest.mark.parametrize("size", [Size(256, 256), Size(384, 256)])
def test_every_look_is_drawn_at_the_size_asked_for(scene: Scene, size: Size) -> None:
    words = {Scene.PLAIN: "warm", Scene.PLACED: "café", Scene.PAINT: "painting"}
    prompt = words.get(scene, {"gray": "grayscale"}.get(scene.value, scene.value))
    assert choose_look(prompt).scene is scene
    assert drawn(order(prompt, size=size)).size == (size.width, size.height)


@pytest.mark.parametrize("plain", [False, True])
def test_n_images_all_differ_from_each_other_and_from_the_input(plain: bool) -> None:
    images = draw_images(order(count=4, plain=plain))
    assert len({picture((256, 256)), *images}) == 5


def test_an_edit_of_an_edit_differs_again() -> None:
    first = draw_images(order())[0]
    assert draw_images(order(upload=first, seed="0/2"))[0] != first


def test_the_same_order_draws_the_same() -> None:
    assert draw_images(order()) == draw_images(order())


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize("plain", [False, True])
def test_images_are_encoded_in_the_format_asked_for(output_format: str, plain: bool) -> None:
    data = draw_images(order(output_format=output_format, plain=plain))[0]
    with Image.open(BytesIO(data)) as image:
        image.load()
        assert (image.format or "").lower() == output_format
        assert image.size == (256, 256)


@pytest.mark.parametrize("plain", [False, True])
def test_a_transparent_background_is_transparent(plain: bool) -> None:
    data = draw_images(order(transparent=True, plain=plain))[0]
    with Image.open(BytesIO(data)) as image:
        assert image.convert("RGBA").getchannel("A").getextrema()[0] == 0


def test_outside_the_mask_the_picture_stays() -> None:
    mask = examine(picture((256, 256), mode="RGBA", alpha=0), "mask", 1536).preview
    image = drawn(order("at night", mask=mask))
    source = Image.open(BytesIO(picture((256, 256))))
    left, right = (0, 0, 127, 256), (129, 0, 256, 256)
    assert ImageChops.difference(image.crop(left), source.crop(left)).getbbox() is None
    assert ImageChops.difference(image.crop(right), source.crop(right)).getbbox() is not None


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_the_quick_png_encoder_loses_nothing(mode: str) -> None:
    image = Image.merge("RGBA", [Image.effect_noise((33, 7), 90) for _ in range(4)]).convert(mode)
    with Image.open(BytesIO(encode_png(image))) as read:
        read.load()
        assert (read.mode, read.size, read.tobytes()) == (mode, image.size, image.tobytes())


def test_lower_compression_makes_a_smaller_jpeg() -> None:
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    assert len(encode(image, "jpeg", 10)) < len(encode(image, "jpeg", 90))
