"""The REST interface with the shipped weights: good requests, and every kind of bad ones."""

from __future__ import annotations

import base64
import io
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra `app`")
pytest.importorskip("multipart", reason="needs the extra `app`")

from fastapi.testclient import TestClient

from unmask import Unmasker
from unmask.app.desk import Desk, Limits
from unmask.app.rest import build_rest, run_lengths
from unmask.image import Photo
from unmask.result import Face, Result

LIMITS = Limits(max_bytes=2_000_000, max_pixels=300_000, seconds=600, waiting=4, per_client=4)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pixels(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def from_runs(runs: dict[str, list[int]]) -> np.ndarray:
    values = np.arange(len(runs["counts"])) % 2 == 1
    return np.repeat(values, runs["counts"]).reshape(runs["size"], order="F")


@pytest.fixture(scope="module")
def unmasker() -> Unmasker:
    return Unmasker(max_pixels=LIMITS.max_pixels)


class Bystander:
    """Finds no face, without networks."""

    max_pixels = LIMITS.max_pixels

    def __call__(self, photo: Photo, **options: object) -> Result:
        return Result(photo.pixels, [], photo)


class Couple(Bystander):
    """Finds a face in each half of a photo, and paints the whole photo by the gender."""

    def __call__(self, photo: Photo, *, gender: str = "female", **options: object) -> Result:
        image = np.full_like(photo.pixels, 255 if gender == "male" else 0)
        left = np.zeros(image.shape[:2], bool)
        left[:, : image.shape[1] // 2] = True
        points, crop = np.zeros((98, 2), np.float32), image[:1, :1]
        faces = [
            Face((0, 0, 1, 1), 1, gender, 1, points, half, crop, crop, half)
            for half in (left, ~left)
        ]
        return Result(image, faces, photo)


@pytest.fixture(scope="module")
def masked(masked: np.ndarray) -> np.ndarray:
    return masked[:300, 80:380]


@pytest.fixture(scope="module")
def photo(masked: np.ndarray) -> bytes:
    return png(masked)


@pytest.fixture(scope="module")
def completed(unmasker: Unmasker, masked: np.ndarray) -> Result:
    return unmasker(masked, seed=3)


@pytest.fixture
def desk() -> Desk:
    return Desk(LIMITS)


@pytest.fixture
def client(unmasker: Unmasker, desk: Desk) -> Iterator[TestClient]:
    with TestClient(build_rest(unmasker, desk), base_url="http://localhost") as client:
        yield client


@pytest.fixture
def quick(desk: Desk) -> Iterator[TestClient]:
    """A client of a server that knows no faces."""
    with TestClient(build_rest(Bystander(), desk), base_url="http://localhost") as client:
        yield client


def as_form(**files: bytes) -> dict[str, tuple[str, bytes]]:
    return {name: (f"../{name}.png", content) for name, content in files.items()}


# === Good requests ===


def test_a_photo_comes_back_as_the_package_completes_it(client, completed, photo):
    for sent in (
        {"files": as_form(photo=photo)},
        {"content": photo, "headers": {"content-type": "image/png"}},
    ):
        answer = client.post("/api/unmask?seed=3", **sent)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-unmask-faces"] == "1"
        assert answer.headers["x-content-type-options"] == "nosniff"
        np.testing.assert_array_equal(pixels(answer.content), completed.image)


def test_json_tells_of_faces_masks_and_picture(client, completed, photo):
    files, accept = as_form(photo=photo), {"accept": "application/json"}
    answer = client.post("/api/unmask?seed=3", files=files, headers=accept).json()
    assert (answer["height"], answer["width"]) == completed.image.shape[:2]
    (face,) = answer["faces"]
    assert face["gender"] == completed.faces[0].gender
    np.testing.assert_array_equal(from_runs(face["painted"]), completed.faces[0].mask)
    np.testing.assert_array_equal(from_runs(face["mask"]), completed.faces[0].worn)
    np.testing.assert_array_equal(pixels(base64.b64decode(answer["image"])), completed.image)
    assert "not true" in answer["notice"]


def test_a_mask_changes_the_result(client, completed, photo):
    worn = completed.faces[0].worn
    larger = worn | np.roll(worn, -12, axis=0)
    files = as_form(photo=photo, mask=png(larger.astype(np.uint8) * 255))
    answer = client.post("/api/unmask?format=json", files=files).json()
    assert from_runs(answer["faces"][0]["painted"])[larger].mean() > 0.97
    assert answer["faces"][0]["score"] == 1


def test_each_face_has_its_gender(desk):
    with TestClient(build_rest(Couple(), desk), base_url="http://localhost") as client:
        sent = {"content": png(NOISE), "headers": RAW}
        answer = client.post("/api/unmask?gender=male&gender=female", **sent)
        assert answer.headers["x-unmask-faces"] == "2"
        completed = pixels(answer.content)
        assert (completed[:, :50] == 255).all()
        assert (completed[:, 50:] == 0).all()
        wrong = client.post("/api/unmask?gender=male&gender=female&gender=male", **sent)
        assert wrong.status_code == 422
        assert "2 faces" in wrong.json()["detail"]


@pytest.mark.parametrize("first", [False, True])
def test_run_lengths_are_those_of_coco(first):
    mask = np.array([[first, True, False], [False, True, False]])
    counts = [0, 1, 1, 2, 2] if first else [2, 2, 2]
    assert run_lengths(mask) == {"size": [2, 3], "counts": counts}


def test_the_interface_describes_itself(client):
    described = client.get("/openapi.json").json()
    bodies = described["paths"]["/api/unmask"]["post"]["requestBody"]["content"]
    assert set(bodies) == {"multipart/form-data", "image/*", "application/octet-stream"}
    assert client.get("/docs").status_code == 200
    assert client.get("/api/health").json()["status"] == "ok"


# === Bad requests ===

NOISE = np.random.default_rng(1).integers(0, 255, (100, 100, 3), np.uint8)
RAW = {"content-type": "application/octet-stream"}


@pytest.mark.parametrize(
    ("status", "sent", "text"),
    [
        (400, {"content": png(NOISE)[:3000], "headers": RAW}, "damaged"),
        (400, {"content": b"", "headers": RAW}, "empty"),
        (400, {"content": png(NOISE[:50, :50]), "headers": RAW}, "at least 64"),
        (400, {"files": as_form(mask=png(NOISE))}, "no photo"),
        (400, {"files": as_form(photo=png(NOISE), mask=png(NOISE[:99]))}, "photo's size"),
        (400, {"content": b"--x", "headers": {"content-type": "multipart/form-data"}}, "form"),
        (
            400,
            {"content": b"?", "headers": {"content-type": "multipart/form-data; boundary=x"}},
            "form",
        ),
        (413, {"content": bytes(2_000_001), "headers": RAW}, "2000000 bytes"),
        (413, {"files": as_form(photo=bytes(9_000_000))}, "2000000 bytes"),
        (413, {"content": png(np.zeros((600, 600, 3), np.uint8)), "headers": RAW}, "300000"),
        (415, {"content": b"this is no picture", "headers": RAW}, "not a readable"),
        (415, {"content": b"<svg/>", "headers": {"content-type": "image/svg+xml"}}, "readable"),
        (415, {"content": png(NOISE), "headers": {"content-type": "text/plain"}}, "text/plain"),
        (415, {"json": {"url": "http://localhost/"}}, "application/json"),
        (415, {}, "no Content-Type"),
        (422, {"params": {"gender": "other"}, "files": as_form(photo=png(NOISE))}, "gender"),
        (422, {"params": {"seed": -1}, "files": as_form(photo=png(NOISE))}, "seed"),
        (422, {"params": {"format": "gif"}, "files": as_form(photo=png(NOISE))}, "format"),
        (422, {"files": as_form(photo=png(NOISE), path=b"/etc/passwd")}, "path"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(client, status, sent, text):
    answer = client.post("/api/unmask", **sent)
    assert answer.status_code == status, answer.text
    assert text in answer.text


def test_a_long_body_without_a_length_is_cut_off(client):
    pieces = (bytes(100_000) for _ in range(50))
    answer = client.post("/api/unmask", content=pieces, headers=RAW)
    assert answer.status_code == 413


def test_uploads_never_touch_the_disk(quick, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    big = b"\xff\xd8\xff" + np.random.default_rng(0).bytes(1_400_000)
    assert quick.post("/api/unmask", files=as_form(photo=big)).status_code == 400
    assert quick.post("/api/unmask", files=as_form(photo=png(NOISE))).status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/file=/etc/passwd", "/api/unmask/x", "/gradio_api/file=http://a/b"]
)
def test_nothing_else_is_there(client, path):
    assert client.get(path).status_code == 404


# === Too much at once ===


@pytest.fixture
def held(desk: Desk) -> Iterator[threading.Event]:
    """The worker is busy until the event is set."""
    free = threading.Event()
    desk._worker.submit(free.wait)
    yield free
    free.set()


def test_too_many_requests_are_sent_away(quick, held):
    with ThreadPoolExecutor(7) as pool:
        waiting = [pool.submit(quick.post, "/api/unmask", content=png(NOISE), headers=RAW)
                   for _ in range(7)]  # fmt: skip
        # The others wait for the worker.
        refused = list(islice(as_completed(waiting, 300), 3))
        for future in refused:
            assert future.result().status_code == 429
            assert future.result().headers["retry-after"] == "5"
        held.set()
        statuses = sorted(f.result(300).status_code for f in waiting)
        assert statuses == [200] * 4 + [429] * 3
        # Everybody has left.
        assert quick.post("/api/unmask", content=png(NOISE), headers=RAW).status_code == 200


def test_a_full_house_and_an_impatient_client():
    desk = Desk(Limits(waiting=1, seconds=3))
    app = build_rest(Bystander(), desk)
    free = threading.Event()
    desk._worker.submit(free.wait)
    with TestClient(app, base_url="http://localhost") as client, ThreadPoolExecutor(2) as pool:
        both = [pool.submit(client.post, "/api/unmask", content=png(NOISE), headers=RAW)
                for _ in range(2)]  # fmt: skip
        statuses = sorted(future.result(60).status_code for future in both)
        free.set()
    assert statuses == [503, 504]


def test_good_and_bad_requests_at_once(quick):
    """Four clients, 12 requests; what one sends does not show in another's answer."""
    requests = []
    for number in range(3):
        photo = png(np.roll(NOISE, number, axis=1))
        requests += [(200, photo), (415, b"noise" * 500), (400, photo[:5000])]
        requests += [(413, bytes(2_100_000))]

    def send(request: tuple[int, bytes]) -> bool:
        status, content = request
        answer = quick.post("/api/unmask", content=content, headers=RAW)
        assert answer.status_code == status, answer.text
        return status != 200 or answer.content == content

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(send, requests))


# === Who may ask ===


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"origin": "http://localhost"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"host": "evil.example"}, 421),  # a name that points here
        ({"host": "127.0.0.1:7860"}, 200),
        ({"host": "[::1]:7860"}, 200),
    ],
)
def test_only_the_own_page_may_ask(client, headers, status):
    answer = client.get("/api/health", headers=headers)
    assert answer.status_code == status
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in answer.headers


def test_a_token(desk):
    app, photo = build_rest(Bystander(), desk, token="se-cret"), png(NOISE)
    with TestClient(app, base_url="http://localhost") as client:
        assert client.get("/api/health").status_code == 200
        assert client.get("/docs").status_code == 401
        for wrong in ("", "Bearer ", "Bearer wrong", "Bearer s\xe9"):
            answer = client.post(
                "/api/unmask",
                content=photo,
                headers=RAW | {"authorization": wrong.encode("latin-1")},
            )
            assert answer.status_code == 401
        good = RAW | {"authorization": "Bearer se-cret"}
        assert client.post("/api/unmask", content=photo, headers=good).status_code == 200
        assert client.get("/docs?token=wrong").status_code == 401
        answer = client.get("/docs?token=se-cret", follow_redirects=False)
        assert (answer.status_code, answer.headers["location"]) == (303, "/docs")
        assert "HttpOnly" in answer.headers["set-cookie"]
        assert client.get("/docs").status_code == 200  # the cookie
