"""The model of a page: what was asked of each film and what was found, as plain values.

`page.js` shows this model as JSON. A written page holds it; a server may answer with its films.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """A moment.

    Attributes:
        start: When it begins, seconds.
        end: When it ends, seconds.
        score: 0 to 1.
    """

    start: float
    end: float
    score: float


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one sentence.

    Attributes:
        query: The sentence.
        moments: Best first; empty for "no such moment".
        presence: By how much the sentence stands out from ordinary ones in the film.
        curve: The similarity of the film to the sentence at each of the film's ``times``.
        words: The sentence's words, in their order.
        weights: How much each second has to do with each word: base64 of uint8
            ``[words, times]``; empty where there is no alignment.
        warnings: What the reader should know.
        error: Why there is no answer; empty where there is one.
    """

    query: str
    moments: tuple[Span, ...] = ()
    presence: float | None = None
    curve: tuple[float, ...] | None = None
    words: tuple[str, ...] = ()
    weights: str = ""
    warnings: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture of a film.

    Attributes:
        time: When it came on screen, seconds.
        image: Which of the film's ``images`` it is.
    """

    time: float
    image: int


@dataclass(frozen=True, slots=True)
class Film:
    """One film, and the answers about it.

    Attributes:
        name: Its name, for people.
        source: Its address, relative to the page; empty where it has none.
        kind: Its media type, such as ``video/mp4``.
        carried: The id of the element that carries its bytes; empty where none does.
        duration: Seconds.
        times: ``[T]``, seconds: where ``curve`` and ``weights`` have their values.
        images: JPEG pictures in base64, each once.
        frames: Which picture is shown when, in order of time.
        answers: One for each sentence.
        warnings: What the reader of the film had to say.
        error: Why it could not be read; empty where it could.
    """

    name: str
    source: str = ""
    kind: str = ""
    carried: str = ""
    duration: float = 0.0
    times: tuple[float, ...] = ()
    images: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()
    answers: tuple[Answer, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What gave the answers; empty where it is not known.

    Attributes:
        version: vtloc's version.
        bundle: The bundle's folder.
        digest: The bundle's digest.
        backend: What ran the networks.
        command: The command line.
        written: When the page was written.
    """

    version: str = ""
    bundle: str = ""
    digest: str = ""
    backend: str = ""
    command: str = ""
    written: str = ""


@dataclass(frozen=True, slots=True)
class Live:
    """What a page needs to ask a server; a written page has none.

    Attributes:
        ask: Where questions go: POST of ``{"video": ..., "query": ...}``, answered with
            ``{"films": [Film]}`` or ``{"error": "..."}``.
        films: Names that can be asked about.
        upload: Where a file goes: POST of its bytes to this address with ``?name=``, answered with
            ``{"video": ...}``; None where films cannot be uploaded.
    """

    ask: str
    films: tuple[str, ...] = ()
    upload: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """A whole page.

    Attributes:
        title: Its heading.
        films: The films, in the order of the page.
        run: What gave the answers.
        live: How to ask a server; None for a page in a file.
    """

    title: str = "Moments"
    films: tuple[Film, ...] = ()
    run: RunFacts = RunFacts()
    live: Live | None = None
