"""The program of the built-in model's process: loads one GGUF file and serves it on loopback until its
parent ends.

``process.py`` runs it as ``python -I child.py``; it imports nothing of ChatHub. The protocol is two lines of
JSON: the settings come on stdin; on stdout goes ``{"url": …}`` once the model is loaded, or
``{"error": <exception's class>, "detail": …}``. After that the process lives until stdin closes, which the
kernel does however the parent ended.

The settings mirror llama.cpp's ``common_params`` (https://github.com/ggml-org/llama.cpp, common/common.h),
as bound by https://github.com/xorbitsai/xllamacpp: they change between versions, hence the exact pin.
"""

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Serve until stdin ends; never returns."""
    config = json.loads(sys.stdin.buffer.readline())
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what the engine prints must not mix with the protocol's lines
    die_first()
    try:
        server = load(config)
    except BaseException as error:
        out.write(json.dumps({"error": type(error).__name__, "detail": str(error)}) + "\n")
        out.flush()
        os._exit(3)
    out.write(json.dumps({"url": server.listening_address}) + "\n")
    sys.stdin.buffer.read()
    os._exit(0)  # the engine's static destructors may hang while its threads still run


def die_first() -> None:
    """Let a kernel short of memory end this process before the server (Linux; elsewhere nothing)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("500")


def load(config: dict[str, Any]) -> Any:
    """The running server; returns only when the model is loaded, and holds the GIL until then."""
    if config["packages"]:
        sys.path.append(config["packages"])  # -I hides the user's site-packages; the engine may live there
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["key"]]  # loopback is open to every user of the machine
    params.n_parallel = config["parallel"]
    params.n_ctx = config["context"] * config["parallel"]  # the engine divides it between the slots
    params.sampling.temp = config["temperature"]
    params.n_predict = config["max_tokens"]  # else a request that names no bound runs to the context's end
    params.n_batch, params.n_ubatch = 512, 128  # smaller compute buffers than the defaults
    params.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts
    params.n_threads_http = 8
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = config["threads"]
    params.ui = params.endpoint_slots = params.endpoint_props = False
    params.cors_origins = ""  # the default lets every web page in
    params.offline = True
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
