"""Drawing the edited pictures: quick and plain, yet visibly the edit that the prompt asks for.

No image is ever drawn equal to its input: each carries a strip of small squares, coloured from its own seed.
Blocking work; the app calls it in a thread. All sizes are in pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from io import BytesIO
from random import Random

from msgspec import Struct
from PIL import Image, ImageChops, ImageFilter, ImageOps

from pipeline.sandbox.looks import Look, Scene, Tone, choose_look
from pipeline.sandbox.png import encode_png
from pipeline.sandbox.tokens import Size

WHITE = (255, 255, 255)
TINTS = {
    Tone.WARM: (255, 186, 112),
    Tone.COLD: (150, 196, 255),
    Tone.DAWN: (255, 212, 204),
    Tone.NIGHT: (72, 84, 148),
    Tone.RED: (255, 110, 100),
    Tone.GREEN: (130, 230, 140),
    Tone.BLUE: (110, 150, 255),
    Tone.YELLOW: (255, 226, 110),
    Tone.PINK: (255, 150, 214),
}
BACKDROPS = ((201, 172, 140), (164, 188, 176), (176, 178, 204), (214, 190, 170), (188, 160, 160))
SMALL = 192
"""The long edge of the small copies on which masks and blurs are made."""
MARK_SQUARES = 6


class Order(Struct, frozen=True):
    """What to draw: previews of the uploads, the first of them to be edited, and how the result is encoded."""

    prompt: str
    size: Size
    count: int
    output_format: str
    compression: int
    transparent: bool
    plain: bool
    previews: Sequence[Image.Image]
    mask: Image.Image | None
    seed: str


def draw_images(order: Order) -> list[bytes]:
    """Draw and encode `count` images that differ from each other and from the input."""
    if order.plain and not order.transparent:
        return [_plain(order, index) for index in range(order.count)]
    box = (order.size.width, order.size.height)
    original = ImageOps.fit(flatten(order.previews[0]), box, Image.Resampling.BILINEAR)
    random = Random(order.prompt)  # noqa: S311 - the same prompt gives the same scene
    edited = compose(original, choose_look(order.prompt), random)
    if order.transparent:
        edited.putalpha(subject_mask(original))
    keep = None if order.mask is None else ImageOps.fit(order.mask.getchannel("A"), box)
    return [_finish(order, original, edited, keep, index) for index in range(order.count)]


def flatten(image: Image.Image) -> Image.Image:
    """Return the image in RGB, with white where it is transparent."""
    if image.mode == "RGB":
        return image
    ground = Image.new("RGBA", image.size, (*WHITE, 255))
    return Image.alpha_composite(ground, image.convert("RGBA")).convert("RGB")


def compose(image: Image.Image, look: Look, random: Random) -> Image.Image:
    """Return a new RGB image of the same size in this look."""
    return _toned(_staged(image, look.scene, random), look.tone)


def _staged(image: Image.Image, scene: Scene, random: Random) -> Image.Image:
    match scene:
        case Scene.WHITE:
            return Image.composite(image, Image.new("RGB", image.size, WHITE), subject_mask(image))
        case Scene.PLACED:
            return _placed(image, random)
        case Scene.GRAY:
            return ImageOps.autocontrast(image.convert("L"), cutoff=1).convert("RGB")
        case Scene.SKETCH:
            edges = image.convert("L").filter(ImageFilter.BoxBlur(2)).filter(ImageFilter.FIND_EDGES)
            return ImageOps.invert(ImageOps.autocontrast(edges, cutoff=2)).convert("RGB")
        case Scene.BLUR:
            soft = _small(image).filter(ImageFilter.GaussianBlur(5)).resize(image.size)
            return Image.composite(soft, image, Image.radial_gradient("L").resize(image.size))
        case Scene.PAINT:
            calm = image.reduce(4).filter(ImageFilter.ModeFilter(5)).resize(image.size, Image.Resampling.NEAREST)
            return ImageOps.posterize(calm, 3)
        case Scene.SEPIA:
            return ImageOps.colorize(image.convert("L"), (46, 30, 18), (255, 240, 208))
        case Scene.MIRROR:
            return ImageOps.mirror(image)
        case Scene.PLAIN:
            return image.copy()


def _toned(image: Image.Image, tone: Tone) -> Image.Image:
    if tone is Tone.NONE:
        return image
    return ImageChops.multiply(image, Image.new("RGB", image.size, TINTS[tone]))


def _small(image: Image.Image) -> Image.Image:
    return image.reduce(max(1, max(image.size) // SMALL))


def border_colour(image: Image.Image) -> tuple[int, int, int]:
    """Return the median colour along the edge of an RGB image."""
    width, height = image.size
    ring = Image.new("RGB", (width, 4))
    for row, box in enumerate(((0, 0, width, 1), (0, height - 1, width, height))):
        ring.paste(image.crop(box), (0, row))
    for row, box in enumerate(((0, 0, 1, height), (width - 1, 0, width, height)), start=2):
        ring.paste(image.crop(box).transpose(Image.Transpose.ROTATE_90).resize((width, 1)), (0, row))
    red, green, blue = (_median(channel.histogram()) for channel in ring.split())
    return red, green, blue


def _median(histogram: Sequence[int]) -> int:
    half, seen = sum(histogram) / 2, 0
    for value, count in enumerate(histogram):
        seen += count
        if seen >= half:
            return value
    return 255


def subject_mask(image: Image.Image) -> Image.Image:
    """Return a soft L mask of the image's size: 255 on what differs from the colour of its edge, 0 on the ground.

    Where nothing stands out, or everything does, an oval in the middle counts as the subject.
    """
    small = _small(image)
    apart = ImageChops.difference(small, Image.new("RGB", small.size, border_colour(small)))
    red, green, blue = apart.split()
    far = ImageChops.lighter(ImageChops.lighter(red, green), blue).point(lambda level: 255 if level > 36 else 0)
    share = far.histogram()[255] / (small.width * small.height)
    if not 0.03 < share < 0.75:
        oval = ImageOps.invert(Image.radial_gradient("L")).resize(small.size)
        far = oval.point(lambda level: min(255, max(0, (level - 70) * 4)))
    return far.filter(ImageFilter.GaussianBlur(1.5)).resize(image.size, Image.Resampling.BILINEAR)


def _placed(image: Image.Image, random: Random) -> Image.Image:
    """Stand the subject, smaller and with a shadow, before a wall and on a table."""
    width, height = image.size
    wall = random.choice(BACKDROPS)
    horizon = round(height * 0.68)
    light = ImageOps.invert(Image.linear_gradient("L")).resize(image.size)
    canvas = Image.composite(
        Image.new("RGB", image.size, wall),
        Image.new("RGB", image.size, (wall[0] * 3 // 4, wall[1] * 3 // 4, wall[2] * 3 // 4)),
        light,
    )
    canvas.paste((112, 82, 58), (0, horizon, width, height))
    inner = (width * 7 // 10, height * 7 // 10)
    mask = subject_mask(image).resize(inner)
    corner = (width * 3 // 20, height * 2 // 10)
    shadow = mask.point(lambda level: level // 2)
    canvas.paste((30, 24, 22), (corner[0] + width // 60, corner[1] + height // 60), shadow)
    canvas.paste(image.resize(inner), corner, mask)
    return canvas


def _finish(order: Order, original: Image.Image, edited: Image.Image, keep: Image.Image | None, index: int) -> bytes:
    seed = _seed(order, index)
    image = _vary(edited, Random(seed))  # noqa: S311 - the same seed gives the same light
    if keep is not None:
        image = Image.composite(original.convert(image.mode), image, keep)
    _paste_references(image, order.previews[1:])
    _mark(image, seed)
    return encode(image, order.output_format, order.compression)


def _plain(order: Order, index: int) -> bytes:
    """Draw nothing but the mark on one colour, in a tenth of the time."""
    seed = _seed(order, index)
    image = Image.new("RGB", (64, 64), tuple(seed[-3:]))
    _mark(image, seed)
    palette = image.quantize(MARK_SQUARES + 1)
    return encode(palette.resize((order.size.width, order.size.height)), order.output_format, order.compression)


def _seed(order: Order, index: int) -> bytes:
    return sha256(f"{order.seed}/{index}".encode()).digest()


def _vary(image: Image.Image, random: Random) -> Image.Image:
    """Return the image in a slightly other light; white stays white."""
    gains = [random.uniform(1.0, 1.12) for _ in range(3)]
    table = [min(255, int(level * gain)) for gain in gains for level in range(256)]
    return image.point(table + list(range(256)) * (len(image.getbands()) - 3))


def _paste_references(image: Image.Image, references: Sequence[Image.Image]) -> None:
    edge = max(8, min(image.size) // 9)
    for place, reference in enumerate(references):
        small = ImageOps.contain(flatten(reference), (edge, edge))
        left = edge // 4 + place * (edge * 5 // 4)
        if left + edge > image.width:
            return
        framed = ImageOps.expand(small, 2, WHITE)
        image.paste(framed, (left, image.height - framed.height - edge // 4))


def _mark(image: Image.Image, seed: bytes) -> None:
    """Draw the strip of squares that tells each drawn image from every other."""
    strip = Image.frombytes("RGB", (MARK_SQUARES, 1), seed[: MARK_SQUARES * 3])
    square = max(2, min(image.size) // 100)
    drawn = strip.resize((MARK_SQUARES * square, square), Image.Resampling.NEAREST)
    image.paste(drawn, (image.width - drawn.width - square, image.height - 2 * square))


def encode(image: Image.Image, output_format: str, compression: int) -> bytes:
    """Encode as png, jpeg or webp, for speed rather than size; `compression` is the quality of the last two."""
    if output_format == "png" and image.mode != "P":
        return encode_png(image)
    data = BytesIO()
    if output_format == "png":
        image.save(data, "PNG", compress_level=1)
    elif output_format == "webp":
        image.save(data, "WEBP", quality=compression, method=0)
    else:
        image.convert("RGB").save(data, "JPEG", quality=max(1, min(95, compression)))
    return data.getvalue()
