"""Results of torchvision.transforms.v2 for given parameters, and for given seeds.

python3 g_transforms.py PART > PART.txt, with torch 2.11 and torchvision 0.26 on a CPU with AVX2. Parts: geometry, color,
erasing, mix, warp, gaussian, choice, augment. A title is the name that the C++ test knows; a line has a type, a shape and the values."""
import sys

import torch
from torchvision.transforms import InterpolationMode as I
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

torch.set_num_threads(1)
SMALL = torch.tensor([(i * 7919) % 256 for i in range(3 * 6 * 7)], dtype=torch.uint8).reshape(3, 6, 7)
# Enough pixels for an equalization, and few values.
LARGE = torch.tensor([(i * i // 7) % 97 + 40 * (i % 3) for i in range(3 * 17 * 16)], dtype=torch.uint8).reshape(3, 17, 16)


def line(kind, t):
    shape = " ".join(str(n) for n in t.shape)
    values = t.flatten().tolist()
    print("  %s %s : %s" % (kind, shape, " ".join(str(v) if kind == "u8" else "%.8g" % v for v in values)))


def given(title, run, image=SMALL, floats=True):
    """run(images, is_bytes)"""
    print("==", title)
    line("u8", run(image, True))
    if floats:
        line("f32", run(image.float() / 255, False))


def seeded(title, transform, image=SMALL, seeds=6):
    print("==", title)
    for seed in range(seeds):
        torch.manual_seed(seed)
        line("u8", transform(image))


def geometry():
    for size in ([4, 5], [16, 20], [5], [3]):
        for antialias in (True, False):
            given("resize %s%s" % (size, "" if antialias else " plain"), lambda t, _: F.resize(t, size, I.BILINEAR, antialias=antialias))
    given("resize [4, 5] bicubic", lambda t, _: F.resize(t, [4, 5], I.BICUBIC))
    given("resize [9, 5] bicubic plain", lambda t, _: F.resize(t, [9, 5], I.BICUBIC, antialias=False))
    given("resize [4, 5] nearest", lambda t, _: F.resize(t, [4, 5], I.NEAREST))
    given("resize [4, 5] nearest exact", lambda t, _: F.resize(t, [4, 5], I.NEAREST_EXACT))
    given("resize [10] max 11", lambda t, _: F.resize(t, [10], max_size=11))
    given("resize large [7, 9]", lambda t, _: F.resize(t, [7, 9]), LARGE)
    given("crop 1 2 3 4", lambda t, _: F.crop(t, 1, 2, 3, 4))
    given("crop -1 -2 9 11", lambda t, _: F.crop(t, -1, -2, 9, 11))
    given("crop 4 5 4 4", lambda t, _: F.crop(t, 4, 5, 4, 4))
    given("crop 8 9 2 2", lambda t, _: F.crop(t, 8, 9, 2, 2))
    given("resized_crop 1 2 4 5 to [3, 4]", lambda t, _: F.resized_crop(t, 1, 2, 4, 5, [3, 4]))
    given("center_crop 3", lambda t, _: F.center_crop(t, [3, 3]))
    given("center_crop [8, 4]", lambda t, _: F.center_crop(t, [8, 4]))
    given("center_crop [9, 10]", lambda t, _: F.center_crop(t, [9, 10]))
    given("hflip", lambda t, _: F.horizontal_flip(t))
    given("vflip", lambda t, _: F.vertical_flip(t))
    given("pad 2 with 7", lambda t, _: F.pad(t, [2], fill=7))
    given("pad 1 2 with 1 2 3", lambda t, _: F.pad(t, [1, 2], fill=[1, 2, 3]))
    given("pad 1 2 3 4 reflect", lambda t, _: F.pad(t, [1, 2, 3, 4], padding_mode="reflect"))
    given("pad 1 2 3 4 edge", lambda t, _: F.pad(t, [1, 2, 3, 4], padding_mode="edge"))
    given("pad 1 2 3 4 symmetric", lambda t, _: F.pad(t, [1, 2, 3, 4], padding_mode="symmetric"))
    given("pad -1 2 0 -2", lambda t, _: F.pad(t, [-1, 2, 0, -2]))
    given("pad -1 2 0 -2 symmetric", lambda t, _: F.pad(t, [-1, 2, 0, -2], padding_mode="symmetric"))
    given("five_crop [3, 4]", lambda t, _: torch.stack(F.five_crop(t, [3, 4])))
    given("ten_crop 3", lambda t, _: torch.stack(F.ten_crop(t, [3, 3])))
    given("ten_crop 3 vertical", lambda t, _: torch.stack(F.ten_crop(t, [3, 3], vertical_flip=True)))
    print("== to_dtype float")
    line("f32", F.to_dtype(SMALL, torch.float32, scale=True))
    print("== to_dtype bytes")
    line("u8", F.to_dtype(SMALL.float() / 255, torch.uint8, scale=True))
    seeded("RandomCrop 4", v2.RandomCrop(4))
    seeded("RandomCrop [6, 5] padding 2", v2.RandomCrop([6, 5], padding=2))
    seeded("RandomCrop 4 padding 1 2 3 0 reflect", v2.RandomCrop(4, padding=[1, 2, 3, 0], padding_mode="reflect"))
    seeded("RandomCrop [8, 3] if needed with 9", v2.RandomCrop([8, 3], pad_if_needed=True, fill=9))
    seeded("RandomResizedCrop 4", v2.RandomResizedCrop(4), seeds=10)
    seeded("RandomResizedCrop [5, 3] scale .5 1 ratio .9 1.1 bicubic", v2.RandomResizedCrop([5, 3], (0.5, 1.0), (0.9, 1.1), I.BICUBIC))
    seeded("RandomResizedCrop 4 ratio 5 6", v2.RandomResizedCrop(4, (0.9, 1.0), (5.0, 6.0)))
    seeded("RandomResizedCrop 4 ratio .1 .2", v2.RandomResizedCrop(4, (0.9, 1.0), (0.1, 0.2)))
    seeded("RandomHorizontalFlip", v2.RandomHorizontalFlip())
    seeded("RandomVerticalFlip .3", v2.RandomVerticalFlip(0.3))


def color():
    for factor in (0.0, 0.5, 1.5):
        given("brightness %g" % factor, lambda t, _: F.adjust_brightness(t, factor))
        given("contrast %g" % factor, lambda t, _: F.adjust_contrast(t, factor))
        given("saturation %g" % factor, lambda t, _: F.adjust_saturation(t, factor))
        given("sharpness %g" % factor, lambda t, _: F.adjust_sharpness(t, factor))
        given("gamma %g" % factor, lambda t, _: F.adjust_gamma(t, factor))
    given("gamma 0.8 gain 1.7", lambda t, _: F.adjust_gamma(t, 0.8, 1.7))
    for factor in (-0.3, 0.1, 0.5):
        given("hue %g" % factor, lambda t, _: F.adjust_hue(t, factor))
    given("contrast 0.4 of one channel", lambda t, _: F.adjust_contrast(t[:1], 0.4))
    given("grayscale 1", lambda t, _: F.rgb_to_grayscale(t, 1))
    given("grayscale 3", lambda t, _: F.rgb_to_grayscale(t, 3))
    for bits in (0, 3, 8):
        given("posterize %d" % bits, lambda t, _: F.posterize(t, bits))
    given("solarize half", lambda t, is_bytes: F.solarize(t, 128 if is_bytes else 0.5))
    given("autocontrast", lambda t, _: F.autocontrast(t))
    given("autocontrast of one value", lambda t, _: F.autocontrast(torch.full_like(t, 0.5) if t.is_floating_point() else torch.full_like(t, 9)))
    given("equalize small", lambda t, _: F.equalize(t))
    given("equalize large", lambda t, _: F.equalize(t), LARGE)
    given("invert", lambda t, _: F.invert(t))
    seeded("ColorJitter .4 .4 .4 .1", v2.ColorJitter(0.4, 0.4, 0.4, 0.1))
    seeded("ColorJitter 1.5 0 (.5, .6)", v2.ColorJitter(1.5, 0, (0.5, 0.6)))
    seeded("RandomGrayscale .5", v2.RandomGrayscale(0.5))
    seeded("RandomPosterize 3", v2.RandomPosterize(3))
    seeded("RandomSolarize 100", v2.RandomSolarize(100))
    seeded("RandomAutocontrast", v2.RandomAutocontrast())
    seeded("RandomEqualize", v2.RandomEqualize())
    seeded("RandomInvert", v2.RandomInvert())
    seeded("RandomAdjustSharpness 1.7", v2.RandomAdjustSharpness(1.7))


def warp():
    given("rotate 30", lambda t, _: F.rotate(t, 30.0))
    given("rotate 30 bilinear", lambda t, _: F.rotate(t, 30.0, I.BILINEAR))
    given("rotate 30 bilinear expand with .5", lambda t, _: F.rotate(t, 30.0, I.BILINEAR, expand=True, fill=0.5))
    given("rotate -75 expand with 1 2 3", lambda t, _: F.rotate(t, -75.0, expand=True, fill=[1, 2, 3]))
    given("rotate 90", lambda t, _: F.rotate(t, 90.0))
    given("rotate 90 expand", lambda t, _: F.rotate(t, 90.0, expand=True))
    given("rotate 180", lambda t, _: F.rotate(t, 180.0))
    given("rotate -90 expand", lambda t, _: F.rotate(t, -90.0, expand=True))
    given("rotate 20 around 1 2", lambda t, _: F.rotate(t, 20.0, center=[1, 2]))
    given("affine", lambda t, _: F.affine(t, 10.0, [1, 2], 1.2, [5.0, 0.0]))
    given("affine bilinear with 9", lambda t, _: F.affine(t, -25.0, [-1, 0], 0.7, [5.0, -12.0], I.BILINEAR, fill=9))
    given("affine bilinear around 0 0", lambda t, _: F.affine(t, 15.0, [0, 0], 1.0, [0.0, 0.0], I.BILINEAR, center=[0, 0]))
    corners = [[0, 0], [6, 0], [6, 5], [0, 5]]
    given("perspective", lambda t, _: F.perspective(t, corners, [[1, 1], [5, 0], [6, 4], [0, 5]]))
    given("perspective nearest with 5", lambda t, _: F.perspective(t, corners, [[1, 1], [5, 0], [6, 4], [0, 5]], I.NEAREST, fill=5))
    seeded("RandomRotation 40", v2.RandomRotation(40))
    seeded("RandomRotation (10, 20) bilinear around 1 2 with 8", v2.RandomRotation((10, 20), I.BILINEAR, center=[1, 2], fill=8))
    seeded("RandomAffine 15", v2.RandomAffine(15))
    seeded("RandomAffine 15 all", v2.RandomAffine(15, (0.2, 0.3), (0.8, 1.1), 10, I.BILINEAR, fill=3))
    seeded("RandomAffine 0 shear of both", v2.RandomAffine(0, shear=(-5, 5, 10, 20)))
    seeded("RandomPerspective", v2.RandomPerspective())
    seeded("RandomPerspective 1 nearest with 4", v2.RandomPerspective(0.8, 1.0, I.NEAREST, fill=4))


def erasing():
    given("erase 1 2 3 4", lambda t, _: F.erase(t, 1, 2, 3, 4, torch.zeros(1, 1, 1)))
    given("erase 0 1 2 3 with 1 2 3", lambda t, _: F.erase(t, 0, 1, 2, 3, torch.tensor([1.0, 2.0, 3.0])[:, None, None]))
    seeded("RandomErasing 1", v2.RandomErasing(1.0), seeds=10)
    seeded("RandomErasing .5 with 1 2 3", v2.RandomErasing(0.5, value=(1, 2, 3)))
    print("== RandomErasing 1 random")
    for seed in range(4):
        torch.manual_seed(seed)
        line("f32", v2.RandomErasing(1.0, value="random")(SMALL.float() / 255))


def gaussian():
    given("gaussian_blur 3 sigma 1", lambda t, _: F.gaussian_blur(t, [3, 3], [1.0, 1.0]))
    given("gaussian_blur [5, 3] sigma .6 1.5", lambda t, _: F.gaussian_blur(t, [5, 3], [0.6, 1.5]))
    given("gaussian_blur 5", lambda t, _: F.gaussian_blur(t, [5, 5]))
    seeded("GaussianBlur 3", v2.GaussianBlur(3))
    seeded("GaussianNoise", v2.GaussianNoise())
    seeded("GaussianNoise .2 .05 unclipped", v2.GaussianNoise(0.2, 0.05, clip=False))


def choice():
    seeded("RandomApply", v2.RandomApply([v2.RandomCrop(4, padding=2), v2.RandomHorizontalFlip()], p=1.0))
    seeded("RandomApply .6", v2.RandomApply([v2.RandomInvert(1.0), v2.RandomVerticalFlip()], p=0.6))
    seeded("RandomChoice", v2.RandomChoice([v2.RandomInvert(1.0), v2.RandomVerticalFlip(1.0), v2.RandomCrop(6, padding=2)], p=[1, 2, 3]))
    seeded("RandomOrder", v2.RandomOrder([v2.RandomSolarize(99, 1.0), v2.RandomPosterize(2, 1.0), v2.ColorJitter(0.9)]))
    seeded("Compose", v2.Compose([v2.RandomResizedCrop(5), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4), v2.RandomErasing(0.5)]))


def mix():
    images = SMALL.flatten()[:80].reshape(4, 1, 4, 5).float() / 255
    labels = torch.tensor([0, 1, 2, 1])
    for title, transform in (
        ("MixUp", v2.MixUp(num_classes=3)),
        ("MixUp .2", v2.MixUp(alpha=0.2, num_classes=3)),
        ("CutMix", v2.CutMix(num_classes=3)),
        ("CutMix .5", v2.CutMix(alpha=0.5, num_classes=3)),
        ("RandomChoice", v2.RandomChoice([v2.CutMix(num_classes=3), v2.MixUp(num_classes=3)])),
    ):
        print("==", title)
        for seed in range(4):
            torch.manual_seed(seed)
            mixed, target = transform(images, labels)
            line("f32", mixed)
            line("f32", target)
    print("== MixUp of probabilities")
    torch.manual_seed(1)
    mixed, target = v2.MixUp()(images, torch.tensor([[0.5, 0.5], [0.0, 1.0], [1.0, 0.0], [0.25, 0.75]]))
    line("f32", target)


def augment():
    for name, space, bins in (
        ("RandAugment", v2.RandAugment._AUGMENTATION_SPACE, 31),
        ("TrivialAugmentWide", v2.TrivialAugmentWide._AUGMENTATION_SPACE, 31),
        ("AutoAugment", v2.AutoAugment._AUGMENTATION_SPACE, 10),
        ("AugMix", v2.AugMix._AUGMENTATION_SPACE, 10),
    ):
        print("== space of", name)
        for key, (magnitudes, signed) in space.items():
            m = magnitudes(bins, 10, 8)
            print("  %s %d : %s" % (key, signed, "" if m is None else " ".join("%.9g" % v for v in m.tolist())))
    seeded("RandAugment", v2.RandAugment(), LARGE, 8)
    seeded("RandAugment 3 25 40 bilinear with 9", v2.RandAugment(3, 25, 40, I.BILINEAR, fill=9), LARGE, 8)
    seeded("TrivialAugmentWide", v2.TrivialAugmentWide(), LARGE, 12)
    for policy in v2.AutoAugmentPolicy:
        print("== policy", policy.value)
        for pair in v2.AutoAugment(policy)._policies:
            print("  " + " ; ".join("%s %g %s" % (op, p, "-" if m is None else m) for op, p, m in pair))
        seeded("AutoAugment %s" % policy.value, v2.AutoAugment(policy), LARGE, 6)
    seeded("AugMix", v2.AugMix(), LARGE, 4)
    seeded("AugMix 5 2 2 .5 partial", v2.AugMix(5, 2, 2, 0.5, all_ops=False), LARGE, 4)


{f.__name__: f for f in (geometry, color, erasing, mix, warp, gaussian, choice, augment)}[sys.argv[1]]()
