"""The dashboard on a journal that many processes share."""

import pytest

from stepstream import RedisJournal
from stepstream.dashboard import Dashboard
from stepstream.dashboard.run_list import RunList
from tests.dashboard.test_ingest import BODY, ROUNDS, SHORT, status_of
from tests.dashboard.test_list import settled
from tests.support.relay_requests import asked, watching
from tests.support.response_streams import calling, encoded, lifecycle, whole, writing
from tests.support.uploads import sent
from tests.support.valkey import ValkeyProcess, fresh_namespace, valkey


def journal_on(server: ValkeyProcess, namespace: str = "") -> RedisJournal:
    return RedisJournal(server.url, namespace=namespace or fresh_namespace(), partitions=2)


async def kept(journal: RedisJournal, run_id: str = "run_1") -> bytes:
    return b"".join([getattr(held, "data", b"") async for held in journal.read(run_id)])


@pytest.mark.parametrize("there", [1, 3, 5])
@pytest.mark.parametrize("begins", [0, 1])
async def test_body_is_sent_again_to_another_process(server: ValkeyProcess, there: int, begins: int):
    namespace = fresh_namespace()
    async with journal_on(server, namespace) as first, journal_on(server, namespace) as second:
        cut = await sent(Dashboard(first), SHORT[:there])
        again = await sent(Dashboard(second), SHORT[begins:], f"/ingest?run=run_1&after={begins}")
        assert (cut.status, cut.json["position"]) == (422, there)
        assert (again.status, again.json["position"], again.json["skipped"]) == (200, 6, there - begins)
        assert await kept(first) == BODY.removesuffix(SHORT[-1])
        assert await status_of(first) == "ended"


async def test_part_of_a_run_that_has_ended_changes_nothing(server: ValkeyProcess):
    async with journal_on(server) as journal:
        dashboard = Dashboard(journal)
        await sent(dashboard, ROUNDS)
        again = await sent(dashboard, ROUNDS[:4], "/ingest?run=run_1&after=0")
        assert (again.status, again.json["position"], again.json["skipped"]) == (422, 6, 4)
        assert await kept(journal) == b"".join(ROUNDS)
        assert await status_of(journal) == "ended"


async def test_run_of_a_dialect_is_answered_by_another_process_and_listed_by_a_third(server: ValkeyProcess):
    namespace = fresh_namespace()
    answers = [lifecycle("created", id="resp_2"), *writing("Nine."), lifecycle("completed", id="resp_2")]
    async with (
        journal_on(server, namespace) as first,
        journal_on(server, namespace) as second,
        journal_on(server, namespace) as third,
    ):
        await sent(Dashboard(first), [encoded(whole(calling("{}")))])
        waiting = (await settled(RunList(third)))["resp_1"]
        answer = await sent(Dashboard(second), [encoded(answers)], "/ingest?run=resp_1")
        ended = (await settled(RunList(third)))["resp_1"]
    assert (waiting["state"], waiting["reason"]) == ("waiting", "waits for outputs: add")
    assert (answer.status, answer.json["run_ids"]) == (200, ["resp_1"])
    assert (ended["state"], ended["status"], ended["text"], ended["calls"]) == ("ended", "completed", "Nine.", 1)


async def test_server_that_is_lost_and_back_is_said_and_used_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("stepstream.dashboard.application.HEALTH_LIMIT", 0.2)
    with valkey() as own:
        async with journal_on(own) as journal:
            dashboard = Dashboard(journal)
            async with watching(dashboard, "/list", accept="text/event-stream"):
                own.kill()
                health = await asked(dashboard, "/healthz")
                refused = await sent(dashboard, SHORT)
                own.start()
                answer = await sent(dashboard, SHORT)
                with monkeypatch.context() as patch:
                    patch.setattr("stepstream.dashboard.application.HEALTH_LIMIT", 10)
                    again = await asked(dashboard, "/healthz")
    assert (health.status, refused.status, refused.taken) == (503, 503, 0)
    assert (answer.status, answer.json["position"], again.status) == (200, 6, 200)
