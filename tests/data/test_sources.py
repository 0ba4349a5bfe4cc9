import gzip
import hashlib
import io
import math
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from genmodels import hardware
from genmodels.core import DataSpec
from genmodels.core.abilities import HasDensity
from genmodels.data import DataModule
from genmodels.data.sources import (
    Bars,
    BinaryDigits,
    Checkerboard,
    Cifar10Binary,
    Digits,
    Gaussian,
    Heartbeat,
    Idx,
    ImageFolder,
    Mixture,
    Moons,
    Npz,
    SwissRoll,
    image_folder,
)
from genmodels.errors import UserError

NOWHERE = Path("unused")
KINDS = ("images-idx3", "labels-idx1")
URL = "https://example.org/{name}"


def put(folder, content):
    """Write files; return their hashes as a source wants them."""
    folder.mkdir()
    for name, data in content.items():
        (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}


def test_digits_are_all_of_sklearns_split_evenly_by_class():
    from sklearn.datasets import load_digits

    data, images = Digits().load(NOWHERE), load_digits().images.astype(np.uint8)
    both = torch.cat([data.train, data.test])
    assert data.train.shape == (1437, 1, 8, 8) and data.test.shape == (360, 1, 8, 8) and data.train.dtype == torch.uint8
    assert sorted(map(bytes, both.numpy())) == sorted(map(bytes, images))
    of_class = {bytes(image): label for image, label in zip(images, load_digits().target, strict=True)}
    assert all(of_class[bytes(x)] == y for x, y in zip(data.test.numpy(), data.test_labels.tolist(), strict=True))
    share = data.test_labels.bincount() / torch.cat([data.train_labels, data.test_labels]).bincount()
    assert (share - 0.2).abs().max() < 0.01
    assert len(data.test_labels[:36].unique()) > 5  # a prefix is of all classes


def test_digits_split_is_fixed():
    assert Digits().load(NOWHERE).test.sum(dtype=torch.long) == 112_784


def test_binary_digits_are_the_digits_with_pixels_above_a_threshold():
    digits, binary = Digits().load(NOWHERE), BinaryDigits().load(NOWHERE)
    for split in ("train", "test"):
        gray, black_and_white = getattr(digits, split), getattr(binary, split)
        assert black_and_white.dtype == torch.uint8 and torch.equal(black_and_white == 1, gray > 7)
        assert torch.equal(getattr(binary, f"{split}_labels"), getattr(digits, f"{split}_labels"))
        assert torch.equal(getattr(BinaryDigits(threshold=1).load(NOWHERE), split) == 1, gray > 0)
    assert digits.train.max() == 16 and binary.train.max() == 1


def test_idx_reads_shapes_and_labels(tmp_path):
    def idx(array):
        return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()

    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    content = {}
    for split in ("train", "t10k"):
        content[f"{split}-images-idx3-ubyte.gz"] = idx(images)
        content[f"{split}-labels-idx1-ubyte.gz"] = idx(np.array([5, 9], np.uint8))
    data = Idx("set", URL, put(tmp_path / "set", content)).load(tmp_path)
    assert torch.equal(data.train, torch.from_numpy(images)[:, None])
    assert data.test_labels.tolist() == [5, 9] and data.test_labels.dtype == torch.int64


def test_idx_of_another_type_is_an_error(tmp_path):
    content = {f"{split}-{kind}-ubyte.gz": b"\0\0\x0d\1" for split in ("train", "t10k") for kind in KINDS}
    with pytest.raises(UserError, match="not an IDX file"):
        Idx("set", URL, put(tmp_path / "set", content)).load(tmp_path)


def test_cifar_reads_label_then_planes(tmp_path):
    record = bytes([7]) + bytes([1] * 1024) + bytes([2] * 1024) + bytes([3] * 1024)
    files = put(tmp_path / "c", {"data_batch_1.bin": record * 2, "data_batch_2.bin": record, "test_batch.bin": record})
    data = Cifar10Binary("c", URL, files).load(tmp_path)
    assert data.train.shape == (3, 3, 32, 32) and data.test.shape == (1, 3, 32, 32)
    assert data.train[2].amax((1, 2)).tolist() == [1, 2, 3] and data.train_labels.tolist() == [7, 7, 7]


@pytest.fixture
def folder(tmp_path):
    """Ten images of many sizes, kinds and depths, each of one brightness."""
    for i in range(10):
        path = tmp_path / "images" / f"class{i % 2}" / f"{i}.{'png' if i % 2 else 'JPG'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        mode, color = (("RGB", (20 * i,) * 3), ("L", 20 * i))[i % 3 == 0]
        Image.new(mode, (20 + i, 30 - i), color).save(path)
    return tmp_path / "images"


def test_image_folder_decodes_each_image_once(folder, tmp_path, monkeypatch):
    source = ImageFolder(str(folder), (3, 8, 6), test_size=2)
    data = source.load(tmp_path)
    assert data.train.shape == (8, 3, 8, 6) and data.test.shape == (2, 3, 8, 6) and data.train.dtype == torch.uint8
    assert torch.cat([data.train, data.test]).amax((1, 2, 3)).sort().values.tolist() == list(range(0, 200, 20))
    with monkeypatch.context() as patch:
        patch.setattr(image_folder, "decode", lambda *_: pytest.fail("decoded again"))
        assert torch.equal(source.load(tmp_path).train, data.train)
    Image.new("L", (9, 9), 255).save(folder / "new.png")
    assert len(source.load(tmp_path).train) == 9
    os.utime(folder / "new.png", (0, 0))  # as long as before, and another picture for all we know
    source.load(tmp_path)
    assert len(list((tmp_path / "image_folder").iterdir())) == 3  # and nothing half written


def test_image_folder_crops_the_center(tmp_path):
    wide = np.zeros((4, 12), np.uint8)
    wide[:, 4:8] = 200
    Image.fromarray(wide).save(tmp_path / "wide.png")
    assert (image_folder.decode(tmp_path / "wide.png", (1, 4, 4)) == 200).all()


def test_image_folder_keeps_a_given_split(folder, tmp_path):
    (folder / "class0").rename(folder / "train")
    (folder / "class1").rename(folder / "test")
    data = ImageFolder(str(folder), (1, 4, 4)).load(tmp_path)
    assert sorted(data.test.amax((1, 2, 3)).tolist()) == [20, 60, 100, 140, 180]


def brightness_by_label(images, labels):
    return {label: sorted(images[labels == label].amax((1, 2, 3)).tolist()) for label in labels.unique().tolist()}


def test_the_folders_of_images_are_their_classes_whatever_the_order_of_decoding(folder, tmp_path):
    source = ImageFolder(str(folder), (1, 4, 4), test_size=4)
    for _ in range(2):  # decoded, then read from the cache
        data = source.load(tmp_path)
        labels = torch.cat([data.train_labels, data.test_labels])
        assert len(data.train_labels) == 6 and labels.dtype == torch.int64
        found = brightness_by_label(torch.cat([data.train, data.test]), labels)
        assert found == {0: [0, 40, 80, 120, 160], 1: [20, 60, 100, 140, 180]}


def test_classes_lie_under_train_and_test_alike(folder, tmp_path):
    for path in sorted(folder.glob("class*/*")):
        into = folder / ("test" if path.stem in "67" else "train") / path.parent.name / "deeper" / path.name
        into.parent.mkdir(parents=True, exist_ok=True)
        path.rename(into)
    source = ImageFolder(str(folder), (1, 4, 4))
    data = source.load(tmp_path)
    assert brightness_by_label(data.train, data.train_labels) == {0: [0, 40, 80, 160], 1: [20, 60, 100, 180]}
    assert brightness_by_label(data.test, data.test_labels) == {0: [120], 1: [140]}
    (folder / "test" / "class0").rename(folder / "test" / "unknown")
    assert source.load(tmp_path).test_labels is None
    (folder / "test").rename(folder / "val")  # train/ and val/ are no classes
    assert source.load(tmp_path).train_labels is None


def test_images_beside_the_folders_or_in_a_single_one_have_no_classes(folder, tmp_path):
    source = ImageFolder(str(folder), (1, 4, 4))
    Image.new("L", (9, 9)).save(folder / "beside.png")
    assert source.load(tmp_path).train_labels is None
    (folder / "beside.png").rename(folder / ".hidden.png")
    (folder / ".thumbnails").mkdir()
    Image.new("L", (9, 9)).save(folder / ".thumbnails" / "0.png")
    assert source.load(tmp_path).train_labels.unique().tolist() == [0, 1]
    for path in folder.glob("class1/*"):
        path.rename(folder / "class0" / path.name)
    assert source.load(tmp_path).train_labels is None


def test_image_folder_names_the_image_that_will_not_decode(folder, tmp_path):
    broken = folder / "class1" / "3.png"
    Image.fromarray(np.random.default_rng(0).integers(256, size=(20, 20), dtype=np.uint8)).save(broken)
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(UserError, match=r"3\.png cannot be decoded as an image"):
        ImageFolder(str(folder), (3, 8, 8)).load(tmp_path)
    assert not list((tmp_path / "image_folder").iterdir())


def test_image_folder_refuses_sixteen_bits_and_wrong_places(folder, tmp_path):
    Image.fromarray(np.full((4, 4), 40_000, np.uint16)).save(folder / "deep.png")
    with pytest.raises(UserError, match=r"deep\.png has more than 8 bits"):
        ImageFolder(str(folder), (1, 4, 4)).load(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="contains no PNG or JPEG image"):
        ImageFolder(str(tmp_path / "empty"), (1, 4, 4)).load(tmp_path)
    with pytest.raises(UserError, match="there is no folder"):
        ImageFolder(str(tmp_path / "absent"), (1, 4, 4)).load(tmp_path)
    with pytest.raises(ValueError, match="1 or 3 channels"):
        ImageFolder(str(folder), (2, 4, 4)).load(tmp_path)


def test_npz_keeps_kinds(tmp_path):
    np.savez(tmp_path / "split.npz", train=np.arange(6).reshape(3, 2), test=np.zeros((1, 2), np.int64))
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).normal(size=(20, 3)))
    split, x = Npz(str(tmp_path / "split.npz")).load(NOWHERE), Npz(str(tmp_path / "x.npz"), 0.25).load(NOWHERE)
    assert split.train.tolist() == [[0, 1], [2, 3], [4, 5]] and split.train.dtype == torch.uint8
    assert x.train.shape == (15, 3) and x.test.shape == (5, 3) and x.train.dtype == torch.float32


def test_npz_keeps_labels_beside_their_examples(tmp_path):
    x, y = np.arange(40).reshape(20, 2), np.arange(20) % 3
    np.savez(tmp_path / "x.npz", x=x, y=y.astype(np.uint8))
    np.savez(tmp_path / "split.npz", train=x, test=x[:2], train_labels=y, test_labels=y[:2])
    one, split = Npz(str(tmp_path / "x.npz"), 0.25).load(NOWHERE), Npz(str(tmp_path / "split.npz")).load(NOWHERE)
    for of, labels in ((one.train, one.train_labels), (one.test, one.test_labels), (split.train, split.train_labels)):
        assert labels.tolist() == (of[:, 0] // 2 % 3).tolist() and labels.dtype == torch.int64
    assert split.test_labels.tolist() == [0, 1]


LABELLED = {"train": np.zeros((4, 2)), "test": np.zeros((2, 2)), "train_labels": np.array([0, 1, 2, 1])}


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        (LABELLED, "it needs train_labels and test_labels, or neither"),
        ({**LABELLED, "test_labels": np.array([0])}, r"'test_labels' of .* has shape \(1,\); .* each of 2 examples"),
        ({**LABELLED, "test_labels": np.array([0, 3])}, "2 classes from 0 to 3; training data have those from 0 to 2"),
        ({"x": np.zeros((3, 2)), "y": np.zeros((3, 1), int)}, r"shape \(3, 1\); it must be one label for each of 3"),
        ({"x": np.zeros((3, 2)), "y": np.array([0.0, 1.0, 2.0])}, "has dtype float64; make it integers"),
        ({"x": np.zeros((3, 2)), "y": np.array([1, 2, 3])}, "3 classes from 1 to 3; number them from 0 on"),
        ({"x": np.zeros((3, 2)), "y": np.array([0, 1, 9])}, "3 classes from 0 to 9; number them from 0 on"),
        ({"x": np.zeros((3, 2)), "y": np.array([-1, 0, 1])}, "3 classes from -1 to 1; number them from 0 on"),
    ],
)
def test_npz_says_what_is_wrong_with_labels(arrays, sentence, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=sentence):
        Npz(str(tmp_path / "bad.npz")).load(NOWHERE)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"y": np.zeros((3, 2))}, "name its arrays 'train' and 'test', or 'x'"),
        ({"x": np.full((3, 2), 256)}, "integers outside 0..255"),
        ({"x": np.array([[0.0, np.nan]])}, "NaN or infinity"),
        ({"x": np.zeros((3, 2), complex)}, "integers or floats"),
        ({"x": np.zeros(3)}, "it must be"),
    ],
)
def test_npz_says_what_is_wrong(arrays, sentence, tmp_path):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(UserError, match=sentence):
        Npz(str(tmp_path / "bad.npz")).load(NOWHERE)


def test_npz_truncated_or_missing_is_named(tmp_path):
    path = tmp_path / "cut.npz"
    np.savez(path, x=np.zeros((9, 2)))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(UserError, match=r"cut\.npz cannot be read"):
        Npz(str(path)).load(NOWHERE)
    with pytest.raises(UserError, match="there is no file"):
        Npz(str(tmp_path / "absent.npz")).load(NOWHERE)


@pytest.mark.parametrize("law", [Gaussian(), Mixture(), Checkerboard()], ids=lambda law: type(law).__name__)
def test_density_sums_to_one_and_predicts_the_draws(law):
    """Integral over a grid is 1, and probability of each coarse cell is the frequency of draws in it."""
    fine, coarse, width = 800, 8, 10.0
    axis = (torch.arange(fine) + 0.5) * (width / fine) - width / 2
    x = torch.cartesian_prod(axis, axis)
    mass = (law.log_prob(x).exp() * (width / fine) ** 2).view(coarse, fine // coarse, coarse, -1).sum((1, 3))
    assert mass.sum() == pytest.approx(1, abs=2e-3)
    draws = law.sample(40_000, torch.Generator().manual_seed(0))
    cell = ((draws + width / 2) * (coarse / width)).long().clamp(0, coarse - 1)
    frequency = torch.bincount(cell[:, 0] * coarse + cell[:, 1], minlength=coarse**2).view(coarse, coarse) / len(draws)
    assert (frequency - mass).abs().max() < 5 * math.sqrt(0.25 / len(draws))


def all_states(bits):
    """All binary vectors ``[2^bits, bits]``, uint8, in parts; number i is the one whose digits spell i."""
    for numbers in torch.arange(2**bits).split(2**16):
        yield (numbers[:, None] >> torch.arange(bits) & 1).byte()


@pytest.mark.parametrize(
    ("law", "shape", "states", "entropy"),
    [(Heartbeat(), (20,), 5, 1.609438), (Bars(), (1, 4, 4), 30, 3.379093)],
    ids=["heartbeat", "bars"],
)
def test_probabilities_of_all_states_sum_to_one_and_predict_the_draws(law, shape, states, entropy):
    bits = math.prod(shape)
    log_p = torch.cat([law.log_prob(x.view(-1, *shape)) for x in all_states(bits)]).double()
    p = log_p.exp()
    assert len(p) == 2**bits and p.sum() == pytest.approx(1, abs=1e-6)
    assert (p > 0).sum() == states and -(p * log_p)[p > 0].sum() == pytest.approx(entropy, abs=1e-5)
    draws = law.sample(40_000, torch.Generator().manual_seed(0))
    assert draws.shape[1:] == shape and draws.dtype == torch.uint8
    number = (draws.flatten(1).long() << torch.arange(bits)).sum(1)
    frequency = torch.bincount(number, minlength=2**bits) / len(draws)
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / len(draws)).sqrt()).all()


def test_a_heartbeat_is_every_fifth_bin_and_nothing_else():
    beat = torch.zeros(4, 20, dtype=torch.uint8)
    beat[:, 3::5] = 1
    beat[1, 3], beat[2, 4] = 0, 1  # one is missing, one is too many
    beat[3] = torch.tensor([1, 0, 0, 0, 0, 0, 1, 0, 0, 0] * 2)  # out of step
    assert Heartbeat().log_prob(beat).tolist() == [pytest.approx(-math.log(5)), -math.inf, -math.inf, -math.inf]


def test_an_image_that_is_both_bars_and_stripes_is_twice_as_likely():
    rows = torch.tensor([1, 0, 1, 1], dtype=torch.uint8)[:, None].expand(4, 4)
    images = torch.stack([rows, rows.T, torch.zeros_like(rows), torch.ones_like(rows), rows * rows.T])[:, None]
    assert Bars().log_prob(images).exp().tolist() == pytest.approx([1 / 32, 1 / 32, 2 / 32, 2 / 32, 0])


def test_a_source_declares_a_known_density():
    known = (Gaussian(), Mixture(), Checkerboard(), Heartbeat(), Bars())
    assert all(isinstance(source, HasDensity) for source in known)
    assert not any(isinstance(source, HasDensity) for source in (Moons(), SwissRoll(), Digits(), BinaryDigits()))


SHAPES = dict.fromkeys([Gaussian, Mixture, Checkerboard, Moons, SwissRoll], (2,)) | {Heartbeat: (20,), Bars: (1, 4, 4)}


@pytest.mark.parametrize("law", SHAPES)
def test_drawn_data_are_a_function_of_the_seed(law):
    one, same, other = (law(train_size=300, test_size=200, seed=seed).load(NOWHERE) for seed in (1, 1, 2))
    shape = SHAPES[law]
    assert one.train.shape == (300, *shape) and one.test.shape == (200, *shape)
    assert one.train.dtype == (torch.float32 if shape == (2,) else torch.uint8)
    assert torch.equal(one.train, same.train) and not torch.equal(one.train, other.train)
    assert not torch.equal(one.train[:200], one.test)
    assert one.sha256() == same.sha256() != other.sha256()
    if shape == (2,):
        assert one.train.abs().max() < 6 and one.train.mean(0).abs().max() < 1


def test_a_published_file_that_is_a_folder_is_named(tmp_path):
    files = {f"{split}-{kind}-ubyte.gz": 64 * "a" for split in ("train", "t10k") for kind in KINDS}
    for name in files:
        (tmp_path / "set" / name).mkdir(parents=True)
    with pytest.raises(UserError, match=r"set/train-images-idx3-ubyte\.gz is not a file"):
        Idx("set", URL, files).load(tmp_path)


def test_npz_names_a_number_that_float32_cannot_hold(tmp_path):
    np.savez(tmp_path / "big.npz", x=np.array([[1.0], [1e300], [-1e299]]))
    with pytest.raises(UserError, match=r"'x' of .*big\.npz contains 1e\+300, which is beyond the range of float32"):
        Npz(str(tmp_path / "big.npz")).load(NOWHERE)


def test_npz_without_its_arrays_says_what_it_holds(tmp_path):
    np.savez(tmp_path / "y.npz", y=np.zeros((3, 2)), z=np.zeros(1))
    with pytest.raises(UserError, match=r"y\.npz contains y, z: name its arrays"):
        Npz(str(tmp_path / "y.npz")).load(NOWHERE)
    np.savez(tmp_path / "empty.npz", x=np.zeros((3, 0)))
    with pytest.raises(UserError, match=r"has shape \(3, 0\)"):
        Npz(str(tmp_path / "empty.npz")).load(NOWHERE)


def archive(path, content, size=None):
    """An .npz file whose array ``x`` has the bytes ``content``, in a directory that says ``size``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("x.npy", content)
    if size is not None:
        data = bytearray(path.read_bytes())
        entry = data.rindex(b"PK\1\2")
        data[entry + 24 : entry + 28] = size.to_bytes(4, "little")
        path.write_bytes(data)
    return Npz(str(path))


def header(shape):
    written = io.BytesIO()
    np.lib.format.write_array_header_1_0(written, {"descr": "<f8", "fortran_order": False, "shape": shape})
    return written.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no array at all",
        b"\x93NUMPY\1\0\x10\0{'descr': '<f8'} ",
        b"\x93NUMPY\1\0\4\0((((",
        header((10**13, 2)),  # more than the file holds
        header((3, 2)) + b"\0",
        header((-3, 2)),
        b"\x80\x04\x95pickled",
    ],
)
def test_npz_with_a_bad_header_is_one_sentence(content, tmp_path):
    with pytest.raises(UserError, match=r"x\.npz( cannot be read as an \.npz file \(.+\); save it| is no array; save)"):
        archive(tmp_path / "x.npz", content).load(NOWHERE)


def test_npz_that_needs_more_memory_than_there_is_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(hardware.psutil, "virtual_memory", lambda: SimpleNamespace(available=2**30))
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(UserError, match=r"x\.npz needs 12 GiB of memory, of which 1 GiB are available"):
        archive(tmp_path / "x.npz", header((2**28, 2)), size=2**32 - 1).load(NOWHERE)


def test_image_folder_names_a_broken_link_and_ignores_folders(folder, tmp_path):
    (folder / "folder.png").mkdir()
    assert len(ImageFolder(str(folder), (1, 4, 4)).load(tmp_path).train) == 9
    (folder / "broken.png").symlink_to(folder / "absent.png")
    with pytest.raises(UserError, match=r"broken\.png is a link to a file that does not exist"):
        ImageFolder(str(folder), (1, 4, 4)).load(tmp_path)


@pytest.mark.parametrize("kept", [0, 40, 200, -1], ids=["empty", "in the header", "truncated", "garbage"])
def test_a_damaged_cache_is_made_anew(kept, folder, tmp_path):
    source = ImageFolder(str(folder), (3, 8, 8))
    whole = source.load(tmp_path).train.clone()
    (cache,) = (tmp_path / "image_folder").iterdir()
    content = cache.read_bytes()
    cache.write_bytes(content[:kept] if kept >= 0 else b"garbage" * 100)
    assert torch.equal(source.load(tmp_path).train, whole)
    np.save(cache, np.zeros((2, 3, 8, 8), np.uint8))  # of fewer images
    assert torch.equal(source.load(tmp_path).train, whole)
    assert cache.read_bytes() == content


def test_a_cache_that_cannot_be_written_is_one_sentence(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/image_folder, .*cannot be written .*set data\.root or GENMODELS_DATA"):
        ImageFolder(str(folder), (3, 8, 8)).load(tmp_path / "file")
    monkeypatch.setattr(image_folder.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(UserError, match=r"needs .* GiB of disk space, of which .* are available"):
        ImageFolder(str(folder), (3, 8, 8)).load(tmp_path)


@pytest.mark.parametrize("images", [1, 2, 3])
def test_one_to_three_images_name_the_key_to_set(images, tmp_path):
    for i in range(images):
        Image.new("L", (4, 4), i).save(tmp_path / f"{i}.png")
    with pytest.raises(UserError, match=rf"^data\.source\.test_size=0\.1 would hold out 0 of {images} examples: "):
        ImageFolder(str(tmp_path), (1, 4, 4)).load(tmp_path)
    if images == 3:
        source = ImageFolder(str(tmp_path), (1, 4, 4), test_size=1)
        data = DataModule("x", DataSpec((1, 4, 4), 256), source, 8, root=str(tmp_path))
        with pytest.raises(UserError, match=r"^data\.val_size=0\.1 would hold out 0 of 2 examples: set data\.val_size"):
            data.setup()
