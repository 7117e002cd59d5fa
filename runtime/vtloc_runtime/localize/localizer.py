"""The class that people embed: open a bundle, encode videos, ask for moments."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.digest import DIGEST_VARIABLE
from vtloc_runtime.bundle.user_folder import bundle_for
from vtloc_runtime.errors import FeatureError, UsageError
from vtloc_runtime.localize.answering import Answering
from vtloc_runtime.localize.encoding.encoded_video import EncodedVideo
from vtloc_runtime.localize.encoding.frame_dedup import DEFAULT_REUSE
from vtloc_runtime.localize.encoding.video_encoder import Observer, VideoEncoder, notify
from vtloc_runtime.localize.fine_ends import STEP, instants_around, refine
from vtloc_runtime.localize.limits import check_moments, check_names, check_numbers
from vtloc_runtime.localize.questions.picture_encoder import PictureEncoder
from vtloc_runtime.localize.questions.question import (
    EncodedQuestion,
    Query,
    Question,
    read_questions,
)
from vtloc_runtime.localize.questions.question_encoder import QuestionEncoder
from vtloc_runtime.localize.questions.text_encoder import DEFAULT_KEPT, SentenceEncoder
from vtloc_runtime.localize.questions.tokenizer import QueryTokenizer
from vtloc_runtime.localize.quick_search import QuickEncoder
from vtloc_runtime.localize.spans.span_times import longest_moment
from vtloc_runtime.localize.spans.windowed_logits import SENTENCES_AT_ONCE
from vtloc_runtime.networks.interface import check_finite
from vtloc_runtime.networks.load import Placement, open_networks
from vtloc_runtime.networks.onnxruntime_backend import DEFAULT_RUN_TIMEOUT
from vtloc_runtime.system.arguments import check_callable, check_flags, check_kind
from vtloc_runtime.system.closing import Closing
from vtloc_runtime.video.isolation.chunks import Read, read_here

if TYPE_CHECKING:
    from pathlib import Path

    from vtloc_runtime.bundle.manifest import NetworkName
    from vtloc_runtime.localize.spans.moments import Localization
    from vtloc_runtime.networks.interface import Network
    from vtloc_runtime.video import VideoOptions

# On a CPU a frame costs the same in a batch of four as in a larger one, and the fewer frames
# a batch has, the less decoding and encoding wait for each other.
_BATCH_ON_CPU = 4
_BATCH_ON_GPU = 64


class AnswerOptions(TypedDict, total=False):
    """The options of :meth:`Localizer.localize`, which describes them."""

    moments: int
    alignment: bool
    quick: bool
    curve: bool
    fine: bool
    read: Read


class Localizer(Closing):
    """Finds the moments of videos that sentences describe; safe to call from several threads.

    Open one with :meth:`open`; the networks are loaded once and shared.

    Args:
        bundle: Where the networks come from.
        networks: The bundle's networks, opened; closed by :meth:`close`.
        encoder: Hash of the visual network's file.
        batch: Frames in one run of the visual network at most.
        reuse: Most grey levels by which frames that share features may differ.
        decoding: How logits become moments; None does as the bundle says.
        decoder: What decodes videos where a call does not say.
        kept_sentences: Distinct sentences whose encoding is remembered.
        observer: Called with each stage as it ends.
    """

    def __init__(
        self,
        bundle: Bundle,
        networks: dict[NetworkName, Network],
        *,
        encoder: str,
        batch: int,
        reuse: float = DEFAULT_REUSE,
        decoding: str | None = None,
        decoder: str = "cpu",
        kept_sentences: int = DEFAULT_KEPT,
        observer: Observer | None = None,
    ) -> None:
        manifest = bundle.manifest
        self.bundle = bundle
        self._networks = networks
        self._observer = observer
        self._videos = VideoEncoder(
            networks["visual"],
            manifest,
            encoder=encoder,
            batch=batch,
            reuse=reuse,
            combine=not networks["visual"].backend.endswith(":cpu"),
            decoder=decoder,
            observer=observer,
        )
        specs = [networks["text"].inputs["token_ids"]]
        if "localizer" in networks:
            specs.append(networks["localizer"].inputs["tokens"])
        limits = [limit for spec in specs if (limit := spec.longest(1)) is not None]
        self._sentences = SentenceEncoder(
            networks["text"],
            QueryTokenizer.from_bundle(bundle, max_tokens=min(limits, default=None)),
            batch=SENTENCES_AT_ONCE,
            kept=kept_sentences,
        )
        self._questions = QuestionEncoder(
            self._sentences, PictureEncoder(self._videos, manifest.shared_space)
        )
        self._answering = Answering(bundle, networks.get("localizer"), decoding=decoding)

    @classmethod
    def open(
        cls,
        bundle: str | Path | Bundle | None = None,
        *,
        digest: str | None = None,
        backend: str = "onnxruntime",
        device: str | None = None,
        precision: str | None = None,
        threads: int | None = None,
        batch: int | None = None,
        reuse: float = DEFAULT_REUSE,
        decoding: str | None = None,
        fps: float | None = None,
        decoder: str = "cpu",
        kept_sentences: int = DEFAULT_KEPT,
        run_timeout: float = DEFAULT_RUN_TIMEOUT,
        lazy: bool = False,
        observer: Observer | None = None,
    ) -> Localizer:
        """Open a bundle's networks.

        Args:
            bundle: The bundle's directory, or its name, such as ``"clip-b32"``, as ``vtloc-run
                bundles`` lists them; None takes the one that ships with the project.
            digest: The digest that the bundle must have, ``"sha256:..."``, as ``vtloc-run
                doctor`` prints it; None takes ``$VTLOC_BUNDLE_DIGEST``, or any bundle.
            backend: ``"onnxruntime"`` or ``"tensorrt"``.
            device: ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or several such as ``"cuda:0,cuda:1"``,
                among which calls are shared out; None takes the backend's first.
            precision: ``"fp32"``, ``"fp16"``, ``"int8"`` or ``"compact"``; None takes the best
                that the bundle has for the device.
            threads: Threads of one run on the CPU; None takes what the process may use.
            batch: Frames in one run of the visual network; None suits the device.
            reuse: Most grey levels, 0 to 255, by which a block of 16 pixels of a frame may differ
                from the last encoded one for both to share features; how many of them are used
                follows the video's noise. 0 shares among equal frames only.
            decoding: How logits become moments; None does as the bundle says.
            fps: Frames a second that are looked at; None takes the bundle's number. More find
                shorter moments and finer ends, and cost as many times more.
            decoder: What decodes videos: ``"cpu"``, or ``"nvdec"``, ``"nvdec:N"`` for a GPU.
            kept_sentences: Distinct sentences whose encoding is remembered, within 256 MiB.
            run_timeout: Seconds after which one run of a network is stopped, on ONNX Runtime.
            lazy: Whether to open the visual network with the first frame, on a CPU: for programs
                whose videos are mostly encoded already. Its file is checked now; whatever else
                is wrong with it is raised by the call that needs it.
            observer: Called with (stage, seconds, count) as each stage ends, from whatever
                thread ran it; the stages are ``decode``, ``encode`` and ``localize``.

        Raises:
            UsageError: An argument is invalid; the message names it.
            BundleError: The bundle is missing, altered, of another digest, or lacks the precision.
            BackendError: The backend is unknown or cannot serve here.
            EngineError: No TensorRT engine fits this machine.
            UsageError: ``fps`` or ``decoding`` makes no sense.
            MissingExtraError: The backend's package is not installed.
        """
        check_numbers(
            threads=threads, batch=batch, reuse=reuse, kept=kept_sentences, timeout=run_timeout
        )
        check_names(
            backend=backend, device=device, precision=precision, decoding=decoding, decoder=decoder
        )
        if observer is not None:
            check_callable(observer, "observer")
        if decoder != "cpu":
            from vtloc_runtime.video.decoders.choice import require_decoder

            require_decoder(decoder)
        opened = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        # What was pinned already may have been made from the bundle with that digest.
        if digest is None and not opened.pinned:
            digest = os.environ.get(DIGEST_VARIABLE) or None
        # An empty one is a mistake, such as a variable that was not set, and pins nothing.
        if digest is not None:
            opened = opened.require(digest)
        opened = bundle_for(opened, backend).sampled_at(fps)
        placement = Placement.choose(opened, backend=backend, device=device, precision=precision)
        with ExitStack() as stack:
            networks = open_networks(
                opened,
                placement,
                threads=threads,
                timeout=run_timeout,
                late={"visual"} if lazy else (),
            )
            for network in networks.values():
                stack.enter_context(network)
            localizer = cls(
                opened,
                networks,
                encoder=placement.hashes(opened)["visual"],
                batch=batch or (_BATCH_ON_CPU if placement.device == "cpu" else _BATCH_ON_GPU),
                reuse=reuse,
                decoding=decoding,
                decoder=decoder,
                kept_sentences=kept_sentences,
                observer=observer,
            )
            # From here on the localizer closes the networks.
            stack.pop_all()
        return localizer

    @property
    def backend(self) -> str:
        """What runs the networks, and where: ``"onnxruntime:cpu"``, ``"tensorrt:cuda:0"``."""
        return self._networks["text"].backend

    @property
    def encoder(self) -> VideoEncoder:
        """What turns videos into features, for programs that decode on their own."""
        return self._videos

    @property
    def sentences(self) -> SentenceEncoder:
        """What turns sentences into vectors, for programs that compare on their own."""
        return self._sentences

    @property
    def questions(self) -> QuestionEncoder:
        """What turns questions into vectors, for programs that compare on their own."""
        return self._questions

    def check_query(self, query: Query) -> None:
        """Refuse a question that cannot be searched for, without running anything.

        Pictures are not opened.

        Raises:
            QueryError: A sentence is empty, or nothing the tokenizer knows.
            UsageError: A picture is asked of a bundle whose frames and sentences share no space.
        """
        self._questions.check(Question.parse(query))

    def encode_pictures(self, query: Query, *, read: Read = read_here) -> None:
        """Encode a question's pictures in advance; the last few hundred are remembered.

        Args:
            query: A question; its sentences are not looked at.
            read: Where the pictures are decoded; in this process by default.

        Raises:
            QueryError: A picture cannot be read.
            UsageError: Frames and sentences share no space.
        """
        self._questions.encode_pictures(Question.parse(query), read)

    def encode_video(
        self,
        source: Any,
        options: VideoOptions | None = None,
        *,
        progress: Callable[[float], None] | None = None,
        timeout: float | None = None,
        known: EncodedVideo | None = None,
        read: Read = read_here,
    ) -> EncodedVideo:
        """Encode a video once, for any number of sentences.

        Args:
            source: A path, bytes, an open binary file, or frames with their times.
            options: How to read it; sampling and preprocessing come from the bundle.
            progress: Called with the time of the last encoded frame, seconds, now and then.
            timeout: Seconds, by the wall's clock, after which the video is given up; None waits
                as long as it takes.
            known: What a quick search has seen of the same video: only the rest is encoded.
            read: Where the decoding happens; in this process by default.

        Raises:
            VideoError: The video cannot be read, shows nothing, or takes too long.
        """
        if progress is not None:
            check_callable(progress, "progress")
        if known is not None:
            check_kind(known, EncodedVideo, "known")
        if known is not None and known.seen is not None:
            return QuickEncoder(self._videos, source, options, read).complete(known)
        return self._videos.encode(source, options, progress=progress, timeout=timeout, read=read)

    def encode_quickly(
        self,
        source: Any,
        queries: Sequence[Query | Question],
        options: VideoOptions | None = None,
        *,
        moments: int = 1,
        known: EncodedVideo | None = None,
        read: Read = read_here,
    ) -> EncodedVideo:
        """Encode as much of a video as the best answers to some sentences need.

        Keyframes are looked at first, then all frames around the best candidates. Asking the
        result gives the answers; its ``seen`` says what was looked at.

        Args:
            source: A path; anything else is encoded whole.
            queries: The questions, as for :meth:`localize`.
            options: How to read it; sampling and preprocessing come from the bundle.
            moments: Moments wanted for each sentence at most.
            known: What an earlier call has seen of the same video.
            read: Where the decoding happens; in this process by default.

        Raises:
            VideoError: The video cannot be read.
            QueryError: A sentence is empty.
        """
        asked = [one if isinstance(one, Question) else Question.parse(one) for one in queries]
        questions = self._questions.encode(asked, read)

        def ask(video: EncodedVideo, count: int) -> list[Localization]:
            return self._answering.answer(video, questions, count, always=True)

        quick = QuickEncoder(self._videos, source, options, read)
        return quick.search(ask, moments=check_moments(moments), known=known)

    @overload
    def localize(
        self, video: Any, queries: Query, **options: Unpack[AnswerOptions]
    ) -> Localization: ...

    @overload
    def localize(
        self,
        video: Any,
        queries: list[Query] | list[str] | Iterable[Query],
        **options: Unpack[AnswerOptions],
    ) -> list[Localization]: ...

    def localize(
        self,
        video: Any,
        queries: Any,
        *,
        moments: int = 1,
        alignment: bool = False,
        quick: bool = False,
        curve: bool = False,
        fine: bool = False,
        read: Read = read_here,
    ) -> Localization | list[Localization]:
        """Find the moments that questions ask for.

        A question is a sentence; a picture, or its path as a `pathlib.Path`; or a tuple of them
        that mean the same: wordings are averaged, and so are pictures, and the one weighs as
        much as the other.

        Args:
            video: An encoded video, or anything that :meth:`encode_video` takes.
            queries: One question, or a list of several, which share the work.
            moments: Moments wanted for each question at most; they share no second.
            alignment: Whether to say, too, which words each frame has to do with.
            quick: Whether to look only at keyframes and around the best candidates of a path,
                which is several times faster on long videos; an answer may differ.
            curve: Whether to say, too, how close each frame is to the sentence.
            fine: Whether to look again around the ends, as :meth:`refine` does; not for a video
                that is encoded already.
            read: Where the video and pictures are decoded; in this process by default.

        Returns:
            One answer for one question, a list in the same order for several.

        Raises:
            VideoError: The video cannot be read.
            QueryError: A sentence is empty, or a picture cannot be read.
            FeatureError: The video was encoded by another network.
            UsageError: ``moments`` is not a whole number from 1 to ``MOST_MOMENTS``, a switch is
                not True or False, ``fine`` is asked of an encoded video, or the bundle lacks what
                is asked: a localizer network for the alignment, a space that frames and sentences
                share for pictures.
            NetworkError: A network failed, or gave numbers that are not finite.
        """
        moments = check_moments(moments)
        check_flags(alignment=alignment, quick=quick, curve=curve, fine=fine)
        if fine and isinstance(video, EncodedVideo):
            raise UsageError(
                "an encoded video has no frames to look at again",
                remedy="Give the file itself, or give both to refine()",
            )
        if alignment:
            self._answering.check_alignment()
        asked, alone = read_questions(queries)
        questions = self._questions.encode(asked, read)
        if not questions:
            return []
        if isinstance(video, EncodedVideo):
            encoded = video
        elif quick:
            encoded = self.encode_quickly(video, asked, moments=moments, read=read)
        else:
            encoded = self.encode_video(video, read=read)
        self._check_features(encoded)
        began = time.perf_counter()
        unique = list({question.key: question for question in questions}.values())
        answers = self._answering.answer(encoded, unique, moments, alignment=alignment, curve=curve)
        found = dict(zip((one.key for one in unique), answers, strict=True))
        notify(self._observer, "localize", time.perf_counter() - began, len(questions))
        given = [
            replace(
                found[question.key],
                query=question.question.sentence,
                rewrites=question.question.rewrites,
                question=question.question,
                warnings=question.warnings,
            )
            for question in questions
        ]
        if fine:
            given = self._refine(video, encoded, given, questions, read=read)
        return given[0] if alone else given

    def refine(
        self,
        source: Any,
        encoded: EncodedVideo,
        answers: Sequence[Localization],
        options: VideoOptions | None = None,
        *,
        read: Read = read_here,
    ) -> list[Localization]:
        """Move the ends of moments to a quarter of a second, by looking at the video again.

        Reads and encodes some 24 further frames for each moment. An end moves by at most one and
        a half frames of the first look, and only where the frames clearly change.

        Args:
            source: The video; anything that :meth:`encode_video` takes.
            encoded: The same video, encoded.
            answers: What :meth:`localize` said about it.
            options: As for :meth:`encode_video`.
            read: Where the decoding happens; in this process by default.

        Raises:
            VideoError: The video cannot be read.
            NetworkError: A network failed, or gave numbers that are not finite.
        """
        questions = [answer.question or Question.parse(answer.query) for answer in answers]
        encoded_questions = self._questions.encode(questions, read)
        return self._refine(source, encoded, answers, encoded_questions, options, read=read)

    def _refine(
        self,
        source: Any,
        encoded: EncodedVideo,
        answers: Sequence[Localization],
        questions: Sequence[EncodedQuestion],
        options: VideoOptions | None = None,
        *,
        read: Read = read_here,
    ) -> list[Localization]:
        manifest = self.bundle.manifest
        step = 1 / manifest.frames_per_second
        instants = instants_around(answers, encoded.duration, step=step)
        if step <= STEP or not instants:
            return list(answers)
        frames = self._videos.encode(source, options, instants=instants, read=read)
        return [
            refine(
                answer,
                self._answering.direction(question),
                frames,
                duration=encoded.duration,
                step=step,
                longest=longest_moment(manifest),
                shared=manifest.shared_space,
            )
            for answer, question in zip(answers, questions, strict=True)
        ]

    def close(self) -> None:
        """Free the networks; a second call does nothing."""
        for network in self._networks.values():
            network.close()

    def _check_features(self, video: EncodedVideo) -> None:
        visual = self.bundle.manifest.networks["visual"]
        width = visual.dims.get("feature", video.rows.shape[1])
        known = {variant.sha256 for variant in visual.variants.values()}
        if video.rows.shape[1] != width or (video.encoder and video.encoder not in known):
            raise FeatureError(
                "the video was encoded by another network than this bundle's",
                where=self.bundle.path,
                remedy="Encode the video again with this bundle",
            )
        # Else they would pass for a video that does not show what is asked for.
        check_finite(video.rows, what="video's features", network="visual")
