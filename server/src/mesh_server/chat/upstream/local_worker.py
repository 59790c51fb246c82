"""The process in which the local model runs: llama.cpp's own server, on loopback, for its parent only.

A crash of native code ends this process and not the server. Settings come as one line of JSON on stdin, the address
goes out as one line on stdout; then stdin is read until it ends. It ends when the parent does, however that dies, so
this process never outlives it.
"""

import json
import os
import sys

#: Where a GGUF file's own fields are, before its vocabulary.
_METADATA_BYTES = 64 * 1024


def main() -> int:
    """Serve one model until stdin ends."""
    settings = json.loads(sys.stdin.readline())
    # The library prints what it likes to stdout: that goes to the log, and the one line below to the parent.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    try:
        import xllamacpp  # noqa: PLC0415 - after the streams are in place, for it may write while it loads
    except ImportError:
        return 3
    params = xllamacpp.CommonParams()
    params.model.path = settings["path"]
    params.model_alias = {settings["name"]}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [settings["api_key"]]
    params.n_ctx = settings["context"]
    params.n_parallel = settings["parallel"]
    params.kv_unified = True  # a call may use the whole context while the others are idle
    params.cpuparams.n_threads = settings["threads"]
    params.cpuparams_batch.n_threads = settings["threads"]
    params.cache_ram_mib = 0  # no store of past prompts beside the running ones
    params.verbosity = 2  # warnings and errors; nothing above it names prompts
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.embedding = True  # beside chat; costs nothing where nobody asks for it
    if not _pools(settings["path"]):
        params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    server = xllamacpp.Server(params)
    answers.write(json.dumps({"address": server.listening_address}) + "\n")
    answers.flush()
    while sys.stdin.buffer.read(1):
        pass
    os._exit(0)  # unwinding native threads can hang; there is nothing to save


def _pools(path: str) -> bool:
    """Return whether a model file says itself how its embeddings are made: those that are made for them do."""
    with open(path, "rb") as file:  # noqa: PTH123 - this process imports as little as it can
        return b".pooling_type" in file.read(_METADATA_BYTES)


if __name__ == "__main__":
    sys.exit(main())
