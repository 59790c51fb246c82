"""A service with FastAPI that streams a model's answer: `pip install fastapi uvicorn`, then `uvicorn service:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel

import mesh


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client for as long as the service runs."""
    async with mesh.AsyncMeshClient(raise_on_error=True, timeout=60) as client:
        app.state.mesh = client
        yield


app = FastAPI(lifespan=lifespan)


class Question(BaseModel):
    """What a caller asks."""

    text: str


@app.post("/ask")
async def ask(
    question: Question, request: Request, idempotency_key: Annotated[str | None, Header()] = None
) -> dict[str, object]:
    """Answer as a whole."""
    client: mesh.AsyncMeshClient = request.app.state.mesh
    try:
        answer = await client.chat(question.text, idempotency_key=idempotency_key)
    except mesh.MeshError as problem:
        raise HTTPException(503, {"code": problem.code, "request_id": problem.request_id}) from problem
    return {"answer": answer.content, "model": answer.model, "cost_usd": answer.usage.cost_usd}


@app.post("/stream")
async def stream(question: Question, request: Request) -> StreamingResponse:
    """Answer piece by piece; where the caller leaves, the model stops."""
    client: mesh.AsyncMeshClient = request.app.state.mesh
    try:
        pieces = await client.chat(question.text, stream=True)
    except mesh.MeshError as problem:
        raise HTTPException(503, {"code": problem.code}) from problem

    async def body() -> AsyncIterator[str]:
        async with pieces:
            async for piece in pieces:
                yield piece.text

    return StreamingResponse(body(), media_type="text/plain")
