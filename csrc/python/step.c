/*
 * The short ways from Python into a step. What cffi and the buffer protocol cost in code is little when
 * it is warm and 10 us when it is not, which it never is in a service that wakes every 20 ms; so here
 * arrays are read where NumPy keeps their facts, a stream where its object has it, and a step is one
 * method call with no frame of Python in between. A module of its own inside the extension that cffi
 * builds; everything else goes through cffi, and what this can't take is left to the long way.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../pool/pool.h"
#include "../stream.h"
#include "../tuning.h"
#include "ends.h"
#include "runs.h"

/*
 * "_long_step", where a class has its step in Python. Interned, and made once: Python remembers attributes by the
 * addresses of their names, and would hold on to each new one.
 */
static PyObject *long_step;

/* ---- CoreStream: the base of streams that have the core's stream where C finds it ---- */

typedef struct CoreStream {
    PyObject head;     /* as PyObject_HEAD */
    lf_stream *stream; /* borrowed; null until _attach */
    const ends *ends;  /* borrowed; null: every step goes the long way */
    int is_quick;      /* its steps keep Python's lock */
} CoreStream;

/*
 * A short step keeps Python's lock: it takes a few microseconds, as much as numpy does for a thousand elements without
 * letting go of it. Two threads that give it up for that long hand it to and fro, which is slower than one thread, with
 * a p99 above ten times the step.
 */
static PyObject *attach(PyObject *self, PyObject *arguments) {
    CoreStream *const core = (CoreStream *)self;
    PyObject *address, *capsule;
    if (!PyArg_ParseTuple(arguments, "OO", &address, &capsule))
        return NULL;
    lf_stream *stream = PyLong_AsVoidPtr(address);
    if (!stream && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "_attach: there is no stream");
    if (!stream)
        return NULL;
    core->ends = capsule == Py_None ? NULL : PyCapsule_GetPointer(capsule, ends_name);
    if (PyErr_Occurred())
        return NULL;
    core->stream = stream;
    core->is_quick = stream->model->step_cost < LF_KEEPS_PYTHONS_LOCK;
    Py_RETURN_NONE;
}

static PyMethodDef core_stream_methods[] = {
    {"_attach", attach, METH_VARARGS,
     "Take the address of an lf_stream and its model's ends, which live as long as this."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot core_stream_slots[] = {{Py_tp_methods, core_stream_methods}, {0, NULL}};

static PyType_Spec core_stream_spec = {
    .name = "lstm_fast._native_step.CoreStream",
    .basicsize = sizeof(CoreStream),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .slots = core_stream_slots,
};

static PyTypeObject *core_stream_type;

/* ---- step(x, out=None) of a stream ---- */

/*
 * The names in step(x, out=y), ("out",): a constant of the code that calls, so the next call comes with the
 * same tuple, and who knows it need not look into it, which when cold is half a microsecond. It is compared, never
 * read, so a thread may still see the former one.
 */
static _Atomic(PyObject *) out_alone;

/* Finds x and out among the arguments; 0 where there are others, or too few. */
static int find_arguments(PyObject *const *arguments, Py_ssize_t count, PyObject *names,
                          PyObject *found[2]) {
    if (count == 1 && names && names == atomic_load_explicit(&out_alone, memory_order_relaxed)) {
        found[0] = arguments[0];
        found[1] = arguments[1];
        return 1;
    }
    const Py_ssize_t named = names ? PyTuple_Size(names) : 0;
    if (count > 2)
        return 0;
    for (Py_ssize_t n = 0; n < count; n++)
        found[n] = arguments[n];
    for (Py_ssize_t n = 0; n < named; n++) {
        PyObject *name = PyTuple_GetItem(names, n);
        const int which = PyUnicode_CompareWithASCIIString(name, "out") == 0;
        if ((!which && PyUnicode_CompareWithASCIIString(name, "x") != 0) || found[which])
            return 0;
        found[which] = arguments[count + n];
    }
    if (named == 1 && found[1]) {
        Py_INCREF(names); /* so that no other tuple is ever found at its address */
        PyObject *former = atomic_exchange(&out_alone, names);
        Py_XDECREF(former);
    }
    return found[0] != NULL;
}

/* Converts, or says what is wrong. */
static PyObject *step_the_long_way(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                   PyObject *names) {
    PyObject *step = PyObject_GetAttr(self, long_step);
    PyObject *result = NULL, *keywords = PyDict_New(), *positional = PyTuple_New(count);
    int failed = !step || !keywords || !positional;
    for (Py_ssize_t n = 0; !failed && n < count; n++) {
        Py_INCREF(arguments[n]);
        failed = PyTuple_SetItem(positional, n, arguments[n]) < 0;
    }
    for (Py_ssize_t n = 0; !failed && names && n < PyTuple_Size(names); n++)
        failed = PyDict_SetItem(keywords, PyTuple_GetItem(names, n), arguments[count + n]) < 0;
    if (!failed)
        result = PyObject_Call(step, positional, keywords);
    Py_XDECREF(step);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

static lf_status advance(const CoreStream *core, const call *all) {
    lf_stream *const stream = core->stream;
    if (stream->model->has_simple_ends)
        return lf_stream_step_f32(stream, all->inputs[0], all->outputs[0]);
    return lf_stream_step(stream, (const void *const *)all->inputs, all->outputs);
}

static PyObject *step(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                      PyObject *names) {
    PyObject *found[2] = {NULL, NULL}, *result = NULL;
    const CoreStream *const core = (CoreStream *)self;
    call all;
    if (core->ends && find_arguments(arguments, count, names, found) &&
        begin(&all, core->ends, found[0], found[1], NULL, core->is_quick)) {
        PyThreadState *state = core->is_quick ? NULL : PyEval_SaveThread();
        const lf_status status = advance(core, &all);
        if (state)
            PyEval_RestoreThread(state);
        result = finish(&all, status);
    }
    return result ? result : step_the_long_way(self, arguments, count, names);
}

/* A description of `step` with the docstring of the step in Python; null with an error set. Kept for ever. */
static PyMethodDef *describe_step(PyObject *of) {
    static const char signature[] = "step($self, x, out=None)\n--\n\n";
    PyObject *text = PyObject_GetAttrString(of, "__doc__");
    Py_ssize_t length = 0;
    const char *doc = text && text != Py_None ? PyUnicode_AsUTF8AndSize(text, &length) : "";
    PyMethodDef *made = doc ? malloc(sizeof *made) : NULL;
    char *copy = doc ? malloc(sizeof signature + (size_t)length) : NULL;
    if (made && copy) {
        memcpy(copy, signature, sizeof signature);
        memcpy(copy + sizeof signature - 1, doc, (size_t)length + 1);
        *made = (PyMethodDef){"step", (PyCFunction)(void (*)(void))step,
                              METH_FASTCALL | METH_KEYWORDS, copy};
    }
    Py_XDECREF(text);
    if (made && copy)
        return made;
    free(made);
    free(copy);
    if (!PyErr_Occurred())
        PyErr_NoMemory();
    return NULL;
}

/*
 * install(Stream, NativeStream), of which the second is a CoreStream as well: gives that its step.
 * Without a NumPy whose arrays look as this was built for, nothing happens, and steps go the long way.
 */
static PyObject *install(PyObject *module, PyObject *arguments) {
    PyObject *base, *type;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OO!", &base, &PyType_Type, &type))
        return NULL;
    if (!PyType_IsSubtype((PyTypeObject *)type, core_stream_type)) {
        PyErr_SetString(PyExc_TypeError, "install: the second class must be a CoreStream");
        return NULL;
    }
    if (PyArray_ImportNumPyAPI() < 0) {
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    PyObject *in_python = PyObject_GetAttrString(base, "step");
    PyMethodDef *description = in_python ? describe_step(in_python) : NULL;
    PyObject *method = description ? PyDescr_NewMethod((PyTypeObject *)type, description) : NULL;
    const int failed = !method || PyObject_SetAttr(type, long_step, in_python) < 0 ||
                       PyObject_SetAttrString(type, "step", method) < 0;
    Py_XDECREF(in_python);
    Py_XDECREF(method);
    if (failed)
        return NULL;
    if (!numpy.array) /* else other threads may be reading it */
        know_numpy();
    Py_RETURN_TRUE;
}

/* ---- step(handles, xs, out=None) of a pool ---- */

/* pool_step(address of an lf_pool, ends, handles, xs, out) -> what that returns; None: nothing done. */
static PyObject *pool_step(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    lf_pool *pool = count == 5 ? PyLong_AsVoidPtr(arguments[0]) : NULL;
    if (PyErr_Occurred())
        return NULL;
    if (!pool || arguments[1] == Py_None || !is_plain(arguments[2], numpy.uint64, 1, 0))
        Py_RETURN_NONE;
    const ends *of = PyCapsule_GetPointer(arguments[1], ends_name);
    if (!of)
        return NULL;
    const unsigned long long *handles = data_of(arguments[2]);
    const npy_intp sessions = PyArray_DIM((PyArrayObject *)arguments[2], 0);
    call all;
    if (!begin(&all, of, arguments[3], arguments[4], &sessions, 0))
        Py_RETURN_NONE;
    PyThreadState *state = PyEval_SaveThread();
    const lf_status status = lf_pool_step(pool, handles, (size_t)sessions,
                                          (const void *const *)all.inputs, all.outputs, NULL);
    PyEval_RestoreThread(state);
    PyObject *result = finish(&all, status);
    if (result)
        return result;
    Py_RETURN_NONE;
}

/* piece_steps(model) -> how many steps of one session are one piece. */
static PyObject *piece_steps(PyObject *module, PyObject *address) {
    const lf_model *model = PyLong_AsVoidPtr(address);
    (void)module;
    if (!model && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "piece_steps: there is no model");
    return model ? PyLong_FromSize_t(lf_piece_steps(model, 1)) : NULL;
}

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS, NULL},
    {"ends", make_ends, METH_VARARGS, NULL},
    {"pool_step", (PyCFunction)(void (*)(void))pool_step, METH_FASTCALL, NULL},
    {"piece_steps", piece_steps, METH_O, NULL},
    {"stream_run", stream_run, METH_VARARGS, NULL},
    {"pool_run", pool_run, METH_VARARGS, NULL},
    {"stream_run_values", stream_run_values, METH_VARARGS, NULL},
    {"pool_run_values", pool_run_values, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* What is known of NumPy, and the class, are there once in a process, so one interpreter of it has this module. */
static int fill(PyObject *module) {
    static _Atomic int64_t user = -1;
    const int64_t mine = PyInterpreterState_GetID(PyInterpreterState_Get());
    int64_t found = -1;
    if (!atomic_compare_exchange_strong(&user, &found, mine) && found != mine) {
        PyErr_SetString(PyExc_ImportError,
                        "lstm_fast works in one interpreter of a process, as NumPy does: "
                        "use threads or processes instead of more interpreters");
        return -1;
    }
    if (!long_step)
        long_step = PyUnicode_InternFromString("_long_step");
    if (!core_stream_type)
        core_stream_type = (PyTypeObject *)PyType_FromSpec(&core_stream_spec);
    return long_step && core_stream_type ? PyModule_AddType(module, core_stream_type) : -1;
}

/* Those of the stable ABI from 3.10 have none but the first, and older interpreters take no other: hence the look above. */
static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, NULL}, /* fill, below: C has no constant of that kind */
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native_step", NULL, 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native_step(void) {
    slots[0].value = (void *)(uintptr_t)fill;
    return PyModuleDef_Init(&definition);
}
