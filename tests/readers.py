"""Other programs read samples that genmodels has written; run by the Python that has them installed.

``python readers.py IMAGES ADM.npz REFERENCE [INCEPTION.pt]`` prints, as JSON, what each of the programs finds: the
SHA-256 of the pixels, and with the network their Fréchet and kernel distances to the images in REFERENCE.
"""

import hashlib
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np

EXTRACTOR = "inception-2015-12-05"


def pixels(images):
    """SHA-256 of 8-bit RGB images ``[n, H, W, 3]``."""
    array = np.ascontiguousarray(np.stack([np.asarray(image) for image in images]))
    assert array.ndim == 4 and array.shape[-1] == 3
    assert np.array_equal(array, array.astype(np.uint8))
    return hashlib.sha256(array.astype(np.uint8).tobytes()).hexdigest()


def files(folder):
    return sorted(str(path) for path in Path(folder).iterdir())


def torch_fidelity(images, adm, reference, inception=None):
    import torch
    import torch_fidelity as program
    from torch_fidelity.datasets import ImagesPathDataset
    from torch_fidelity.feature_extractor_base import FeatureExtractorBase
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x as resized

    found = {"pixels": pixels([image.permute(1, 2, 0) for image in ImagesPathDataset(files(images))])}
    if inception is None:
        return found

    class Extractor(FeatureExtractorBase):
        """The network of genmodels, with this program's own resizing."""

        def __init__(self, name, features_list, **_):
            super().__init__(name, features_list)
            self.network = torch.jit.load(inception, map_location="cpu").eval()

        @staticmethod
        def get_provided_features_list():
            return ("2048",)

        @staticmethod
        def get_default_feature_layer_for_metric(metric):
            return "2048"

        @staticmethod
        def can_be_compiled():
            return False

        @staticmethod
        def get_dummy_input_for_compile():
            return torch.zeros(1, 3, 299, 299, dtype=torch.uint8)

        @torch.no_grad()
        def forward(self, x):
            return (self.network((resized(x.float(), size=(299, 299), align_corners=False) - 128) / 128),)

    program.register_feature_extractor(EXTRACTOR, Extractor)
    n = len(files(images))
    scores = program.calculate_metrics(
        input1=str(images), input2=str(reference), feature_extractor=EXTRACTOR, fid=True, kid=True, kid_subsets=1,
        kid_subset_size=n, cuda=False, cache=False, verbose=False, batch_size=25,
    )  # fmt: skip
    return {**found, "fid": scores["frechet_inception_distance"], "kid": scores["kernel_inception_distance_mean"]}


def cleanfid(images, adm, reference, inception=None):
    from cleanfid.utils import ResizeDataset

    dataset = ResizeDataset(files(images), mode="legacy_tensorflow")  # which leaves the resizing to the network
    return {"pixels": pixels([image.permute(1, 2, 0) for image in dataset])}


def pytorch_fid(images, adm, reference, inception=None):
    import torchvision.transforms as transforms
    from pytorch_fid.fid_score import ImagePathDataset

    dataset = ImagePathDataset(files(images), transforms=transforms.ToTensor())
    return {"pixels": pixels([(image * 255).round().permute(1, 2, 0) for image in dataset])}


def guided_diffusion(images, adm, reference, inception=None):
    """As its evaluator streams an archive: a .npy of format 1.0 in C order, named arr_0."""
    with zipfile.ZipFile(adm) as archive, archive.open("arr_0.npy") as file:
        stream = io.BytesIO(file.read())
    assert np.lib.format.read_magic(stream) == (1, 0)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    assert not fortran and dtype == np.uint8
    return {"pixels": pixels(np.frombuffer(stream.read(), dtype).reshape(shape))}


if __name__ == "__main__":
    results = {}
    for reader in (torch_fidelity, cleanfid, pytorch_fid, guided_diffusion):
        try:
            results[reader.__name__] = reader(*sys.argv[1:])
        except ImportError as error:
            results[reader.__name__] = {"missing": str(error)}
    print(json.dumps(results))
