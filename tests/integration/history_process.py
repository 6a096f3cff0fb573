"""The checker of histories (tests/history) as a process beside a test: it hears what producers sent and were told and
what was read, and says what is wrong with it."""

import json
import pathlib
import subprocess

VALUES_PER_LINE = 500


def checker_of(binary):
    """The checker that was built beside BUILD/tools/tidelog."""
    return pathlib.Path(binary).resolve().parent.parent / "tests" / "history" / "check_history"


class History:
    def __init__(self, checker):
        self.process = subprocess.Popen([checker], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _tell(self, **event):
        self.process.stdin.write(json.dumps(event).encode() + b"\n")

    def sent(self, producer, values):
        """Next in the order of this producer."""
        for at in range(0, len(values), VALUES_PER_LINE):
            self._tell(event="send", producer=producer, values=values[at:at + VALUES_PER_LINE])

    def acknowledged(self, entries):
        """(partition, offset, value) each."""
        for partition, offset, value in entries:
            self._tell(event="acknowledged", partition=str(partition), offset=offset, value=value)

    def read(self, consumer, partition, offset, values):
        """Everything from `offset` to the end of the partition."""
        if offset == 0:
            self._tell(event="assign", consumer=consumer, partition=str(partition), offset=0)
        for at in range(0, len(values), VALUES_PER_LINE):
            self._tell(event="polled", consumer=consumer, partition=str(partition), offset=offset + at,
                       values=values[at:at + VALUES_PER_LINE])
        self._tell(event="ended", partition=str(partition), offset=offset + len(values))

    def complaints(self):
        """All that is wrong so far."""
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        complaints = []
        while not (line := self.process.stdout.readline().decode()).startswith("--"):
            if not line:
                raise RuntimeError("the checker of histories ended: it did not understand an event")
            complaints.append(line.rstrip("\n"))
        return complaints

    def close(self):
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended already
        self.process.stdout.read()
        self.process.stdout.close()
        self.process.wait()
