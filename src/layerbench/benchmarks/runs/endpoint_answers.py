"""Cache of an endpoint's answers in a file, so that no paid answer is requested twice."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from layerbench.agents.backends.endpoint import ChatAnswer, ChatEndpoint, ChatQuery
from layerbench.benchmarks.errors import FormatError, SettingsError
from layerbench.benchmarks.records import json_codec
from layerbench.benchmarks.records.run_record import EndpointRecord


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the file: the SHA-256 of a query, and its answer."""

    query: str
    answer: ChatAnswer


class KeptAnswers:
    """Sends to an endpoint only the queries that are not yet answered in a file.

    Args:
        path: The file, with the answers of one model behind one endpoint.
        endpoint: The endpoint.

    Raises:
        SettingsError: The file cannot be read.
    """

    def __init__(self, path: Path, endpoint: ChatEndpoint) -> None:
        self._path = path
        self._endpoint = endpoint
        self._answers = _read(path) if path.exists() else {}

    def __len__(self) -> int:
        return len(self._answers)

    def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
        """Answer every query, in order; None where a query is too long for the model.

        Raises:
            EndpointError: A query could not be answered; the answers before it are in the file.
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
        line = _Line(_key(query), answer)
        with self._path.open("a", encoding="ascii") as file:
            file.write(json.dumps(json_codec.encode(line)) + "\n")
        self._answers[line.query] = answer


def _read(path: Path) -> dict[str, ChatAnswer]:
    """Read the answers; a last line that a kill cut off is removed from the file."""
    try:
        # Every complete line ends in a newline: what follows the last one is cut off.
        *lines, rest = json_codec.read_text(path).split("\n")
        if rest:
            json_codec.replace_text(path, "".join(f"{line}\n" for line in lines))
        complete = [json_codec.loads(_Line, line, where=str(path)) for line in lines]
    except FormatError as error:
        raise SettingsError(f"{error}: use --fresh to start anew") from error
    return {line.query: line.answer for line in complete}


def _key(query: ChatQuery) -> str:
    # The sampling seed is a field: equal prompts of different episodes keep answers of their own.
    return hashlib.sha256(json.dumps(dataclasses.astuple(query)).encode()).hexdigest()


def _sum(counts: Sequence[int | None]) -> int | None:
    reported = [count for count in counts if count is not None]
    # A sum over some of the answers would pass for the whole usage.
    return sum(reported) if len(reported) == len(counts) else None
