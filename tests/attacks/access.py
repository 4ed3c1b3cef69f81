"""Which route is for whom: all of the application's own; a new one fails until it stands here."""

from __future__ import annotations

from enum import StrEnum


class For(StrEnum):
    """Who may use a route, and whose things it shows."""

    ANYBODY = "the same for everybody"
    MODEL = "asks the model as whoever asks, known or not; a key needs the scope for it"
    ASKER = "the asker's own things; a key needs the scope"
    ID = "the things of whoever owns the ids that are named; foreign ids read like absent ones"
    RESPONSE = "a stored response of whoever owns it; a key needs the scope for the model"
    PERSON = "the asker's own account, by cookie alone: a key never may"
    PERSON_ID = "one of the asker's own sessions or keys, by cookie alone"
    ADMIN = "admins in a browser; to everybody else it is not there"
    LINK = "whoever has a link's token"
    SIGN_IN = "a browser on its way to the provider or back"


ROUTES: dict[tuple[str, str], For] = {
    ("GET", "/healthz"): For.ANYBODY,
    ("HEAD", "/healthz"): For.ANYBODY,
    ("GET", "/metrics"): For.ANYBODY,
    ("GET", "/favicon.ico"): For.ANYBODY,
    ("GET", "/api/model"): For.ANYBODY,
    ("POST", "/api/model"): For.ANYBODY,
    ("GET", "/api/models"): For.ANYBODY,
    ("GET", "/api/status"): For.ANYBODY,
    ("GET", "/api/version"): For.ANYBODY,
    ("GET", "/api/tags"): For.ANYBODY,
    ("GET", "/v1/openapi.json"): For.ANYBODY,
    ("HEAD", "/v1/openapi.json"): For.ANYBODY,
    ("POST", "/v1/chat/completions"): For.MODEL,
    ("POST", "/v1/responses"): For.MODEL,
    ("GET", "/v1/responses/{response_id}"): For.RESPONSE,
    ("DELETE", "/v1/responses/{response_id}"): For.RESPONSE,
    ("POST", "/v1/responses/{response_id}/cancel"): For.RESPONSE,
    ("GET", "/v1/responses/{response_id}/input_items"): For.RESPONSE,
    ("GET", "/v1/models"): For.MODEL,
    ("GET", "/v1/models/{name:path}"): For.MODEL,
    ("GET", "/oauth/login"): For.SIGN_IN,
    ("GET", "/oauth/callback"): For.SIGN_IN,
    ("GET", "/login/callback"): For.SIGN_IN,
    ("GET", "/s/{token}"): For.LINK,
    ("HEAD", "/s/{token}"): For.LINK,
    ("GET", "/api/shared/{token}"): For.LINK,
    ("POST", "/api/shared/{token}/import"): For.LINK,
    ("GET", "/api/bootstrap"): For.ASKER,
    ("GET", "/api/preferences"): For.ASKER,
    ("PATCH", "/api/preferences"): For.ASKER,
    ("GET", "/api/conversations"): For.ASKER,
    ("GET", "/api/changes"): For.ASKER,
    ("GET", "/api/search"): For.ASKER,
    ("GET", "/api/export"): For.ASKER,
    ("GET", "/api/export/responses"): For.ASKER,
    ("POST", "/api/import"): For.ASKER,
    ("GET", "/api/functions"): For.ASKER,
    ("GET", "/api/presets"): For.ASKER,
    ("POST", "/api/presets"): For.ASKER,
    ("GET", "/api/shares"): For.ASKER,
    ("GET", "/api/conversations/{conversation_id}"): For.ID,
    ("PATCH", "/api/conversations/{conversation_id}"): For.ID,
    ("DELETE", "/api/conversations/{conversation_id}"): For.ID,
    ("POST", "/api/conversations/{conversation_id}/select"): For.ID,
    ("POST", "/api/conversations/{conversation_id}/restore"): For.ID,
    ("GET", "/api/conversations/{conversation_id}/export"): For.ID,
    ("POST", "/api/turns"): For.ID,
    ("GET", "/api/generations/{generation_id}"): For.ID,
    ("GET", "/api/generations/{generation_id}/raw"): For.ID,
    ("GET", "/api/generations/{generation_id}/events"): For.ID,
    ("POST", "/api/generations/{generation_id}/cancel"): For.ID,
    ("PATCH", "/api/presets/{preset_id}"): For.ID,
    ("DELETE", "/api/presets/{preset_id}"): For.ID,
    ("POST", "/api/shares"): For.ID,
    ("DELETE", "/api/shares/{share_id}"): For.ID,
    ("GET", "/api/account"): For.PERSON,
    ("DELETE", "/api/account"): For.PERSON,
    ("POST", "/api/account/sign-out"): For.PERSON,
    ("DELETE", "/api/account/sessions"): For.PERSON,
    ("POST", "/api/account/keys"): For.PERSON,
    ("DELETE", "/api/account/sessions/{session_id}"): For.PERSON_ID,
    ("DELETE", "/api/account/keys/{key_id}"): For.PERSON_ID,
    ("GET", "/api/admin/overview"): For.ADMIN,
    ("GET", "/api/admin/users"): For.ADMIN,
    ("POST", "/api/admin/users/{user_id}/ban"): For.ADMIN,
    ("DELETE", "/api/admin/users/{user_id}/ban"): For.ADMIN,
    ("POST", "/api/admin/users/{user_id}/role"): For.ADMIN,
}
ENDS_SOMETHING = {
    ("DELETE", "/api/account"),
    ("POST", "/api/account/sign-out"),
    ("DELETE", "/api/account/sessions"),
}
"""After these the asker is somebody else."""
