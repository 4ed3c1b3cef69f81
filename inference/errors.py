"""Everything that inference raises.

InferenceError
  + HarmonyFormatError     a message cannot be rendered (a name or recipient outside the allow-list, ...)
  + VocabularyError        the token vocabulary is missing or is not the expected file
  + InvalidSchema          a JSON schema asks for what cannot be kept, or is none
  + InvalidToolChoice      a call is asked for of a function that is not declared
  + ModelLoadError         a model cannot be had or loaded; ``code`` says which way
  + RequestRefused         the engine did not accept a request
      + QueueFull          the bounded queue is full; try again later
      + PromptTooLong      prompt + max_tokens does not fit the context
      + InvalidRequest     ids outside the vocabulary, parameters out of range
      + EngineUnavailable  no model is ready, or the worker is gone

``str(error)`` is one sentence for the user: it never holds a path of the server, a trace or a prompt.
"""

from __future__ import annotations


class InferenceError(Exception):
    """Base of this package's errors; ``code`` is a stable word for programs."""

    code = "inference_error"


class HarmonyFormatError(InferenceError):
    code = "invalid_message"


class VocabularyError(InferenceError):
    code = "vocabulary_unavailable"


class InvalidSchema(InferenceError):
    code = "invalid_schema"


class InvalidToolChoice(InferenceError):
    code = "invalid_tool_choice"


class ModelLoadError(InferenceError):
    """``code`` is one of: no_network, model_not_found, model_gated, not_gpt_oss, corrupt_model,
    not_enough_memory, disk_full, load_failed."""

    def __init__(self, message: str, code: str = "load_failed") -> None:
        super().__init__(message)
        self.code = code


class RequestRefused(InferenceError):
    code = "request_refused"


class QueueFull(RequestRefused):
    code = "queue_full"


class PromptTooLong(RequestRefused):
    code = "context_length_exceeded"

    @classmethod
    def of(cls, tokens: int, context: int, *, at_least: bool = False) -> PromptTooLong:
        """The refusal of a prompt that fills the whole context; ``at_least``: nobody counted on."""
        number = f"at least {tokens:,}" if at_least else f"{tokens:,}"
        return cls(
            f"With this message the conversation has {number} tokens, and the model holds "
            f"{context:,}. Shorten the message, or start a new conversation."
        )


class InvalidRequest(RequestRefused):
    code = "invalid_request"


class EngineUnavailable(RequestRefused):
    code = "engine_unavailable"
