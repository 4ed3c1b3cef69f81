"""What all tables have in common: names of constraints, and column types by Python type."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import MetaData, Text
from sqlalchemy.orm import DeclarativeBase

from inference.types import Channel, FinishReason, ReasoningEffort, Role
from storage.account_records import AccountRole
from storage.column_types import SettingsText, UtcDateTime, words_of
from storage.records import ChatSettings, GenerationStatus, ReplyMode, Theme
from storage.response_records import ResponseStatus

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Common ground of the models: names of constraints, column types by Python type."""

    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: Text(),
        datetime: UtcDateTime(),
        Role: words_of(Role),
        Channel: words_of(Channel),
        ReasoningEffort: words_of(ReasoningEffort),
        FinishReason: words_of(FinishReason),
        GenerationStatus: words_of(GenerationStatus),
        Theme: words_of(Theme),
        ReplyMode: words_of(ReplyMode),
        AccountRole: words_of(AccountRole),
        ResponseStatus: words_of(ResponseStatus),
        ChatSettings: SettingsText(),
    }
