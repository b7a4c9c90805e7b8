from datetime import timedelta

import pytest

from vision_batch import errors
from vision_batch.operators.retry import BUSY_PAUSE, RetryByErrorType


def decide(error):
    return RetryByErrorType().evaluate(error, 1, 5)


@pytest.mark.parametrize(
    "error",
    [
        errors.DeclarationError("x"),
        errors.ConnectionInputError("x"),
        errors.AuthenticationError("x"),
        errors.RequestRefusedError("x"),
        errors.JobDeadError("x"),
        errors.ReconcileError("x"),
    ],
)
def test_a_final_error_is_not_tried_again(error):
    assert decide(error).action.name == "FAIL"


def test_a_quota_is_waited_for():
    decision = decide(errors.QuotaExceededError("x", retry_after=timedelta(seconds=90)))
    assert decision.action.name == "RETRY"
    assert decision.retry_delay == timedelta(seconds=90)


def test_a_service_that_is_asked_too_much_is_left_alone_for_longer_each_time():
    error = errors.QuotaExceededError("x")
    delays = [RetryByErrorType().evaluate(error, number, 9).retry_delay for number in (1, 2, 3, 8)]
    assert delays == [timedelta(minutes=minutes) for minutes in (1, 2, 4, 30)]


def test_a_locked_destination_is_left_alone_for_a_while():
    assert decide(errors.DestinationBusyError("x")).retry_delay == BUSY_PAUSE


@pytest.mark.parametrize("error", [errors.ServiceUnavailableError("x"), OSError("x"), RuntimeError("x")])
def test_anything_else_is_left_to_the_tasks_own_settings(error):
    assert decide(error).action.name == "DEFAULT"
