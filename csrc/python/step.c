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
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../pool/pool.h"
#include "../program/program.h"
#include "../tuning.h"

enum { NOT_THIS_WAY = -1 };

/* NumPy's own, side by side; an array of another dtype goes the long way. Null: so does everything. */
static struct {
    PyTypeObject *array;
    PyArray_Descr *float32, *uint64;
} numpy;

static const char long_step[] = "_long_step"; /* where a class has its step in Python */

/* An ndarray, and no subclass since that may mean something by it, of that dtype, C-contiguous. */
static int is_plain(PyObject *object, PyArray_Descr *dtype, int dimensions, int writable) {
    if (Py_TYPE(object) != numpy.array)
        return 0;
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_DESCR(array) == dtype && PyArray_NDIM(array) == dimensions &&
           PyArray_IS_C_CONTIGUOUS(array) && (!writable || PyArray_ISWRITEABLE(array));
}

static size_t size_of(PyObject *array, int dimension) {
    return (size_t)PyArray_DIM((PyArrayObject *)array, dimension);
}

static void *data_of(PyObject *array) { return PyArray_DATA((PyArrayObject *)array); }

/* ---- CoreStream: the base of streams that have the core's stream where C finds it ---- */

typedef struct frame_shape {
    int rank;
    npy_intp sizes[LF_MAX_RANK];
} frame_shape;

static int is_frame(PyObject *object, const frame_shape *shape, int writable) {
    if (!is_plain(object, numpy.float32, shape->rank, writable))
        return 0;
    const npy_intp *sizes = PyArray_DIMS((PyArrayObject *)object);
    for (int axis = 0; axis < shape->rank; axis++)
        if (sizes[axis] != shape->sizes[axis])
            return 0;
    return 1;
}

typedef struct CoreStream {
    PyObject head;     /* as PyObject_HEAD */
    lf_stream *stream; /* borrowed; null until _attach */
    int is_quick;      /* its steps keep Python's lock */
    frame_shape x, y;  /* of a step's input and output */
} CoreStream;

static int take_shape(frame_shape *shape, PyObject *sizes) {
    const Py_ssize_t rank = PyTuple_Size(sizes);
    if (rank > LF_MAX_RANK) {
        PyErr_SetString(PyExc_ValueError, "_attach: a shape has too many axes");
        return 0;
    }
    shape->rank = (int)rank;
    for (Py_ssize_t axis = 0; axis < rank; axis++)
        shape->sizes[axis] = PyLong_AsSsize_t(PyTuple_GetItem(sizes, axis));
    return !PyErr_Occurred();
}

/*
 * A short step keeps Python's lock: it takes a few microseconds, as much as numpy does for a thousand elements without
 * letting go of it. Two threads that give it up for that long hand it to and fro, which is slower than one thread, with
 * a p99 above ten times the step.
 */
static PyObject *attach(PyObject *self, PyObject *arguments) {
    CoreStream *const core = (CoreStream *)self;
    PyObject *address, *x, *y;
    Py_ssize_t packed_bytes;
    if (!PyArg_ParseTuple(arguments, "OnO!O!", &address, &packed_bytes, &PyTuple_Type, &x,
                          &PyTuple_Type, &y) ||
        !take_shape(&core->x, x) || !take_shape(&core->y, y))
        return NULL;
    lf_stream *stream = PyLong_AsVoidPtr(address);
    if (!stream && PyErr_Occurred())
        return NULL;
    core->stream = stream;
    core->is_quick = (size_t)packed_bytes < LF_KEEPS_PYTHONS_LOCK;
    Py_RETURN_NONE;
}

static PyMethodDef core_stream_methods[] = {
    {"_attach", attach, METH_VARARGS,
     "Take the address of an lf_stream that lives as long as this, how many bytes of weights a "
     "step "
     "reads, and the shapes of its x and y."},
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

/* ---- step(x, out=None) of a stream whose frames and results are one float32 array each ---- */

/*
 * The names in step(x, out=y), ("out",): a constant of the code that calls, so the next call comes with the
 * same tuple, and who knows it need not look into it, which when cold is half a microsecond.
 */
static PyObject *out_alone;

/* Finds x and out among the arguments; 0 where there are others, or too few. */
static int find_arguments(PyObject *const *arguments, Py_ssize_t count, PyObject *names,
                          PyObject *found[2]) {
    if (count == 1 && names && names == out_alone) {
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
        PyObject *former = out_alone;
        Py_INCREF(names); /* so that no other tuple is ever found at its address */
        out_alone = names;
        Py_XDECREF(former);
    }
    return found[0] != NULL;
}

/* Converts, or says what is wrong. */
static PyObject *step_the_long_way(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                   PyObject *names) {
    PyObject *step = PyObject_GetAttrString(self, long_step);
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

static PyObject *step(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                      PyObject *names) {
    PyObject *found[2] = {NULL, NULL};
    const CoreStream *const core = (CoreStream *)self;
    lf_stream *const stream = core->stream;
    if (!stream || !find_arguments(arguments, count, names, found) ||
        !is_frame(found[0], &core->x, 0))
        return step_the_long_way(self, arguments, count, names);

    PyObject *y = found[1];
    int status = NOT_THIS_WAY;
    if (!y || y == Py_None) {
        y = PyArray_SimpleNew(core->y.rank, (npy_intp *)core->y.sizes, NPY_FLOAT32);
        if (!y)
            return NULL;
    } else {
        Py_INCREF(y);
    }
    if (is_frame(y, &core->y, 1)) {
        const float *x_data = data_of(found[0]);
        float *y_data = data_of(y);
        if (core->is_quick) {
            status = (int)lf_stream_step_f32(stream, x_data, y_data);
        } else {
            PyThreadState *state = PyEval_SaveThread();
            status = (int)lf_stream_step_f32(stream, x_data, y_data);
            PyEval_RestoreThread(state);
        }
    }
    if (status == LF_OK)
        return y;
    Py_DECREF(y);
    return step_the_long_way(self, arguments, count, names);
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
    const int failed = !method || PyObject_SetAttrString(type, long_step, in_python) < 0 ||
                       PyObject_SetAttrString(type, "step", method) < 0;
    Py_XDECREF(in_python);
    Py_XDECREF(method);
    if (failed)
        return NULL;
    numpy.uint64 = PyArray_DescrFromType(NPY_UINT64);
    numpy.float32 = PyArray_DescrFromType(NPY_FLOAT32);
    numpy.array = &PyArray_Type; /* last: it says that all is there */
    Py_RETURN_TRUE;
}

/* ---- StreamPool.step ---- */

/* pool_step(address of an lf_pool, handles, xs, ys) -> lf_status, or NOT_THIS_WAY: nothing done. */
static PyObject *pool_step(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    (void)module;
    lf_pool *pool = count == 4 ? PyLong_AsVoidPtr(arguments[0]) : NULL;
    if (!pool)
        return PyErr_Occurred() ? NULL : PyLong_FromLong(NOT_THIS_WAY);
    PyObject *handles = arguments[1], *xs = arguments[2], *ys = arguments[3];
    if (!is_plain(handles, numpy.uint64, 1, 0) || !is_plain(xs, numpy.float32, 2, 0) ||
        !is_plain(ys, numpy.float32, 2, 1))
        return PyLong_FromLong(NOT_THIS_WAY);
    const size_t n = size_of(handles, 0);
    if (size_of(xs, 0) != n || size_of(xs, 1) != pool->model->input_size || size_of(ys, 0) != n ||
        size_of(ys, 1) != pool->model->output_size)
        return PyLong_FromLong(NOT_THIS_WAY);
    const unsigned long long *handle_data = data_of(handles);
    const float *x_data = data_of(xs);
    float *y_data = data_of(ys);
    PyThreadState *state = PyEval_SaveThread();
    const lf_status status = lf_pool_step_f32(pool, handle_data, n, x_data, y_data, NULL);
    PyEval_RestoreThread(state);
    return PyLong_FromLong((long)status);
}

/* ---- long runs, in pieces: between them Python's signal handlers get their turn ---- */

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

/* piece_steps(model) -> how many steps of one session are one piece. */
static PyObject *piece_steps(PyObject *module, PyObject *address) {
    const lf_model *model = PyLong_AsVoidPtr(address);
    (void)module;
    if (!model)
        return PyErr_Occurred() ? NULL : PyLong_FromLong(NOT_THIS_WAY);
    return PyLong_FromSize_t(lf_piece_steps(model, 1));
}

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS, NULL},
    {"pool_step", (PyCFunction)(void (*)(void))pool_step, METH_FASTCALL, NULL},
    {"piece_steps", piece_steps, METH_O, NULL},
    {"stream_run", stream_run, METH_VARARGS, NULL},
    {"pool_run", pool_run, METH_VARARGS, NULL},
    {"stream_run_values", stream_run_values, METH_VARARGS, NULL},
    {"pool_run_values", pool_run_values, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native_step", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native_step(void) {
    PyObject *module = PyModule_Create(&definition);
    core_stream_type = module ? (PyTypeObject *)PyType_FromSpec(&core_stream_spec) : NULL;
    if (!core_stream_type || PyModule_AddType(module, core_stream_type) < 0) {
        Py_XDECREF(module);
        return NULL;
    }
    return module;
}
