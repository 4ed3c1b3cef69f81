"""``transformers serve`` as a peer: started on a checkpoint, asked over HTTP, timed by what it streams."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from typing import Any, Self

import httpx
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

FAST: Any = PreTrainedTokenizerFast  # transformers is only partly annotated
START_SECONDS = 180
_BATCHING = ["--continuous-batching", "--cb-num-blocks", "256", "--cb-max-batch-tokens", "512"]


@dataclass(frozen=True)
class Figures:
    """The median of the seconds to the first token, and tokens a second over all replies."""

    ttft: float
    speed: float


def write_tokenizer(folder: Path, vocabulary: int) -> None:
    """A tokenizer whose words name the ids, so that a prompt can be sent as text: ``t5 t17``."""
    words = {f"t{number}": number for number in range(vocabulary)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="t0"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    FAST(tokenizer_object=tokenizer).save_pretrained(folder)


class Peer:
    """One server process with one way of answering."""

    def __init__(
        self, command: str, folder: Path, dtype: str, batching: bool, threads: int, device: str = "cpu"
    ) -> None:
        self.name = f"serve, {dtype}" + (", continuous batching" if batching else "")
        self._folder = folder
        with socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        self.url = f"http://127.0.0.1:{port}"
        self._command = [command, "serve", str(folder), "--device", device, "--dtype", dtype]
        self._command += ["--port", str(port), *(_BATCHING if batching else [])]
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
        self._client = httpx.AsyncClient(base_url=self.url, timeout=300, limits=_LIMITS)

    async def __aenter__(self) -> Self:
        quiet = asyncio.subprocess.DEVNULL
        self._process = await asyncio.create_subprocess_exec(
            *self._command, env=self._environment, stdout=quiet, stderr=quiet, cwd=self._folder
        )
        try:
            await self._wait()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), 20)
        except TimeoutError:
            self._process.kill()

    async def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.returncode is None:
            try:
                if (await self._client.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                await asyncio.sleep(0.2)
        raise RuntimeError(f"{self.name}: the server does not start")

    async def measure(self, prompts: list[tuple[int, ...]], tokens: int) -> Figures:
        """All replies at once."""
        began = time.perf_counter()
        firsts = await asyncio.gather(*(self._reply(ids, tokens) for ids in prompts))
        seconds = time.perf_counter() - began
        return Figures(statistics.median(firsts), tokens * len(prompts) / seconds)

    async def _reply(self, ids: tuple[int, ...], tokens: int) -> float:
        """Seconds to the first chunk with text of one reply, which must have ``tokens`` tokens."""
        body = {
            "model": str(self._folder),
            "prompt": " ".join(f"t{number}" for number in ids),
            "max_tokens": tokens,
            "temperature": 0,
            "stream": True,
        }
        began, first, written = time.perf_counter(), 0.0, 0
        async with self._client.stream("POST", "/v1/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                if "choices" not in chunk:
                    raise RuntimeError(f"{self.name}: {chunk}")
                if chunk["choices"][0].get("text") and not first:
                    first = time.perf_counter() - began
                if chunk.get("usage"):
                    if chunk["usage"]["prompt_tokens"] != len(ids):
                        raise RuntimeError(f"{self.name}: the prompt was read otherwise")
                    written = int(chunk["usage"]["completion_tokens"])
        if written != tokens:
            raise RuntimeError(f"{self.name} wrote {written} tokens instead of {tokens}")
        return first


_LIMITS = httpx.Limits(max_connections=64)
