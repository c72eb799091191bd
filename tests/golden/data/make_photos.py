"""Small images in the formats that are read, in class folders, with the order and the pixels that torchvision's ImageFolder has for them.
Made with torchvision 0.26.0 and its Pillow: python make_photos.py. Writes photos/ (the images), photos.txt (order) and
photos_rgb/ (the pixels of each, as rows of RGB).
"""
import shutil
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision.datasets import ImageFolder

here = Path(__file__).resolve().parent
root, pixels = here / "photos", here / "photos_rgb"
for folder in (root, pixels):
    shutil.rmtree(folder, ignore_errors=True)
W, H = 23, 17
y, x = np.mgrid[0:H, 0:W]
rgb = np.stack([(x * 11) % 256, (y * 15) % 256, (128 + 100 * np.sin(x / 4.0) * np.cos(y / 3.0))], -1).astype(np.uint8)
alpha = ((x + y) * 6).astype(np.uint8)
color = Image.fromarray(rgb)
gray = Image.fromarray(rgb[..., 2])
for folder in ("bird", "cat/deep", "cat/deep-er", "cat/deep/er", "dog"):
    (root / folder).mkdir(parents=True)


def save(image, name, **options):
    image.save(root / name, **options)


save(color, "cat/b.jpg", quality=90)
save(color, "cat/a.PNG")
save(color, "cat/deep/four.jpeg", quality=75, subsampling=0)
save(color, "cat/deep-er/progressive.jpg", quality=60, progressive=True, subsampling=1)
save(gray, "cat/deep/er/gray.jpg", quality=85)
save(color.convert("CMYK"), "dog/cmyk.jpg", quality=90)
exif = Image.Exif()
exif[0x0112] = 6
save(color, "dog/exif.jpg", quality=80, exif=exif)
save(color.quantize(13), "dog/palette.png", transparency=3)
save(Image.fromarray(np.dstack([rgb, alpha])), "dog/rgba.png")
save(Image.fromarray(np.dstack([rgb[..., 2], alpha]), "LA"), "dog/la.png")
save(gray.point(lambda v: 255 * (v > 128)).convert("1"), "dog/one_bit.png")
save(gray.quantize(4), "dog/two_bits.png", bits=2)
save(color, "bird/a.bmp")
save(color.quantize(200), "bird/palette.bmp")
save(color, "bird/b.ppm")
save(gray, "bird/c.pgm")
(root / "bird/plain.ppm").write_text("P3 # a comment\n2 2\n15\n 0 5 15  15 0 7\n1 2 3 4 5 6\n")
(root / "cat/notes.txt").write_text("no image\n")
data = ImageFolder(str(root))
with open(here / "photos.txt", "w") as out:
    print("classes", *data.classes, file=out)
    for number, (path, target) in enumerate(data.samples):
        image = np.asarray(data[number][0])
        name = str(Path(path).relative_to(root))
        (pixels / f"{number:02}.rgb").parent.mkdir(exist_ok=True)
        (pixels / f"{number:02}.rgb").write_bytes(image.tobytes())
        print(target, *image.shape[:2], name, file=out)
