"""Pools with the mistakes that the tests of pools are there to find."""

from __future__ import annotations

from lstm_fast import StaleHandleError


class Careless:
    """A pool with a mistake of a kind that pools are known to make."""

    def __init__(self, pool):
        self.pool = pool

    def __getattr__(self, name):
        return getattr(self.pool, name)

    def __contains__(self, handle):
        return handle in self.pool

    def __len__(self):
        return len(self.pool)


class SharesAState(Careless):
    """The sessions of a call end up with the state of one of them."""

    def step(self, handles, xs, out=None):
        ys = self.pool.step(handles, xs, out)
        for handle in handles[1:2]:
            self.pool.set_state(handle, self.pool.state(handles[0]))
        return ys


class StepsBeforeItLooks(Careless):
    """A wrong handle is found when those before it are done."""

    def run(self, handles, xs, lengths=None, out=None):
        try:
            return self.pool.run(handles, xs, lengths, out)
        except StaleHandleError:
            self.pool.run(handles[:1], xs[:1])
            raise


class TakesStaleHandles(Careless):
    """A handle is a slot and nothing else: it reaches who came after."""

    def __init__(self, pool):
        super().__init__(pool)
        self.heirs, self.last = {}, None

    def close(self, handle):
        self.pool.close(handle)
        self.last = handle

    def open(self, state=None):
        handle = self.pool.open(state)
        self.heirs[self.last] = handle
        return handle

    def state(self, handle):
        return self.pool.state(self.heirs.get(handle, handle))


class ForgetsWhatIsPrepared(Careless):
    """A run of no steps makes room for others."""

    def run(self, handles, xs, lengths=None, out=None):
        ys = self.pool.run(handles, xs, lengths, out)
        for handle in map(int, handles if xs.shape[1] else ()):
            self.pool.set_state(handle, self.pool.state(handle))
        return ys


class ForgetsToReset(Careless):
    """A session begins with what the last one left."""

    left = None

    def close(self, handle):
        self.left = self.pool.state(handle)
        self.pool.close(handle)

    def open(self, state=None):
        return self.pool.open(self.left if state is None else state)


class LosesOnGrowth(Careless):
    """A session does not move with the rest."""

    def grow(self, n):
        self.pool.grow(n)
        for handle in self.pool.handles()[-1:] if n else ():
            self.pool.reset(int(handle))


class DamagesOnRefusal(Careless):
    """What does not fit is noticed too late."""

    def step(self, handles, xs, out=None):
        try:
            return self.pool.step(handles, xs, out)
        except StaleHandleError:
            raise
        except ValueError:
            for handle in handles:
                self.pool.reset(handle)
            raise


MISTAKES = [
    SharesAState,
    StepsBeforeItLooks,
    TakesStaleHandles,
    ForgetsWhatIsPrepared,
    ForgetsToReset,
    LosesOnGrowth,
    DamagesOnRefusal,
]
