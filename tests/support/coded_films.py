"""Ways in which films of the tests are coded: arguments of `Film`, by name."""

from __future__ import annotations

from typing import Any

X265 = "log-level=error:pools=none:frame-threads=1"
CODECS: dict[str, dict[str, Any]] = {
    "h264 with B-frames": {"options": {"bf": "3", "g": "24"}},
    "h264 one long group": {"options": {"bf": "2", "g": "999"}},
    "h264 baseline": {"options": {"bf": "0", "g": "10"}},
    "h264 open groups": {"options": {"x264-params": "open-gop=1:bframes=3:keyint=12:min-keyint=1"}},
    "h264 pyramid": {"options": {"x264-params": "bframes=7:b-pyramid=normal:keyint=30"}},
    "h264 intra refresh": {"options": {"x264-params": "intra-refresh=1:keyint=12:bframes=0"}},
    "h264 interlaced": {"options": {"x264-params": "interlaced=1:tff=1:keyint=20"}},
    "h264 interlaced, bottom first": {"options": {"x264-params": "interlaced=1:bff=1:keyint=20"}},
    "h264 ten bits": {"pixels": "yuv420p10le"},
    "h264 full chroma": {"pixels": "yuv444p"},
    "h264 transport stream": {"container": "mpegts", "options": {"bf": "3", "g": "15"}},
    "h264 matroska": {"container": "matroska", "options": {"bf": "3", "g": "15"}},
    "h264 flash": {"container": "flv", "options": {"bf": "2", "g": "15"}},
    "h264 fragmented": {
        "options": {"g": "15"},
        "container_options": {"movflags": "frag_keyframe+empty_moov"},
    },
    "hevc": {"codec": "libx265", "options": {"x265-params": f"{X265}:keyint=20:bframes=4"}},
    "hevc open groups": {
        "codec": "libx265",
        "options": {"x265-params": f"{X265}:keyint=16:bframes=4:open-gop=1"},
    },
    "hevc temporal layers": {
        "codec": "libx265",
        "options": {"x265-params": f"{X265}:keyint=16:bframes=4:temporal-layers=2"},
    },
    "hevc transport stream": {
        "codec": "libx265",
        "container": "mpegts",
        "options": {"x265-params": f"{X265}:keyint=20:bframes=3"},
    },
    "vp9": {"codec": "libvpx-vp9", "container": "webm", "options": {"cpu-used": "8", "g": "15"}},
    "vp8 hidden frames": {
        "codec": "libvpx",
        "container": "webm",
        "options": {"auto-alt-ref": "1", "lag-in-frames": "12", "g": "40", "cpu-used": "8"},
    },
    "av1": {
        "codec": "libsvtav1",
        "container": "matroska",
        "options": {"preset": "11", "g": "24", "svtav1-params": "hierarchical-levels=3"},
    },
    "av1 mp4": {"codec": "libsvtav1", "options": {"preset": "11", "g": "24"}},
    "mpeg4 avi": {"codec": "mpeg4", "container": "avi", "options": {"bf": "2", "g": "12"}},
    "mpeg4 mp4": {"codec": "mpeg4", "options": {"bf": "2", "g": "12"}},
    "mpeg2 program stream": {"codec": "mpeg2video", "container": "mpeg", "options": {"bf": "2"}},
    "mpeg2 transport stream": {
        "codec": "mpeg2video",
        "container": "mpegts",
        "options": {"bf": "2"},
    },
    "motion jpeg": {"codec": "mjpeg", "pixels": "yuvj420p", "container": "mov"},
    "lossless with alpha": {"codec": "ffv1", "container": "matroska", "pixels": "yuva420p"},
    "lossless": {"codec": "ffv1", "container": "matroska"},
    "nut": {"container": "nut", "options": {"bf": "2", "g": "15"}},
}
