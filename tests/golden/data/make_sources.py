"""Small files as other programs write them, for the readers of data sets: NumPy's arrays, tar archives of Python's tarfile, and what
torchvision's FakeData draws. Made with numpy and torchvision 0.26.0: python make_sources.py. Writes sources/ and fake_data.txt.
"""
import io
import shutil
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image
from torchvision import transforms
from torchvision.datasets import FakeData

here = Path(__file__).resolve().parent
out = here / "sources"
shutil.rmtree(out, ignore_errors=True)
out.mkdir()
base = np.arange(24)
arrays = {code: (base % 2 if code == "b1" else base - (0 if code[0] == "u" else 7)).astype(code).reshape(2, 3, 4)
          for code in ("b1", "u1", "i1", "i2", "i4", "i8", "u2", "u4", "f2", "f4", "f8", "c8", "c16")}
arrays["big"] = (base * 1.5).astype(">f8").reshape(2, 3, 4)
arrays["fortran"] = np.asfortranarray(arrays["f4"] * 2)
arrays["scalar"] = np.float64(2.5)
arrays["empty"] = np.zeros((0, 3), np.float32)
np.savez(out / "stored.npz", **arrays)
np.savez_compressed(out / "deflated.npz", **arrays)
np.save(out / "f4.npy", arrays["f4"])
np.save(out / "fortran.npy", arrays["fortran"])
np.save(out / "big.npy", arrays["big"])
np.save(out / "text.npy", np.array(["a", "bc"]))
np.save(out / "structure.npy", np.zeros(2, [("a", "i4")]))
with open(out / "version3.npy", "wb") as file:
    np.lib.format.write_array(file, arrays["i4"], version=(3, 0))


def png(value):
    data = io.BytesIO()
    Image.fromarray(np.full((4, 5, 3), value, np.uint8)).save(data, "PNG")
    return data.getvalue()


def archive(name, mode, form, files):
    with tarfile.open(out / name, mode, format=form) as tar:
        for path, content in files:
            info = tarfile.TarInfo(path)
            if content is None:
                info.type = tarfile.DIRTYPE
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def samples(first, count, folder="photos"):
    yield folder, None
    for i in range(first, first + count):
        yield f"{folder}/{i:04}.PNG", png(10 * i)
        yield f"{folder}/{i:04}.cls", str(i % 3).encode()
    yield "README", b"no sample"


archive("ustar-000.tar", "w", tarfile.USTAR_FORMAT, samples(0, 4))
archive("ustar-001.tar", "w", tarfile.USTAR_FORMAT, samples(4, 3))
archive("pax.tar", "w", tarfile.PAX_FORMAT, samples(7, 2, "ö" + "x" * 120))
archive("gnu.tar.gz", "w:gz", tarfile.GNU_FORMAT, samples(9, 2, "y" * 120))

with open(here / "fake_data.txt", "w") as file:
    for offset in (0, 5):
        data = FakeData(size=3, image_size=(3, 4, 5), num_classes=7, random_offset=offset, transform=transforms.PILToTensor())
        for image, label in data:
            print(offset, int(label), *image.flatten().tolist(), file=file)
