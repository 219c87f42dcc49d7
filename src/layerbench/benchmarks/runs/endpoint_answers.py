"""Cache of an endpoint's answers in a file, so that no paid answer is requested twice."""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench import files
from layerbench.agents.backends.endpoint import ChatAnswer, ChatEndpoint, ChatQuery
from layerbench.benchmarks.errors import FormatError
from layerbench.benchmarks.records import json_codec, sealed
from layerbench.benchmarks.records.record_sections import EndpointRecord


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file.

    Attributes:
        query: The SHA-256 of a query.
        answer: Its answer.
        sha256: Hash of both and of the run's settings.
    """

    query: str
    answer: ChatAnswer
    sha256: str


class KeptAnswers:
    """Sends to an endpoint only the queries that are not yet answered in a file.

    Args:
        path: The file, with the answers of one run.
        endpoint: The endpoint.
        run: Hash of the run's settings: answers of another run are none of this one.
        say: Receives a line if answers in the file are damaged; only these are asked for again.
    """

    def __init__(
        self, path: Path, endpoint: ChatEndpoint, *, run: str, say: Callable[[str], None]
    ) -> None:
        self._path = path
        self._endpoint = endpoint
        self._run = run
        self._answers = self._read(say)

    def __len__(self) -> int:
        return len(self._answers)

    def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
        """Answer every query, in order; None where a query is too long for the model.

        Raises:
            EndpointError: A query could not be answered; the answers before it are in the file.
            OSError: An answer could not be written into the file; those before it are.
        """
        missing = [query for query in queries if _key(query) not in self._answers]
        if missing:
            self._endpoint.ask(missing, self._keep)
        # A query that is too long for the model leaves no line, and is sent again at a later start.
        return [self._answers.get(_key(query)) for query in queries]

    def usage(self) -> EndpointRecord:
        """Sum up the token counts that the endpoint reported with all answers."""
        answers = list(self._answers.values())
        return EndpointRecord(
            models=tuple(sorted({answer.model for answer in answers if answer.model})),
            answers=len(answers),
            prompt_tokens=_sum([answer.prompt_tokens for answer in answers]),
            completion_tokens=_sum([answer.completion_tokens for answer in answers]),
        )

    def _keep(self, query: ChatQuery, answer: ChatAnswer) -> None:
        # Written at once, one answer a line, so that a kill loses at most the line it cuts off.
        line = _Line(_key(query), answer, self._seal(_key(query), answer))
        with self._path.open("ab") as file:
            size = file.tell()
            try:
                file.write(json.dumps(json_codec.encode(line)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                error.filename = str(self._path)
                # Else what comes next would be joined to half a line.
                with contextlib.suppress(OSError):
                    os.truncate(self._path, size)
                raise
        self._answers[line.query] = answer

    def _read(self, say: Callable[[str], None]) -> dict[str, ChatAnswer]:
        """Read the answers; lines that are damaged or cut off are removed from the file."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as error:
            say(f"{self._path} cannot be read ({error.strerror}): its answers are asked for again")
            files.remove(self._path)
            return {}
        # Every complete line ends in a newline: what follows the last one is cut off.
        *lines, rest = content.split(b"\n")
        decoded = [(line, self._decode(line)) for line in lines]
        damaged = sum(kept is None for _, kept in decoded)
        if damaged:
            say(f"{damaged} answers in {self._path} are damaged: they are asked for again")
        if damaged or rest:
            files.replace(self._path, b"".join(line + b"\n" for line, kept in decoded if kept))
        return {kept.query: kept.answer for _, kept in decoded if kept}

    def _decode(self, content: bytes) -> _Line | None:
        """Read a line; None if it is not as this run wrote it."""
        try:
            line = json_codec.loads(_Line, content.decode("ascii"), where=str(self._path))
        except (FormatError, UnicodeDecodeError):
            return None
        return line if line.sha256 == self._seal(line.query, line.answer) else None

    def _seal(self, query: str, answer: ChatAnswer) -> str:
        return sealed.digest([self._run, query, json_codec.encode(answer)])


def _key(query: ChatQuery) -> str:
    # The sampling seed is a field: equal prompts of different episodes keep answers of their own.
    return hashlib.sha256(json.dumps(dataclasses.astuple(query)).encode()).hexdigest()


def _sum(counts: Sequence[int | None]) -> int | None:
    reported = [count for count in counts if count is not None]
    # A sum over some of the answers would pass for the whole usage.
    return sum(reported) if len(reported) == len(counts) else None
