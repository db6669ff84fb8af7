"""The one error tree. What a caller does with an error is decided by its class, nowhere else."""

from __future__ import annotations


class MarketingOpsError(Exception):
    """Base of all our errors. Messages carry ids, status and the next thing to do; never a body,
    an address or a token."""


class FatalError(MarketingOpsError):
    """Retrying cannot help: configuration, auth, a rejected request, a broken contract, a guard."""


class DefinitionError(FatalError):
    """A user's file is wrong. The message lists file, line, key and the nearest right spelling."""


class RetryableError(MarketingOpsError):
    """A later try may succeed: throttled, unavailable, database busy.

    Attributes:
        retry_after: seconds the other side asked us to wait, or None when it did not say.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaExhaustedError(MarketingOpsError):
    """A daily quota is used up: the stream is postponed until `reset_seconds` from now."""

    def __init__(self, message: str, *, reset_seconds: float) -> None:
        super().__init__(message)
        self.reset_seconds = reset_seconds


class TokenRefusedError(FatalError):
    """The account's token is refused. The HTTP layer renews it once and repeats the call, if the
    account's way to log in has another; otherwise it is what it says, fatal."""


class StillRunningError(MarketingOpsError):
    """The vendor still prepares a file.

    Attributes:
        retry_after: seconds after which to ask again; nothing needs a worker until then.
        state: what to resume with.
    """

    def __init__(self, message: str, *, retry_after: float, state: dict[str, object]) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.state = state


class RecordRejectedError(MarketingOpsError):
    """One record cannot be stored. It goes to `mkt_ops.rejected_records`; the run goes on."""


class SendOutcomeUnknownError(MarketingOpsError):
    """The other side may or may not have taken a message: the ledger row becomes `unknown`."""
