"""Mirrors that misbehave, and files that rot: nothing but the pinned bytes reaches the data directory."""

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import mirrors
import pytest
import requests

from numnist.common.errors import DataError, FetchError
from numnist.config.schema import Source
from numnist.data import downloading, fetching, idx

HASTY = fetching.Limits(connect=5, read=0.5, total=1)  # also a mirror that is all right must answer within these
FIRST = next(iter(mirrors.FILES))
FAULTS = {  # behaviour of the mirror: what the error says of it
    "other": "gzip: expected one whole gzip member .* incorrect length check",
    "page": "magic number: expected",
    "missing": "train-images-idx3-ubyte.gz: status 404",
    "broken": "status 500",
    "redirect": "which is not https",
    "circle": "TooManyRedirects",
    "truncated": "IncompleteRead",
    "unmeasured": "gzip: expected one whole gzip member",
    "nonsense": "ConnectionError",
    "hang": "ReadTimeout",
    "stall": "ReadTimeout",
    "drip": "not finished after 1 s",
    "drip_header": "not finished after 1 s",
}


def limits(fault: str) -> downloading.Limits:
    """Be hasty with a mirror that keeps us waiting alone: others have all the time that they need on a busy machine."""
    return HASTY if FAULTS[fault] == "ReadTimeout" or "not finished" in FAULTS[fault] else downloading.LIMITS


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_mirror_at_fault_the_next_one_is_asked(mirror: mirrors.Mirror, tmp_path: Path, fault: str) -> None:
    source = Source((mirror.url(fault), mirror.url("right")), mirrors.SHA256)
    fetching.fetch(source, "tiny", tmp_path, (), limits(fault))
    assert mirrors.contents(tmp_path) == mirrors.CONTENTS
    assert mirror.requests[0] == f"/{fault}/{FIRST}"


@pytest.mark.parametrize("fault", FAULTS)
def test_if_all_mirrors_fail_the_error_tells_why_and_nothing_is_left(
    mirror: mirrors.Mirror, tmp_path: Path, fault: str
) -> None:
    source, nowhere = Source((mirror.url(fault), mirror.url("missing")), mirrors.SHA256), str(tmp_path / "nowhere")
    with pytest.raises(FetchError) as caught:
        fetching.fetch(source, "tiny", tmp_path / "raw", [nowhere], limits(fault))
    causes = dict(line.strip().split(": ", 1) for line in str(caught.value).splitlines() if line.startswith("  "))
    assert set(causes) == {nowhere, mirror.url(fault), mirror.url("missing")}
    assert re.search(FAULTS[fault], causes[mirror.url(fault)])
    assert "status 404" in causes[mirror.url("missing")]
    assert "no such directory" in causes[nowhere]
    assert "MNIST_MIRROR=<directory or URL>" in str(caught.value)
    assert "set data.name to mnist-5k in params.yaml" in str(caught.value)
    assert mirrors.contents(tmp_path / "raw") == {}


def test_each_mirror_is_asked_twice_and_no_more(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    source = Source((mirror.url("broken"), mirror.url("missing")), mirrors.SHA256)
    with pytest.raises(FetchError):
        fetching.fetch(source, "tiny", tmp_path)
    assert mirror.requests == [f"/broken/{FIRST}", f"/missing/{FIRST}"] * 2


def test_a_port_where_nobody_listens_is_a_cause_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with mirrors.serve() as gone:
        pass
    with pytest.raises(FetchError, match="ConnectionError"):
        fetching.fetch(Source((gone.url("right"),), mirrors.SHA256), "tiny", tmp_path, (), HASTY)


def test_an_address_that_is_none_is_a_cause_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FetchError, match=r"http://\[::1: .*ubyte\.gz: InvalidURL"):
        fetching.fetch(Source((), mirrors.SHA256), "tiny", tmp_path, ["http://[::1"])
    monkeypatch.setattr(downloading, "_copy", lambda *arguments: urlsplit("http://[::1"))  # as of a redirect
    with pytest.raises(FetchError, match="Invalid IPv6 URL"):
        downloading.download("https://mirror.example/", tmp_path / "file", HASTY)


def test_an_endless_answer_is_cut_off(mirror: mirrors.Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "MAX_BYTES", 1_000_000)
    with pytest.raises(FetchError, match="longer than 1,000,000 bytes"):
        fetching.fetch(Source((mirror.url("endless"),), mirrors.SHA256), "tiny", tmp_path, (), HASTY)
    assert mirrors.contents(tmp_path) == {}


@pytest.mark.parametrize(
    ("target", "allowed"),
    [
        ("http://mirror.example/file", False),
        ("ftp://mirror.example/file", False),
        ("file:///etc/passwd", False),
        ("https://elsewhere.example/file", True),
        ("/elsewhere/file", True),
    ],
)
def test_a_redirect_leads_to_https_or_stays_on_its_server(target: str, allowed: bool) -> None:
    answer = requests.Response()
    answer.status_code, answer.url, answer.headers["Location"] = 302, "https://mirror.example/start", target
    session = downloading._Session()
    if allowed:
        assert session.get_redirect_target(answer) == target
    else:
        with pytest.raises(FetchError, match="not https"):
            session.get_redirect_target(answer)


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "download", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch(Source(("https://mirror.example/",), mirrors.SHA256), "tiny", tmp_path)
    assert mirrors.contents(tmp_path) == {}


ROT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-1],
    "bit flipped": lambda content: content[:20] + bytes([content[20] ^ 4]) + content[21:],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("rot", ROT)
@pytest.mark.parametrize("pins", [mirrors.SHA256, mirrors.PINS], ids=["gzips pinned", "contents pinned"])
def test_a_file_that_rotted_is_refused_and_left_and_once_it_is_moved_away_fetched_again(
    mirror: mirrors.Mirror, tmp_path: Path, rot: str, pins: dict[str, str]
) -> None:
    source, raw = Source((mirror.url("right"),), pins), tmp_path / "raw"
    fetching.fetch(source, "tiny", raw)
    rotten = raw / FIRST.removesuffix(".gz")
    rotten.write_bytes(damaged := ROT[rot](rotten.read_bytes()))
    with pytest.raises(DataError, match=rf"{rotten} is not what fetch made.* Move it away"):
        fetching.fetch(source, "tiny", raw)
    assert rotten.read_bytes() == damaged
    rotten.rename(tmp_path / rotten.name)
    fetching.fetch(source, "tiny", raw, [str(tmp_path)])
    assert mirrors.contents(raw) == mirrors.CONTENTS
