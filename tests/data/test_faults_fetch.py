"""Mirrors that misbehave, and files that rot: nothing but the pinned bytes reaches the data directory."""

from collections.abc import Callable, Iterator
from pathlib import Path

import mirrors
import pytest
import requests

from numnist.common.errors import FetchError
from numnist.config.schema import Source
from numnist.data import fetching, idx

HASTY = fetching.Limits(connect=0.5, read=0.3, total=0.6)
FIRST = next(iter(mirrors.FILES))
ONE_FILE = {FIRST: mirrors.SHA256[FIRST]}
FAULTS = {  # behaviour of the mirror: what the error says of it
    "other": "served other bytes: expected SHA-256",
    "page": "served other bytes: expected SHA-256",
    "missing": "status 404",
    "broken": "status 500",
    "redirect": "which is not https",
    "circle": "TooManyRedirects",
    "truncated": "IncompleteRead",
    "unmeasured": "served other bytes: expected SHA-256",
    "nonsense": "ConnectionError",
    "hang": "ReadTimeout",
    "stall": "ReadTimeout",
    "drip": "not finished after 0.6 s",
    "drip_header": "not finished after 0.6 s",
}


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[mirrors.Mirror]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with mirrors.serve() as served:
        yield served


@pytest.mark.parametrize("fault", FAULTS)
def test_after_a_mirror_at_fault_the_next_one_is_asked(mirror: mirrors.Mirror, tmp_path: Path, fault: str) -> None:
    fetching.fetch(Source((mirror.url(fault), mirror.url("right")), ONE_FILE), "tiny", tmp_path, None, HASTY)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {FIRST: mirrors.FILES[FIRST]}
    assert mirror.requests[0] == f"/{fault}/{FIRST}"


@pytest.mark.parametrize("fault", FAULTS)
def test_where_all_mirrors_fail_the_error_tells_why_and_nothing_is_left(
    mirror: mirrors.Mirror, tmp_path: Path, fault: str
) -> None:
    source, nowhere = Source((mirror.url(fault), mirror.url("missing")), ONE_FILE), str(tmp_path / "nowhere")
    with pytest.raises(FetchError) as caught:
        fetching.fetch(source, "tiny", tmp_path, nowhere, HASTY)
    causes = dict(line.strip().split(": ", 1) for line in str(caught.value).splitlines() if line.startswith("  "))
    assert set(causes) == {nowhere, mirror.url(fault), mirror.url("missing")}
    assert FAULTS[fault] in causes[mirror.url(fault)]
    assert "status 404" in causes[mirror.url("missing")]
    assert "No such file" in causes[nowhere]
    assert "MNIST_MIRROR=<directory or URL>" in str(caught.value)
    assert "data.name: mnist-5k" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_each_mirror_is_asked_twice_and_no_more(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    with pytest.raises(FetchError):
        fetching.fetch(Source((mirror.url("broken"), mirror.url("missing")), ONE_FILE), "tiny", tmp_path, None, HASTY)
    assert mirror.requests == [f"/broken/{FIRST}", f"/missing/{FIRST}"] * 2


def test_a_port_where_nobody_listens_is_a_cause_like_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with mirrors.serve() as gone:
        pass
    with pytest.raises(FetchError, match="ConnectionError"):
        fetching.fetch(Source((gone.url("right"),), ONE_FILE), "tiny", tmp_path, None, HASTY)


def test_an_endless_answer_is_cut_off(mirror: mirrors.Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idx, "MAX_BYTES", 1_000_000)
    with pytest.raises(FetchError, match="longer than 1,000,000 bytes"):
        fetching.fetch(Source((mirror.url("endless"),), ONE_FILE), "tiny", tmp_path, None, HASTY)
    assert list(tmp_path.iterdir()) == []


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
    session = fetching._Session()
    if allowed:
        assert session.get_redirect_target(answer) == target
    else:
        with pytest.raises(fetching._Refused, match="not https"):
            session.get_redirect_target(answer)


def test_an_interrupted_download_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(fetching, "_get", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetching.fetch(Source(("https://mirror.example/",), ONE_FILE), "tiny", tmp_path, None)
    assert list(tmp_path.iterdir()) == []


ROT: dict[str, Callable[[bytes], bytes]] = {
    "truncated": lambda content: content[:-1],
    "bit flipped": lambda content: content[:20] + bytes([content[20] ^ 4]) + content[21:],
    "longer": lambda content: content + b"\0",
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("rot", ROT)
def test_a_cached_file_that_rotted_is_fetched_again(mirror: mirrors.Mirror, tmp_path: Path, rot: str) -> None:
    (tmp_path / FIRST).write_bytes(ROT[rot](mirrors.FILES[FIRST]))
    fetching.fetch(Source((mirror.url("right"),), ONE_FILE), "tiny", tmp_path, None)
    assert (tmp_path / FIRST).read_bytes() == mirrors.FILES[FIRST]


def test_a_rotten_file_does_not_stay_where_no_mirror_can_replace_it(mirror: mirrors.Mirror, tmp_path: Path) -> None:
    (tmp_path / FIRST).write_bytes(mirrors.FILES[FIRST][:-1])
    with pytest.raises(FetchError):
        fetching.fetch(Source((mirror.url("missing"),), ONE_FILE), "tiny", tmp_path, None, HASTY)
    assert list(tmp_path.iterdir()) == []
