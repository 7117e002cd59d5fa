"""The real PyNvVideoCodec under the reader, on stand-ins for the driver and its decoder."""

from __future__ import annotations

from pathlib import Path

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
