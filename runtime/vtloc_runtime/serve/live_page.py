"""The report's page, live: choose a video or send one, type a sentence, see the moments."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import vtloc_runtime
from vtloc_runtime.errors import VideoError
from vtloc_runtime.report.evidence import SentenceEvidence, gather_evidence
from vtloc_runtime.report.filmstrip import choose_instants
from vtloc_runtime.report.model import Answer, Film, Live, Page, RunFacts, Span
from vtloc_runtime.report.page import encode_model, render_page
from vtloc_runtime.serve.uploads import FOLDER

if TYPE_CHECKING:
    from vtloc_runtime.serve.answers import VideoAnswers
    from vtloc_runtime.serve.service import Service

_MOMENTS = 5
_LISTED = 10_000


def live_page(service: Service, *, ask: str, upload: str | None) -> bytes:
    """The page before anything was asked.

    Args:
        service: Whose videos can be asked about.
        ask: The path that answers the page's questions.
        upload: The path that takes uploads; None where there is none.
    """
    localizer = service.localizer
    names = [name for name in service.folders.names() if not name.startswith(f"{FOLDER}/")]
    # A name that cannot be shown as it is could not be asked for.
    shown = tuple(name for name in names if name.isprintable())[:_LISTED]
    run = RunFacts(
        version=vtloc_runtime.__version__,
        bundle=localizer.bundle.manifest.name,
        digest=localizer.bundle.digest,
        backend=localizer.backend,
    )
    return render_page(Page(run=run, live=Live(ask, shown, upload)))


def page_answer(service: Service, video: str, query: str, media: str) -> str:
    """The answer to a question of the page, as JSON.

    Args:
        service: Answers it.
        video: The video's name.
        query: The sentence.
        media: The path below which videos are served.

    Raises:
        VtlocError: It cannot be answered.
    """
    found = service.find(video, [query], moments=_MOMENTS, evidence=True)
    film = _with_pictures(_film(found, media + quote(video)), service)
    return encode_model({"films": [film]})


def _film(found: VideoAnswers, source: str) -> Film:
    evidence = gather_evidence(
        found.encoded.times, {answer.asked: answer for answer in found.answers}
    )
    answers = []
    for one in found.answers:
        reason = evidence.sentences.get(one.asked, SentenceEvidence())
        answers.append(
            Answer(
                one.query,
                tuple(
                    Span(round(span.start, 3), round(span.end, 3), round(span.score, 4))
                    for span in one.moments
                ),
                presence=one.presence,
                curve=reason.curve,
                words=reason.words,
                weights=reason.weights,
                warnings=one.warnings,
            )
        )
    return Film(
        found.video,
        source=source,
        duration=round(found.duration, 3),
        times=evidence.times,
        answers=tuple(answers),
        warnings=found.warnings,
    )


def _with_pictures(film: Film, service: Service) -> Film:
    spans = [(span.start, span.end) for answer in film.answers for span in answer.moments]
    instants = choose_instants(film.duration, spans, films=1)
    if not instants:
        return film
    try:
        strip = service.pictures(film.name, instants)
    except VideoError:
        # The answers count without pictures too.
        return film
    return replace(film, images=strip.images, frames=strip.frames)
