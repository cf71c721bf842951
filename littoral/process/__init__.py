"""Every child process that we start: workers that answer calls, and commands of ours that run as a user would start them.

Two kinds, which share limits, parent death and last words, and nothing else:

    workers     worker.py (parent, blocking), aio.py (parent, asyncio), on_demand.py (started again), child.py (the child),
                frames.py (what both send)
    commands    command.py (started with a log, a first line that says READY), restarts.py (started again),
                tether.py (ends a command with its parent)

Rules of a worker:

1. The parent starts `python -m MODULE --line FD --most BYTES` and sends the settings in the first frame: call 0.
2. The child limits itself, prepares, and answers call 0 with READY. Until then the parent waits `ready_s`, no longer.
3. One call at a time: a frame there, a frame back with the same number. Each frame is bounded on both sides before it is read.
4. An error that the child raises on purpose (FleetError) is an answer; the child lives on. Any other error ends the child.
5. The parent ends the child (SIGKILL) after a frame that is none or too large, an answer to another call, a call past its limit,
   and a call that was cancelled: its answer would come to the next call. The child has no state that its parent lacks.
6. The message of a child's end is how it ended and the last line of its stderr: of a traceback, the line with the error.
7. A child ends with its parent, also by kill -9: by a signal of the kernel (Linux), and when its end of the line hangs up.

A worker that adds one, both sides:

    # adder.py: the child
    def prepare(settings):
        def answer(head, arrays):
            return {}, {"sum": arrays["x"] + settings["more"]}
        return answer, {"version": "1"}          # what READY says

    if __name__ == "__main__":
        serve(prepare)

    # the parent
    worker = BlockingWorker(WorkerSpec("adder", {"more": 1}, what="adder"))
    about = worker.ready(limit_s=30.0)           # {"version": "1"}
    _, arrays = worker.call({}, {"x": np.zeros(3, np.float32)}, limit_s=5.0)
    worker.end()
"""
