import gzip
import hashlib
import io
import tarfile

import pytest

from genmodels.data import files
from genmodels.data.files import fetch
from genmodels.errors import UserError

CONTENT = {"a.bin": b"alpha", "b.gz": b"beta"}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}


def stored(name):
    return gzip.compress(CONTENT[name]) if name.endswith(".gz") else CONTENT[name]


@pytest.fixture
def folder(tmp_path):
    for name in CONTENT:
        (tmp_path / name).write_bytes(stored(name))
    return tmp_path


@pytest.fixture
def web(monkeypatch, tmp_path):
    """Stands in for pooch: ``web[url]`` is what the address sends; all else is offline. Notes every request."""
    pages = {"requests": []}

    def retrieve(url, scratch):
        pages["requests"].append(url)
        if url not in pages:
            raise ConnectionError("no route to host")
        (scratch / "download").write_bytes(pages[url])
        return scratch / "download"

    monkeypatch.setattr(files, "_retrieve", retrieve)
    return pages


def test_what_is_there_and_whole_is_not_fetched(folder, web):
    fetch(folder, HASHES, "http://x/{name}")
    assert web["requests"] == []


def test_a_checked_file_is_not_hashed_again_until_it_changes(folder, monkeypatch):
    fetch(folder, HASHES, "")
    with monkeypatch.context() as patch:
        patch.setattr(files, "content_hash", lambda *_: pytest.fail("hashed again"))
        fetch(folder, HASHES, "")
    (folder / "a.bin").write_bytes(b"altered")
    with pytest.raises(UserError, match=r"a\.bin is truncated or altered.*expected.*delete the file"):
        fetch(folder, HASHES, "")


def test_a_folder_that_cannot_be_written_is_said_to_be_hashed_every_time(folder, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(files, "write_whole", refuse)
    fetch(folder, HASHES, "")
    assert "hashed again at every start" in caplog.text


def test_a_truncated_gzip_is_named(folder):
    (folder / "b.gz").write_bytes(stored("b.gz")[:-6])
    with pytest.raises(UserError, match=r"b\.gz is truncated or altered"):
        fetch(folder, HASHES, "")


def test_offline_names_folder_files_hashes_and_setting(tmp_path, web):
    with pytest.raises(UserError) as caught:
        fetch(tmp_path / "set", HASHES, "http://x/{name}")
    for part in (str(tmp_path / "set"), *HASHES, *HASHES.values(), "GENMODELS_DATA", "data.root"):
        assert part in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_download_compresses_what_comes_plain(tmp_path, web):
    web["http://x/a.bin"], web["http://x/b.gz"] = stored("a.bin"), CONTENT["b.gz"]
    fetch(tmp_path / "set", HASHES, "http://x/{name}")
    assert gzip.decompress((tmp_path / "set" / "b.gz").read_bytes()) == CONTENT["b.gz"]
    assert not [path for path in (tmp_path / "set").iterdir() if path.name.startswith(".download")]


def test_download_from_an_archive(tmp_path, web):
    with io.BytesIO() as memory:
        with tarfile.open(fileobj=memory, mode="w:gz") as archive:
            for name in CONTENT:
                member = tarfile.TarInfo(f"inner/{name}")
                member.size = len(stored(name))
                archive.addfile(member, io.BytesIO(stored(name)))
        web["http://x/all.tar.gz"] = memory.getvalue()
    fetch(tmp_path, HASHES, "http://x/all.tar.gz")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT["a.bin"]
    with pytest.raises(UserError, match=r"holds no absent\.bin"):
        fetch(tmp_path, {"absent.bin": "0"}, "http://x/all.tar.gz")


def test_a_wrong_download_is_not_kept(tmp_path, web):
    web["http://x/a.bin"] = b"an error page"
    with pytest.raises(UserError, match=r"sent a\.bin with SHA-256 .* nothing was kept"):
        fetch(tmp_path, {"a.bin": HASHES["a.bin"]}, "http://x/{name}")
    assert not (tmp_path / "a.bin").exists()
