/*
 * The short ways from Python into a step. What cffi and the buffer protocol cost in code is little when
 * it is warm and 10 us when it is not, which it never is in a service that wakes every 20 ms; so here
 * arrays are read where NumPy keeps their facts, and a step is one method call with no frame of
 * Python in between. A module of its own inside the extension that cffi builds; everything else goes
 * through cffi, and what this can't take is left to the long way.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#define NPY_NO_DEPRECATED_API NPY_2_0_API_VERSION
#include <numpy/arrayobject.h>
#include <stdlib.h>
#include <string.h>

#include "../pool.h"

enum { NOT_THIS_WAY = -1 };

static PyArray_Descr *float32, *uint64; /* NumPy's own; an array of another one goes the long way */
static PyObject *address_name;          /* the attribute that holds a stream's address */
static PyObject *long_step;             /* Stream.step */

/* An ndarray, and no subclass since that may mean something by it, of that dtype, C-contiguous. */
static int is_plain(PyObject *object, PyArray_Descr *dtype, int dimensions, int writable) {
    if (!float32 || !PyArray_CheckExact(object))
        return 0;
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_DESCR(array) == dtype && PyArray_NDIM(array) == dimensions &&
           PyArray_IS_C_CONTIGUOUS(array) && (!writable || PyArray_ISWRITEABLE(array));
}

static size_t size_of(PyObject *array, int dimension) {
    return (size_t)PyArray_DIM((PyArrayObject *)array, dimension);
}

static void *data_of(PyObject *array) { return PyArray_DATA((PyArrayObject *)array); }

/* ---- Stream.step(x, out=None) ---- */

/* Finds x and out among the arguments; 0 where there are others, or too few. */
static int find_arguments(PyObject *const *arguments, Py_ssize_t count, PyObject *names,
                          PyObject *found[2]) {
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
    return found[0] != NULL;
}

/* Converts, or says what is wrong. */
static PyObject *step_the_long_way(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                                   PyObject *names) {
    PyObject *result = NULL, *keywords = PyDict_New(), *positional = PyTuple_New(count + 1);
    int failed = !keywords || !positional;
    if (positional) {
        Py_INCREF(self);
        failed |= PyTuple_SetItem(positional, 0, self) < 0;
    }
    for (Py_ssize_t n = 0; !failed && n < count; n++) {
        Py_INCREF(arguments[n]);
        failed = PyTuple_SetItem(positional, n + 1, arguments[n]) < 0;
    }
    for (Py_ssize_t n = 0; !failed && names && n < PyTuple_Size(names); n++)
        failed = PyDict_SetItem(keywords, PyTuple_GetItem(names, n), arguments[count + n]) < 0;
    if (!failed)
        result = PyObject_Call(long_step, positional, keywords);
    Py_XDECREF(positional);
    Py_XDECREF(keywords);
    return result;
}

static PyObject *step(PyObject *self, PyObject *const *arguments, Py_ssize_t count,
                      PyObject *names) {
    PyObject *found[2] = {NULL, NULL};
    if (!find_arguments(arguments, count, names, found) || !is_plain(found[0], float32, 1, 0))
        return step_the_long_way(self, arguments, count, names);
    PyObject *address = PyObject_GetAttr(self, address_name);
    lf_stream *stream = address ? PyLong_AsVoidPtr(address) : NULL;
    Py_XDECREF(address);
    if (!stream)
        return NULL;

    const size_t size = stream->model->output_size;
    PyObject *y = found[1];
    int status = NOT_THIS_WAY;
    if (!y || y == Py_None) {
        npy_intp shape[1] = {(npy_intp)size};
        y = PyArray_SimpleNew(1, shape, NPY_FLOAT32);
        if (!y)
            return NULL;
    } else {
        Py_INCREF(y);
    }
    if (size_of(found[0], 0) == stream->model->input_size && is_plain(y, float32, 1, 1) &&
        size_of(y, 0) == size) {
        const float *x_data = data_of(found[0]);
        float *y_data = data_of(y);
        PyThreadState *state = PyEval_SaveThread();
        status = (int)lf_stream_step_f32(stream, x_data, y_data);
        PyEval_RestoreThread(state);
    }
    if (status == LF_OK)
        return y;
    Py_DECREF(y);
    return step_the_long_way(self, arguments, count, names);
}

/*
 * install(Stream, NativeStream, name of the attribute with the address): gives NativeStream its step.
 * Without a NumPy whose arrays look as this was built for, nothing happens, and steps go the long way.
 */
static PyObject *install(PyObject *module, PyObject *arguments) {
    static PyMethodDef definition = {"step", (PyCFunction)(void (*)(void))step,
                                     METH_FASTCALL | METH_KEYWORDS, NULL};
    static const char signature[] = "step($self, x, out=None)\n--\n\n";
    PyObject *base, *type, *name;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOU", &base, &type, &name))
        return NULL;
    if (PyArray_ImportNumPyAPI() < 0) {
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    long_step = PyObject_GetAttrString(base, "step");
    PyObject *text = long_step ? PyObject_GetAttrString(long_step, "__doc__") : NULL;
    Py_ssize_t length = 0;
    const char *doc = text && text != Py_None ? PyUnicode_AsUTF8AndSize(text, &length) : "";
    char *copy = doc ? malloc(sizeof signature + (size_t)length) : NULL; /* kept for ever */
    if (copy) {
        memcpy(copy, signature, sizeof signature);
        memcpy(copy + sizeof signature - 1, doc, (size_t)length + 1);
        definition.ml_doc = copy;
    }
    Py_XDECREF(text);
    if (!copy)
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    PyObject *method = PyDescr_NewMethod((PyTypeObject *)type, &definition);
    if (!method || PyObject_SetAttrString(type, "step", method) < 0) {
        Py_XDECREF(method);
        return NULL;
    }
    Py_DECREF(method);
    Py_INCREF(name);
    address_name = name;
    uint64 = PyArray_DescrFromType(NPY_UINT64);
    float32 = PyArray_DescrFromType(NPY_FLOAT32); /* last: it says that all is there */
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
    if (!is_plain(handles, uint64, 1, 0) || !is_plain(xs, float32, 2, 0) ||
        !is_plain(ys, float32, 2, 1))
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

static PyMethodDef methods[] = {
    {"install", install, METH_VARARGS, NULL},
    {"pool_step", (PyCFunction)(void (*)(void))pool_step, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native_step", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native_step(void) { return PyModule_Create(&definition); }
