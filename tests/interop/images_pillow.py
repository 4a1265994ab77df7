"""Pictures of many kinds and, beside each, what it must decode to: images_pillow.py FOLDER

NAME.png or NAME.jpg, with NAME.rgb and NAME.gray: raw bytes of Pillow's convert("RGB") and convert("L").
All are 19 rows of 23 pixels."""
import struct
import sys
import zlib

import numpy as np
from PIL import Image

H, W = 19, 23
rng = np.random.default_rng(5)
folder = sys.argv[1]
# smooth, so that JPEG keeps it, with some noise
y, x = np.mgrid[0:H, 0:W]
rgb = np.clip(np.stack([9 * x, 12 * y, 5 * (x + y)], -1) + rng.integers(0, 9, (H, W, 3)), 0, 255).astype(np.uint8)
colour = Image.fromarray(rgb, "RGB")


def expect(name, image):
    with open(f"{folder}/{name}.rgb", "wb") as f:
        f.write(np.asarray(image.convert("RGB")).tobytes())
    with open(f"{folder}/{name}.gray", "wb") as f:
        f.write(np.asarray(image.convert("L")).tobytes())


def save(name, image, kind, **options):
    image.save(f"{folder}/{name}.{kind}", **options)
    expect(name, Image.open(f"{folder}/{name}.{kind}"))


def chunk(tag, data):
    return struct.pack(">I", len(data)) + tag + data + struct.pack(">I", zlib.crc32(tag + data))


def save_raw(name, shown, depth, colour_type, interlace, rows):
    """A PNG that Pillow does not write: `rows` are unfiltered scanlines."""
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, depth, colour_type, 0, 0, interlace))
    data += chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))) + chunk(b"IEND", b"")
    with open(f"{folder}/{name}.png", "wb") as f:
        f.write(data)
    expect(name, shown)


save("gray", colour.convert("L"), "png")
save("rgb", colour, "png")
save("bits1", colour.convert("1"), "png")
save("palette", colour.quantize(17), "png")
alpha = colour.copy()
alpha.putalpha(Image.fromarray(rng.integers(0, 256, (H, W)).astype(np.uint8)))
save("rgba", alpha, "png")
save("la", alpha.convert("LA"), "png")
deep = rng.integers(0, 65536, (H, W)).astype(">u2")
shown = ((deep.astype(np.uint64) * 255 + 32895) >> 16).astype(np.uint8)
save_raw("deep", Image.fromarray(shown), 16, 0, 0, [row.tobytes() for row in deep])
passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
adam7 = [rgb[r, x0::dx].tobytes() for y0, x0, dy, dx in passes for r in range(y0, H, dy)]
save_raw("interlaced", colour, 8, 2, 1, adam7)
save("jpeg", colour, "jpg", quality=95)
save("half", colour, "jpg", quality=80, subsampling=2)
save("progressive", colour, "jpg", quality=90, progressive=True)
save("jpeggray", colour.convert("L"), "jpg", quality=90)
save("cmyk", colour.convert("CMYK"), "jpg", quality=95)
