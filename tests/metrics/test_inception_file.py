"""The Inception network's file: fetched once, checked, in either of two forms that give the same features."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
import torch
from metrics.test_fd import Model, data_of, evaluate, images
from torch import Tensor, nn

from genmodels.core import DataSpec
from genmodels.data import files
from genmodels.errors import UserError
from genmodels.files import sha256
from genmodels.metrics import InceptionV3, KernelEvaluation, inception_file
from genmodels.metrics.inception_file import LAYERS, NAME, WHOLE, load_layers

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


class Layers(nn.Module):
    """In the place of the network's layers: from images to features ``[B, 2048, 1, 1]``."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.convolution = nn.Conv2d(3, 2048, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(self.mean(x))


class Whole(nn.Module):
    """Called as NVIDIA's file: preprocessing is inside, and by default class probabilities come out."""

    def __init__(self, layers: Layers) -> None:
        super().__init__()
        self.layers = layers
        self.output = nn.Linear(2048, 5)

    def forward(self, x: Tensor, return_features: bool = False) -> Tensor:
        features = self.layers((nn.functional.interpolate(x, [299, 299]) - 128) / 128).flatten(1)
        return features if return_features else self.output(features).softmax(1)


@pytest.fixture
def forms(tmp_path, monkeypatch):
    """The two forms of the file by name, whose hashes are known."""
    torch.manual_seed(0)
    layers, folder = Layers(), tmp_path / "forms"
    folder.mkdir()
    known = {}
    for name, network, real in (("layers", layers, LAYERS), ("whole", Whole(layers), WHOLE)):
        torch.jit.script(network).save(folder / f"{name}.pt")
        known[sha256(folder / f"{name}.pt")] = inception_file.LAYERS_OF[real]
    monkeypatch.setattr(inception_file, "LAYERS_OF", known)
    monkeypatch.setattr(inception_file, "WHOLE", sha256(folder / "whole.pt"))
    return {name: (folder / f"{name}.pt").read_bytes() for name in ("layers", "whole")}


@pytest.fixture
def web(forms, monkeypatch):
    """A server of the file, whose attributes are the content that it sends, how much of it, and the requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            web.requests.append(self.path)
            time.sleep(web.delay)
            self.send_response(200)
            self.send_header("Content-Length", str(len(web.content)))
            self.end_headers()
            self.wfile.write(web.content[: web.sent])

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        address = f"http://127.0.0.1:{server.server_port}/{NAME}"
        web = SimpleNamespace(content=forms["whole"], sent=None, requests=[], delay=0.0, address=address)
        monkeypatch.setattr(inception_file, "ADDRESSES", (address,))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield web
        server.shutdown()


def put(root, content):
    (root / "inception").mkdir(parents=True)
    (root / "inception" / NAME).write_bytes(content)
    return root


def held(root):
    return sorted(path.name for path in (root / "inception").iterdir()) if (root / "inception").exists() else []


def test_it_is_downloaded_once_and_its_place_is_told(web, tmp_path, capsys):
    for _ in range(2):
        network, digest = load_layers(tmp_path)
        assert digest == hashlib.sha256(web.content).hexdigest() and network(torch.zeros(1, 3, 9, 9)).numel() == 2048
    assert web.requests == [f"/{NAME}"] and held(tmp_path) == [".verified.json", NAME]
    assert f"downloaded {tmp_path / 'inception' / NAME}" in capsys.readouterr().out


def test_of_several_processes_one_downloads_and_the_others_wait(web, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(files, "PATIENCE", 0.05)
    web.delay = 0.3
    with ThreadPoolExecutor(3) as pool:
        digests = {digest for _, digest in pool.map(load_layers, [tmp_path] * 3)}
    assert len(web.requests) == 1 and len(digests) == 1 and held(tmp_path) == [".verified.json", NAME]
    assert "waiting for another process that downloads" in caplog.text


def test_a_cut_connection_leaves_nothing_and_the_next_call_starts_again(web, tmp_path):
    web.sent = len(web.content) // 2
    with pytest.raises(UserError, match=r"cannot be downloaded"):
        load_layers(tmp_path)
    assert held(tmp_path) == []
    web.sent = None
    load_layers(tmp_path)
    assert held(tmp_path) == [".verified.json", NAME]


def test_another_content_is_not_kept(web, tmp_path):
    web.content = b"a page that asks for a password"
    with pytest.raises(UserError, match=r"sent inception-2015-12-05\.pt with SHA-256 .* nothing was kept"):
        load_layers(tmp_path)
    assert held(tmp_path) == []


def test_a_second_address_stands_in_for_the_first(web, tmp_path, monkeypatch):
    monkeypatch.setattr(inception_file, "ADDRESSES", (f"http://127.0.0.1:9/{NAME}", web.address))
    load_layers(tmp_path)
    assert held(tmp_path) == [".verified.json", NAME]


def test_offline_the_sentence_has_address_hash_and_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(inception_file, "ADDRESSES", (f"http://127.0.0.1:9/{NAME}",))
    with pytest.raises(UserError) as caught:
        load_layers(tmp_path)
    for part in (f"{tmp_path}/inception lacks {NAME}", f"http://127.0.0.1:9/{NAME}", WHOLE, "GENMODELS_DATA"):
        assert part in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1 and held(tmp_path) == []


def test_another_file_in_its_place_is_refused(tmp_path):
    with pytest.raises(UserError, match=rf"{NAME} is not the Inception network .*{LAYERS} or {WHOLE}; delete the file"):
        load_layers(put(tmp_path, b"something else"))


def test_scores_of_both_forms_compare_and_say_which_was_used(forms, tmp_path):
    scores = {}
    for name, content in forms.items():
        data = data_of(put(tmp_path / name, content), *(images(n, seed) for n, seed in ((8, 0), (2, 1), (5, 2))))
        evaluation = KernelEvaluation(InceptionV3, n=5, repeats=1)
        scores[name] = evaluate(evaluation, Model(images(5, 3)), data)
        assert scores[name].protocol["extractor"] == f"inception-2015-12-05@{LAYERS[:12]}"
        assert scores[name].protocol["extractor_file"] == hashlib.sha256(content).hexdigest()
    assert scores["layers"].value == scores["whole"].value and scores["layers"].conditions == scores["whole"].conditions


def test_metrics_share_one_network_as_long_as_its_file_is_the_same(forms, tmp_path):
    data = data_of(put(tmp_path / "root", forms["whole"]), *(images(n, seed) for n, seed in ((8, 0), (2, 1), (5, 2))))
    first = InceptionV3(data)
    assert InceptionV3(data).network is first.network
    (tmp_path / "root" / "inception" / NAME).write_bytes(forms["layers"])
    changed = InceptionV3(data)
    assert changed.network is not first.network and changed.provenance != first.provenance


@pytest.mark.realdata
def test_features_of_both_real_files_agree(real_data, tmp_path):
    """For whoever has both: one under its name, and the other as any ``.pt`` file beside it."""
    found = {sha256(path): path for path in (real_data / "inception").glob("*.pt")}
    if not {LAYERS, WHOLE} <= set(found):
        pytest.skip(f"{real_data}/inception does not hold both files")
    x = torch.randint(256, (4, 3, 32, 32), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    features = []
    for digest in (LAYERS, WHOLE):
        root = put(tmp_path / digest, found[digest].read_bytes())
        features.append(InceptionV3(SimpleNamespace(name="x", spec=DataSpec((3, 32, 32), 256), root=root))(x))
    torch.testing.assert_close(*features, rtol=1e-5, atol=1e-5)
