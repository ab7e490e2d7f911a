"""What the picture tools make of a picture: a cut-out, a mask, an outline. Simple, but of that picture."""

from __future__ import annotations

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps


def cut_out(image: Image.Image) -> Image.Image:
    """The picture with everything but its middle transparent, the edge softened."""
    result = image.convert("RGBA")
    result.putalpha(_subject(image.size))
    return result


def masked(image: Image.Image) -> Image.Image:
    """White where the subject is, black elsewhere."""
    return _subject(image.size).convert("RGB")


def edges(image: Image.Image) -> Image.Image:
    """White outlines on black, as a guide for another generation."""
    grey = ImageOps.grayscale(image).filter(ImageFilter.GaussianBlur(1))
    found = ImageChops.difference(grey, grey.filter(ImageFilter.MaxFilter(3)))
    return ImageOps.autocontrast(found).convert("RGB")


def _subject(size: tuple[int, int]) -> Image.Image:
    width, height = size
    mask = Image.new("L", size)
    box = (width * 0.14, height * 0.08, width * 0.86, height * 0.92)
    ImageDraw.Draw(mask).rounded_rectangle(box, radius=min(size) * 0.36, fill=255)
    return mask.filter(ImageFilter.GaussianBlur(max(1, min(size) // 120)))
