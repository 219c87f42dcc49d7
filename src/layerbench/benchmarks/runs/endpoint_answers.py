"""Answers of an endpoint, kept as they come: what was paid for is not asked for again."""

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
    """One line of the file: an answer under the hash of its query."""

    query: str
    answer: ChatAnswer


class KeptAnswers:
    """Asks an endpoint for what it has not answered before, in this start or an earlier one.

    Args:
        path: Of the file; of one model behind one endpoint alone.
        endpoint: Who is asked.

    Raises:
        SettingsError: The file cannot be read.
    """

    def __init__(self, path: Path, endpoint: ChatEndpoint) -> None:
        self._path = path
        self._endpoint = endpoint
        self._found = _read(path) if path.exists() else {}

    def __len__(self) -> int:
        return len(self._found)

    def ask(self, queries: Sequence[ChatQuery]) -> list[ChatAnswer | None]:
        """Answer every query, in order; None where a query is too long for the model.

        Raises:
            EndpointError: Some could not be answered; what came
                before that is kept.
        """
        missing = [query for query in queries if _key(query) not in self._found]
        if missing:
            self._endpoint.ask(missing, self._keep)
        return [self._found.get(_key(query)) for query in queries]

    def usage(self) -> EndpointRecord:
        """Sum up what the endpoint says of all answers."""
        answers = list(self._found.values())
        return EndpointRecord(
            models=tuple(sorted({answer.model for answer in answers if answer.model})),
            answers=len(answers),
            prompt_tokens=_sum([answer.prompt_tokens for answer in answers]),
            completion_tokens=_sum([answer.completion_tokens for answer in answers]),
        )

    def _keep(self, query: ChatQuery, answer: ChatAnswer) -> None:
        line = _Line(_key(query), answer)
        with self._path.open("a", encoding="ascii") as file:
            file.write(json.dumps(json_codec.encode(line)) + "\n")
        self._found[line.query] = answer


def _read(path: Path) -> dict[str, ChatAnswer]:
    """Read the answers; a line that a kill cut off is dropped from the file."""
    try:
        *lines, rest = json_codec.read_text(path).split("\n")
        if rest:
            json_codec.replace_text(path, "".join(f"{line}\n" for line in lines))
        kept = [json_codec.loads(_Line, line, where=str(path)) for line in lines]
    except FormatError as error:
        raise SettingsError(f"{error}: use --fresh to start anew") from error
    return {line.query: line.answer for line in kept}


def _key(query: ChatQuery) -> str:
    return hashlib.sha256(json.dumps(dataclasses.astuple(query)).encode()).hexdigest()


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
