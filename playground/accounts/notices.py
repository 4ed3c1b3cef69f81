"""What the operator should know about accounts; the log says it once at each start."""

from __future__ import annotations

import logging

from playground.accounts.rules import is_named_admin
from playground.settings import Settings
from storage.errors import StorageError
from storage.store import Store

log = logging.getLogger(__name__)


def warn_at_start(settings: Settings, store: Store) -> None:
    """Say what the settings leave open, and where the accounts differ from them. Blocks."""
    if not settings.sign_in_available:
        return
    if settings.public_url is None and not settings.trusts_proxy:
        log.warning(
            "People can sign in, and neither PUBLIC_URL nor BEHIND_PROXY is set. Where a proxy is in front, "
            "sign-ins may lead back to the wrong address, and everybody counts as one visitor."
        )
    try:
        _warn_of_other_admins(settings, store)
    except StorageError as error:  # whoever needs what cannot be read is told
        log.warning("the admins could not be counted: %s", error.code)


def _warn_of_other_admins(settings: Settings, store: Store) -> None:
    """An admin of before stays one after the operator has named others, and may not be meant to."""
    if not settings.admin_users:
        return
    others = [each for each in store.admins() if not is_named_admin(settings, each)]
    if others:
        log.warning(
            "Admins whom ADMIN_USERS does not name, by what their last sign-in said of them: %d. "
            "They stay admins until another admin changes that in the page.",
            len(others),
        )
