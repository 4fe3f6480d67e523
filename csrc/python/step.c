/*
 * The short way from Python into one step: what cffi takes 0.5 us for (two buffers, their checks, the
 * call) in a third of that. A module of its own inside the extension that cffi builds; everything
 * else goes through cffi, and what this can't take is left to the long way.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#include "../pool.h"

/* In the stable ABI since 3.11, with the layout and the values that 3.10 has, too. */
#if Py_LIMITED_API < 0x030B0000
typedef struct {
    void *buf;
    PyObject *obj;
    Py_ssize_t len, itemsize;
    int readonly, ndim;
    char *format;
    Py_ssize_t *shape, *strides, *suboffsets;
    void *internal;
} Py_buffer;
PyAPI_FUNC(int) PyObject_GetBuffer(PyObject *object, Py_buffer *view, int flags);
PyAPI_FUNC(void) PyBuffer_Release(Py_buffer *view);
#define PyBUF_WRITABLE 0x0001
#define PyBUF_FORMAT 0x0004
#define PyBUF_C_CONTIGUOUS (0x0020 | 0x0010 | 0x0008)
#endif

enum { NOT_THIS_WAY = -1 };

/* What NumPy calls uint64: unsigned long where that has 64 bits. */
#define HANDLE_FORMAT (sizeof(long) == 8 ? 'L' : 'Q')

static PyObject
    *ndarray; /* numpy.ndarray; exactly that, since a subclass may mean something by it */

/* A C-contiguous ndarray of that many dimensions and type; to be released if this is so. */
static int get_array(PyObject *object, int dimensions, char type, int writable, Py_buffer *view) {
    if ((PyObject *)Py_TYPE(object) != ndarray)
        return 0;
    if (PyObject_GetBuffer(object, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | writable) < 0) {
        PyErr_Clear(); /* the long way says it better */
        return 0;
    }
    if (view->ndim == dimensions && view->format && view->format[0] == type && !view->format[1])
        return 1;
    PyBuffer_Release(view);
    return 0;
}

/* step(address of an lf_stream, x, y) -> an lf_status, or NOT_THIS_WAY with nothing done. */
static PyObject *step(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    Py_buffer x, y;
    long status = NOT_THIS_WAY;
    (void)module;
    lf_stream *stream = count == 3 ? PyLong_AsVoidPtr(arguments[0]) : NULL;
    if (!stream)
        return PyErr_Occurred() ? NULL : PyLong_FromLong(NOT_THIS_WAY);
    if (get_array(arguments[1], 1, 'f', 0, &x)) {
        if (get_array(arguments[2], 1, 'f', PyBUF_WRITABLE, &y)) {
            if (x.shape[0] == (Py_ssize_t)stream->model->input_size &&
                y.shape[0] == (Py_ssize_t)stream->model->hidden_size) {
                PyThreadState *state = PyEval_SaveThread();
                status = (long)lf_stream_step_f32(stream, x.buf, y.buf);
                PyEval_RestoreThread(state);
            }
            PyBuffer_Release(&y);
        }
        PyBuffer_Release(&x);
    }
    return PyLong_FromLong(status);
}

/* pool_step(address of an lf_pool, handles, xs, ys) -> as step. */
static PyObject *pool_step(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    Py_buffer handles, xs, ys;
    long status = NOT_THIS_WAY;
    (void)module;
    lf_pool *pool = count == 4 ? PyLong_AsVoidPtr(arguments[0]) : NULL;
    if (!pool)
        return PyErr_Occurred() ? NULL : PyLong_FromLong(NOT_THIS_WAY);
    if (get_array(arguments[1], 1, HANDLE_FORMAT, 0, &handles)) {
        if (get_array(arguments[2], 2, 'f', 0, &xs)) {
            if (get_array(arguments[3], 2, 'f', PyBUF_WRITABLE, &ys)) {
                const Py_ssize_t n = handles.shape[0];
                if (xs.shape[0] == n && ys.shape[0] == n &&
                    xs.shape[1] == (Py_ssize_t)pool->model->input_size &&
                    ys.shape[1] == (Py_ssize_t)pool->model->hidden_size) {
                    PyThreadState *state = PyEval_SaveThread();
                    status =
                        (long)lf_pool_step_f32(pool, handles.buf, (size_t)n, xs.buf, ys.buf, NULL);
                    PyEval_RestoreThread(state);
                }
                PyBuffer_Release(&ys);
            }
            PyBuffer_Release(&xs);
        }
        PyBuffer_Release(&handles);
    }
    return PyLong_FromLong(status);
}

static PyObject *use_type(PyObject *module, PyObject *type) {
    (void)module;
    Py_INCREF(type);
    ndarray = type;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"step", (PyCFunction)(void (*)(void))step, METH_FASTCALL, NULL},
    {"pool_step", (PyCFunction)(void (*)(void))pool_step, METH_FASTCALL, NULL},
    {"use_type", use_type, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native_step", NULL, -1, methods, NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native_step(void) { return PyModule_Create(&definition); }
