"""The page in a real browser, as somebody uses it."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio", reason="needs the extra `app`")
playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium or Chrome"),
]


@pytest.fixture(scope="module")
def photo(tmp_path_factory, masked) -> Path:
    path = tmp_path_factory.mktemp("page") / "astronaut.png"
    Image.fromarray(masked).save(path)
    return path


@pytest.fixture(scope="module")
def two(photo) -> Path:
    half = np.asarray(Image.open(photo))[:300, 80:380]
    path = photo.with_name("two.png")
    Image.fromarray(np.concatenate([half, half[:, ::-1]], axis=1)).save(path)
    return path


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "unmask", "serve", "--port", str(port), "--seconds", "300"]
    server = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    # It tells its address when it is about to listen.
    address = server.stdout.readline().strip()
    for _ in range(100):
        try:
            urllib.request.urlopen(f"{address}api/health", timeout=30).close()
            break
        except OSError:
            time.sleep(0.5)
    folders = set(Path("/dev/shm").glob("unmask-*"))
    yield address
    server.send_signal(signal.SIGTERM)
    server.wait(60)
    # What it kept in memory is gone.
    assert not [folder for folder in folders if folder.exists()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        # A sandbox is not for root.
        args = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=args)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, url) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    page.set_default_timeout(120_000)
    page.goto(url)
    yield page
    page.close()


def choose(page: Any, path: Path) -> None:
    page.locator("#photo input[type=file]").first.set_input_files(str(path))


def result(page: Any) -> str:
    """The address of the picture on the slider's right."""
    page.locator("#slider img").nth(1).wait_for()
    return page.locator("#slider img").nth(1).get_attribute("src")


def wait_for_another(page: Any, than: str) -> None:
    page.wait_for_function(
        "than => { const all = document.querySelectorAll('#slider img');"
        " return all.length > 1 && all[1].getAttribute('src') !== than; }",
        arg=than,
    )


def downloaded(page: Any) -> np.ndarray:
    with page.expect_download() as download:
        page.locator("#png").click()
    return np.asarray(Image.open(download.value.path()))


def asked(url: str, photo: Path, query: str = "") -> np.ndarray:
    """What the REST interface answers."""
    request = urllib.request.Request(
        f"{url}api/unmask{query}", photo.read_bytes(), {"Content-Type": "image/png"}
    )
    with urllib.request.urlopen(request) as answer:
        return np.asarray(Image.open(io.BytesIO(answer.read())))


def test_a_photo_its_slider_and_its_download(page, url, photo):
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    choose(page, photo)
    result(page)
    page.get_by_text("Face 1: ").first.wait_for()
    np.testing.assert_array_equal(downloaded(page), asked(url, photo))
    slider = page.locator("#slider")
    before = slider.screenshot()
    box = slider.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*middle)
    page.mouse.down()
    page.mouse.move(middle[0] - 150, middle[1], steps=5)
    page.mouse.up()
    assert slider.screenshot() != before
    # Nothing comes from elsewhere.
    assert hosts == {url.split("/")[2]}


def tab_to(page: Any, selector: str) -> None:
    """Press Tab until a part of the page has the focus."""
    page.locator(selector).first.wait_for()
    for _ in range(50):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not lead to {selector}")


def test_everything_by_keyboard(page, url, photo):
    # The page may still be loading its own handlers.
    page.wait_for_timeout(5000)
    tab_to(page, "#photo button")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(str(photo))
    first = result(page)
    other = page.locator("input[type=radio]:not(:checked)")
    gender = other.get_attribute("value")
    tab_to(page, f"input[type=radio][value={gender}]")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Space")
    wait_for_another(page, first)
    page.get_by_text(re.compile(f"^Face 1: {gender}$")).wait_for()
    # One may go on from here.
    assert page.evaluate("document.activeElement.value") == gender
    tab_to(page, "#png")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    switched = np.asarray(Image.open(download.value.path()))
    np.testing.assert_array_equal(switched, asked(url, photo, f"?gender={gender}"))
    tab_to(page, "#run")
    page.keyboard.press("Enter")
    page.get_by_text(re.compile(r"^Face 1: \w+ \d+%$")).wait_for()
    plain = downloaded(page)
    np.testing.assert_array_equal(plain, asked(url, photo))
    # The border of before and after.
    slider, first = page.locator("#slider"), result(page)
    before = slider.screenshot()
    tab_to(page, "#border input[type=range]")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(2000)
    assert slider.screenshot() != before
    # The mask, without a brush.
    tab_to(page, "#growth input[type=range]")
    for _ in range(15):
        page.keyboard.press("ArrowRight")
    tab_to(page, "#again")
    page.keyboard.press("Enter")
    wait_for_another(page, first)
    page.get_by_text("Face 1: ").first.wait_for()
    assert (downloaded(page) != plain).any(-1).sum() > 500


def test_each_face_is_switched_with_the_mouse(page, url, two):
    choose(page, two)
    first = result(page)
    page.locator("input[type=radio]").nth(3).wait_for()
    chosen = [
        radio.get_attribute("value") for radio in page.locator("input[type=radio]:checked").all()
    ]
    chosen[1] = {"female": "male", "male": "female"}[chosen[1]]
    page.locator(f"input[type=radio][value={chosen[1]}]").nth(1).click()
    wait_for_another(page, first)
    page.get_by_text(re.compile(f"^Face 2: {chosen[1]}$")).wait_for()
    expected = asked(url, two, f"?gender={chosen[0]}&gender={chosen[1]}")
    np.testing.assert_array_equal(downloaded(page), expected)


def test_the_brush_changes_the_result(page, photo):
    choose(page, photo)
    first = result(page)
    page.locator("input[type=radio]").first.wait_for()
    before = downloaded(page)
    canvas = page.locator("#editor canvas").first
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(2000)
    box = canvas.bounding_box()
    # The photo is square and in the middle: the mouth is at 0.43, 0.3 of it.
    side = min(box["width"], box["height"]) * 0.9
    x, y = box["x"] + box["width"] / 2 - 0.07 * side, box["y"] + box["height"] / 2 - 0.3 * side
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x, y + 0.12 * side, steps=10)
    page.mouse.up()
    page.wait_for_timeout(1000)
    page.locator("#again").click()
    wait_for_another(page, first)
    page.get_by_text("Face 1: ").first.wait_for()
    changed = (downloaded(page) != before).any(-1)
    assert changed.sum() > 200


@pytest.mark.parametrize("path", ["/etc/passwd", str(Path(__file__).absolute()), "http://a.b/c"])
def test_no_file_can_be_asked_for(url, path):
    for query in ("gradio_api/file=", "file="):
        with pytest.raises(urllib.error.HTTPError) as told:
            urllib.request.urlopen(f"{url}{query}{path}")
        assert told.value.code in (403, 404)


def test_a_broken_file_is_told_of(page, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"this is no picture")
    choose(page, broken)
    page.get_by_text("not a readable JPEG").first.wait_for()


def test_a_phone_sees_everything_and_the_notice_always(page, photo):
    page.set_viewport_size({"width": 390, "height": 844})
    choose(page, photo)
    result(page)
    page.locator("#again").scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = page.locator("#notice").bounding_box()
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 844
    assert "not true" in page.locator("#notice").inner_text()
