"""A shop on FastAPI and SQLAlchemy: no order without its job, no job without its order.

DATABASE_URL=postgresql://localhost/shop uvicorn examples.orders_app:app
curl -X POST localhost:8000/orders/tea    # {"order": 1, "job": "..."}
curl -X POST localhost:8000/orders/gold   # 402, and neither the order nor its job is there
curl localhost:8000/orders                # [{"id": 1, "product": "tea", "bill": "tea: paid"}]
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from backroom import Job, JobService, JobType
from backroom.contrib.fastapi import Jobs, configure_jobs

DATABASE = os.environ.get("DATABASE_URL", "postgresql://localhost/shop")
engine = create_async_engine(DATABASE.replace("postgresql:", "postgresql+asyncpg:", 1))
sessions = async_sessionmaker(engine, expire_on_commit=False)
service = JobService(DATABASE)


class Base(DeclarativeBase):
    pass


class Order(Base):
    __tablename__ = "orders"
    id: Mapped[int] = mapped_column(primary_key=True)
    product: Mapped[str]
    bill: Mapped[str | None]


class Bill(BaseModel):
    order: int


BILL = JobType("BILL", Bill)


@service.handler(BILL)
async def bill(job: Job[Bill]) -> None:
    """Bills an order once, however often a worker dies on the way: with the bill, the job is
    completed."""
    async with sessions() as session, job.transaction(session):
        order = await session.get_one(Order, job.data.order)
        order.bill = f"{order.product}: paid"


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
    yield
    await engine.dispose()


app = FastAPI(lifespan=lifespan)
configure_jobs(app, service)


@app.post("/orders/{product}", status_code=201)
async def buy(product: str, jobs: Jobs) -> dict[str, Any]:
    async with sessions.begin() as session:
        order = Order(product=product)
        session.add(order)
        await session.flush()
        job = await jobs.schedule(BILL, Bill(order=order.id), connection=session)
        if product == "gold":
            raise HTTPException(402, "no gold on credit")
    return {"order": order.id, "job": job}


@app.get("/orders")
async def orders() -> list[dict[str, Any]]:
    async with sessions() as session:
        found = await session.scalars(select(Order).order_by(Order.id))
        return [{"id": one.id, "product": one.product, "bill": one.bill} for one in found]
