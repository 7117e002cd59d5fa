"""The real PyNvVideoCodec under the reader, on stand-ins for the driver and its decoder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest

from tests.support import stand_in_driver
from tests.support.stand_in_driver.films import write_film

# They are imported in other processes alone; importing changes what tests of bindings read.
pytestmark = pytest.mark.skipif(
    not all(map(stand_in_driver.has_package, ("pynvvideocodec", "cuda-core"))),
    reason="PyNvVideoCodec or cuda-core is not installed",
)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stand_in_driver.compiled(tmp_path_factory.getbasetemp())


@pytest.mark.parametrize("b_frames", [0, 2])
def test_its_frames_are_the_processor_s_whatever_their_order(
    libraries: Path, tmp_path: Path, b_frames: int
) -> None:
    film = write_film(tmp_path, b_frames=b_frames)
    with av.open(str(film)) as opened:
        times = [packet.pts for packet in opened.demux(video=0) if packet.pts is not None]
    assert (times != sorted(times)) == (b_frames > 0)
    found = stand_in_driver.run(libraries, "films", str(film), pictures=film.with_suffix(".txt"))
    assert found["same"] == [True, True, True]
    assert found["frames"] == [4, 20, 100]
    assert (found["parsers"], found["decoders"]) == (0, 0)


class Films:
    """Eight films of two kinds, and the table by which the stand-in shows all of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.films = [
            write_film(folder, seed=number + 1, b_frames=2 * (number % 2)) for number in range(8)
        ]
        self.table = folder / "all.txt"

    def decode(self, libraries: Path, *, fault: str = "", **options: Any) -> Any:
        """Decode all in four workers.

        Args:
            libraries: The stand-ins.
            fault: The colour of one of the third film's pictures, which the stand-in falls over.
            options: Steer the stand-ins.
        """
        lines = [film.with_suffix(".txt").read_text().splitlines() for film in self.films]
        if fault:
            number, order, *_ = lines[2][40].split()
            lines[2][40] = f"{number} {order} {fault}"
        self.table.write_text("".join(f"{line}\n" for film in lines for line in film))
        trace = self.folder / "trace"
        trace.unlink(missing_ok=True)
        return stand_in_driver.run(
            libraries, "shared_decoding", "4", *map(str, self.films),
            pictures=self.table, trace=trace, **options,
        )  # fmt: skip


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Films:
    return Films(tmp_path_factory.mktemp("films"))


def test_a_gpu_has_one_process_whose_sessions_serve_film_after_film(
    libraries: Path, films: Films
) -> None:
    found = films.decode(libraries)
    assert found["outcomes"] == ["same"] * 8
    # Four workers, two kinds: without reuse there would be a session a film at least.
    (sessions,) = found["processes"]
    assert 2 <= sessions <= 6
    assert found["reconfigured"] == 0


def test_two_gpus_have_a_process_each(
    libraries: Path, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEVICE", "cuda:0,cuda:1")
    found = films.decode(libraries, devices=2)
    assert found["outcomes"] == ["same"] * 8
    assert len(found["processes"]) == 2


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        ("1 1 1", "decoding it crashed the decoder (ended by SIGABRT"),
        ("2 2 2", "the decoder gave no frame for"),
        ("3 3 3", "the GPU failed: CUDA_ERROR_ILLEGAL_ADDRESS"),
    ],
    ids=["crash", "hang", "lost GPU"],
)
def test_a_film_that_fells_the_decoder_is_the_only_one_that_fails(
    libraries: Path, films: Films, fault: str, outcome: str
) -> None:
    outcomes = films.decode(libraries, fault=fault, decode_us=500)["outcomes"]
    assert outcome in outcomes.pop(2)
    assert outcomes == ["same"] * 7


def test_processors_take_over_what_fells_the_gpu(
    libraries: Path, films: Films, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DECODER", "auto")
    found = films.decode(libraries, fault="3 3 3", decode_us=500)
    assert found["outcomes"] == ["same"] * 8
