/* Long runs, in pieces: between them Python's signal handlers get their turn. Included once, by step.c. */
#ifndef LF_PYTHON_RUNS_H
#define LF_PYTHON_RUNS_H

#include <time.h>

#include "../pieces.h"

/* Nanoseconds of some clock, which may be set back. */
static uint64_t now(void) {
    struct timespec time = {0, 0};
    (void)timespec_get(&time, TIME_UTC);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/*
 * Where other threads run Python, its lock comes after a wait of some milliseconds each time. So the next look is
 * only after ten times as long as the last one took, but not later than SELDOM.
 */
#define SELDOM UINT64_C(100000000)

typedef struct looks {
    PyThreadState *thread;
    uint64_t last, pause; /* when the last one was over, and what is to pass before the next */
} looks;

static int look_for_signals(void *context) {
    looks *const all = context;
    const uint64_t begin = now();
    if (begin - all->last < all->pause)
        return 1;
    PyEval_RestoreThread(all->thread);
    const uint64_t waited = now() - begin;
    const int goes_on = PyErr_CheckSignals() == 0;
    all->thread = PyEval_SaveThread();
    all->last = now();
    all->pause = waited < SELDOM / 10 ? 10 * waited : SELDOM;
    return goes_on;
}

static void *pointer(unsigned long long address) { return (void *)(uintptr_t)address; }

/*
 * stream_run(stream, xs, steps, ys) -> lf_status. All but steps are addresses. What a signal handler raises, this
 * raises, and the stream is as it was before.
 */
static PyObject *stream_run(PyObject *module, PyObject *arguments) {
    unsigned long long stream, xs, steps, ys;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "KKKK", &stream, &xs, &steps, &ys))
        return NULL;
    looks all = {PyEval_SaveThread(), 0, 0};
    const int status = lf_stream_run_in_pieces(pointer(stream), pointer(xs), (size_t)steps,
                                               pointer(ys), look_for_signals, &all);
    PyEval_RestoreThread(all.thread);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(status);
}

/* stream_run_values(stream, inputs, steps, outputs) -> lf_status; the same for any model. */
static PyObject *stream_run_values(PyObject *module, PyObject *arguments) {
    unsigned long long stream, inputs, steps, outputs;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "KKKK", &stream, &inputs, &steps, &outputs))
        return NULL;
    looks all = {PyEval_SaveThread(), 0, 0};
    const int status = lf_stream_run_values_in_pieces(
        pointer(stream), pointer(inputs), (size_t)steps, pointer(outputs), look_for_signals, &all);
    PyEval_RestoreThread(all.thread);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(status);
}

/* pool_run(pool, handles, count, steps, lengths, xs, ys) -> lf_status and `bad`; the same for a pool. */
static PyObject *pool_run(PyObject *module, PyObject *arguments) {
    unsigned long long pool, handles, count, steps, lengths, xs, ys;
    size_t bad = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "KKKKKKK", &pool, &handles, &count, &steps, &lengths, &xs,
                          &ys))
        return NULL;
    looks all = {PyEval_SaveThread(), 0, 0};
    const int status = lf_pool_run_in_pieces(pointer(pool), pointer(handles), (size_t)count,
                                             (size_t)steps, pointer(lengths), pointer(xs),
                                             pointer(ys), &bad, look_for_signals, &all);
    PyEval_RestoreThread(all.thread);
    return PyErr_Occurred() ? NULL : Py_BuildValue("iK", status, (unsigned long long)bad);
}

/* pool_run_values(pool, handles, count, steps, lengths, inputs, outputs) -> as pool_run, for any model. */
static PyObject *pool_run_values(PyObject *module, PyObject *arguments) {
    unsigned long long pool, handles, count, steps, lengths, inputs, outputs;
    size_t bad = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "KKKKKKK", &pool, &handles, &count, &steps, &lengths, &inputs,
                          &outputs))
        return NULL;
    looks all = {PyEval_SaveThread(), 0, 0};
    const int status = lf_pool_run_values_in_pieces(
        pointer(pool), pointer(handles), (size_t)count, (size_t)steps, pointer(lengths),
        pointer(inputs), pointer(outputs), &bad, look_for_signals, &all);
    PyEval_RestoreThread(all.thread);
    return PyErr_Occurred() ? NULL : Py_BuildValue("iK", status, (unsigned long long)bad);
}

#endif
