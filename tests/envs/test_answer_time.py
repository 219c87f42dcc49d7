"""How long a worker may take to answer follows from how long it took."""

from layerbench.envs.answer_time import LONGEST_S, MEASURED, SHORTEST_S, AnswerLimit


def noted(*seconds: float, timeout_s: float = MEASURED) -> float:
    limit = AnswerLimit(timeout_s)
    for each in seconds:
        limit.note(each)
    return limit.seconds


def test_a_given_time_holds_whatever_is_measured() -> None:
    assert noted(*[5.0] * 100, timeout_s=2.0) == 2.0


def test_a_few_answers_say_too_little() -> None:
    assert noted() == noted(*[0.001] * 19) == LONGEST_S == 300.0


def test_the_limit_is_a_hundred_times_the_slowest_answer_within_bounds() -> None:
    assert noted(*[0.001] * 20) == SHORTEST_S == 60.0
    assert noted(*[0.001] * 20, 1.5) == 150.0
    assert noted(*[0.001] * 20, 7.0) == LONGEST_S
