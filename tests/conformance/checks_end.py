"""How a broker ends. Imported last: it stops the broker."""

import threading

from world import check


@check
def a_stopping_broker_says_so(world):
    """Last: it stops the broker, where it is this script's own."""
    if world.broker is None:
        world.say("left out: the broker is not this script's")
        return
    with world.connect() as connection:
        _, topic = world.topic(connection)
        answer, _ = world.fetch(connection, maxWaitMs=0, changed=[world.fetch_partition(topic)])
        asked = world.ask_fetch(connection, session=answer.Session(), maxWaitMs=60_000)
        stopping = threading.Thread(target=world.broker.stop)
        stopping.start()
        notice = connection.next_notice()
        world.expect(connection.status_of(notice), "DRAINING")
        assert notice.Kind() == 1
        _, news = world.fetched(connection, asked)
        assert not news, "a fetch that waits is answered"
        assert connection.ended()
        stopping.join()


