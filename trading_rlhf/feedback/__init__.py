"""Reviewers: who they are, what they are shown and what they say."""

from trading_rlhf.feedback.accounts import (
    Account,
    LoginSession,
    Role,
    authenticate,
    change_password,
    check_csrf,
    close_session,
    create_account,
    erase_account,
    get_account,
    list_accounts,
    open_session,
    read_session,
    require_role,
    reset_password,
    update_account,
)
from trading_rlhf.feedback.neighbours import Neighbour, nearest
from trading_rlhf.feedback.records import (
    KNOWN_TAGS,
    Answer,
    LateAnswerError,
    Progress,
    QueueItem,
    Submission,
    Verdict,
)
from trading_rlhf.feedback.review import ReviewDesk
from trading_rlhf.feedback.reviewers import Agreement, agreement, weights_by_reviewer

__all__ = [
    "KNOWN_TAGS",
    "Account",
    "Agreement",
    "Answer",
    "LoginSession",
    "Neighbour",
    "Progress",
    "QueueItem",
    "LateAnswerError",
    "ReviewDesk",
    "Role",
    "Submission",
    "Verdict",
    "agreement",
    "authenticate",
    "change_password",
    "check_csrf",
    "close_session",
    "create_account",
    "erase_account",
    "get_account",
    "list_accounts",
    "nearest",
    "open_session",
    "read_session",
    "require_role",
    "reset_password",
    "update_account",
    "weights_by_reviewer",
]
