/*
 * What a step takes and gives, as NumPy's arrays: whether each is right as it is, and where it lies. Included once,
 * by step.c, behind NumPy.
 */
#ifndef LF_PYTHON_ENDS_H
#define LF_PYTHON_ENDS_H

#include <stdlib.h>
#include <string.h>

#include "../program/program.h"

/* A called one costs a step of a stream 5 ns of its 95. */
#define INLINED static inline __attribute__((always_inline))

enum { MOST_ENDS = 16, KINDS = 3 }; /* a model with more inputs or outputs goes the long way */

static const char *const kind_names[KINDS] = {"float32", "int64", "bool"};
static const int kind_numbers[KINDS] = {NPY_FLOAT32, NPY_INT64, NPY_BOOL};

/* NumPy's own, side by side; an array of another dtype goes the long way. Null: so does everything. */
static struct {
    PyTypeObject *array;
    PyArray_Descr *kinds[KINDS], *uint64;
} numpy;

static void know_numpy(void) {
    for (int kind = 0; kind < KINDS; kind++)
        numpy.kinds[kind] = PyArray_DescrFromType(kind_numbers[kind]);
    numpy.uint64 = PyArray_DescrFromType(NPY_UINT64);
    numpy.array = &PyArray_Type; /* last: it says that all is there */
}

/* An ndarray, and no subclass since that may mean something by it, of that dtype, C-contiguous. */
INLINED int is_plain(PyObject *object, PyArray_Descr *dtype, int dimensions, int writable) {
    if (Py_TYPE(object) != numpy.array)
        return 0;
    PyArrayObject *array = (PyArrayObject *)object;
    return PyArray_DESCR(array) == dtype && PyArray_NDIM(array) == dimensions &&
           PyArray_IS_C_CONTIGUOUS(array) && (!writable || PyArray_ISWRITEABLE(array));
}

static void *data_of(PyObject *array) { return PyArray_DATA((PyArrayObject *)array); }

/* ---- the ends of a model: its inputs and outputs ---- */

typedef struct end {
    PyObject *name; /* in a mapping; null where it is given alone, never in one */
    int kind, rank;
    npy_intp sizes[LF_MAX_RANK];
} end;

typedef struct ends {
    Py_ssize_t input_count, output_count;
    end all[2 * MOST_ENDS]; /* the inputs, then the outputs */
} ends;

static const char ends_name[] = "lstm_fast.ends"; /* of the capsule that they are in */

static void destroy_ends(PyObject *capsule) {
    ends *const all = PyCapsule_GetPointer(capsule, ends_name);
    for (Py_ssize_t n = 0; all && n < all->input_count + all->output_count; n++)
        Py_XDECREF(all->all[n].name);
    free(all);
}

/* From (name or None, kind, shape). */
static int take_end(end *one, PyObject *described) {
    PyObject *name, *sizes;
    const char *kind;
    if (!PyArg_ParseTuple(described, "OsO!", &name, &kind, &PyTuple_Type, &sizes))
        return 0;
    while (one->kind < KINDS && strcmp(kind, kind_names[one->kind]) != 0)
        one->kind++;
    one->rank = (int)PyTuple_Size(sizes);
    if (one->kind == KINDS || one->rank > LF_MAX_RANK) {
        PyErr_SetString(PyExc_ValueError, "ends: an unknown kind, or a shape of too many axes");
        return 0;
    }
    for (Py_ssize_t axis = 0; axis < one->rank; axis++)
        one->sizes[axis] = PyLong_AsSsize_t(PyTuple_GetItem(sizes, axis));
    if (PyErr_Occurred())
        return 0;
    if (name != Py_None) {
        Py_INCREF(name);
        one->name = name;
    }
    return 1;
}

/* ends(inputs, outputs), tuples of them -> a capsule; None: their steps go the long way. */
static PyObject *make_ends(PyObject *module, PyObject *arguments) {
    PyObject *inputs, *outputs;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O!O!", &PyTuple_Type, &inputs, &PyTuple_Type, &outputs))
        return NULL;
    const Py_ssize_t input_count = PyTuple_Size(inputs), output_count = PyTuple_Size(outputs);
    if (!numpy.array || input_count < 1 || input_count > MOST_ENDS || output_count < 1 ||
        output_count > MOST_ENDS)
        Py_RETURN_NONE;
    ends *const made = calloc(1, sizeof *made);
    if (!made)
        return PyErr_NoMemory();
    made->input_count = input_count;
    made->output_count = output_count;
    PyObject *capsule = PyCapsule_New(made, ends_name, destroy_ends);
    if (!capsule)
        free(made);
    for (Py_ssize_t n = 0; capsule && n < input_count + output_count; n++) {
        PyObject *described = n < input_count ? PyTuple_GetItem(inputs, n)
                                              : PyTuple_GetItem(outputs, n - input_count);
        if (!take_end(&made->all[n], described))
            Py_CLEAR(capsule);
    }
    return capsule;
}

/* ---- the arrays of a call ---- */

/*
 * It holds on to them where nobody else may: while Python's lock is given up, and to those of a dict. A caller holds
 * on to its arguments until the call returns, with that lock or without.
 */
typedef struct call {
    void *inputs[MOST_ENDS], *outputs[MOST_ENDS];
    PyObject *held[2 * MOST_ENDS];
    Py_ssize_t held_count;
    PyObject *result;
    int keeps_lock;
} call;

INLINED void let_go(call *all) {
    while (all->held_count > 0)
        Py_DECREF(all->held[--all->held_count]);
}

/* sessions: how many values stand in a pool's array; null for a single one. */
INLINED int is_value(PyObject *object, const end *one, const npy_intp *sessions, int writable) {
    if (!is_plain(object, numpy.kinds[one->kind], one->rank + (sessions != NULL), writable))
        return 0;
    const npy_intp *sizes = PyArray_DIMS((PyArrayObject *)object);
    if (sessions && *sizes++ != *sessions)
        return 0;
    for (int axis = 0; axis < one->rank; axis++)
        if (sizes[axis] != one->sizes[axis])
            return 0;
    return 1;
}

static PyObject *new_value(const end *one, const npy_intp *sessions) {
    npy_intp sizes[1 + LF_MAX_RANK];
    int rank = 0;
    if (sessions)
        sizes[rank++] = *sessions;
    for (int axis = 0; axis < one->rank; axis++)
        sizes[rank++] = one->sizes[axis];
    return PyArray_SimpleNew(rank, sizes, kind_numbers[one->kind]);
}

/* A value of a dict, which is the call's own: another thread may take it out of the dict meanwhile. */
INLINED PyObject *take_value(PyObject *of, PyObject *name) {
    PyObject *value;
#ifdef Py_GIL_DISABLED
    if (PyDict_GetItemRef(of, name, &value) < 0)
        return NULL;
#else
    value = PyDict_GetItemWithError(of, name);
    Py_XINCREF(value);
#endif
    return value;
}

/* Those that a caller gives: a dict of all names, or the only value there is. */
INLINED int take_given(call *all, const end *one, Py_ssize_t count, PyObject *given,
                       const npy_intp *sessions, int writable, void **data) {
    const int is_dict = one->name && PyDict_CheckExact(given);
    if ((is_dict ? PyDict_Size(given) : 1) != count)
        return 0;
    for (Py_ssize_t n = 0; n < count; n++) {
        PyObject *value = is_dict ? take_value(given, one[n].name) : given;
        if (!value)
            return 0;
        if (is_dict) /* making results may collect garbage, whose finalizer may empty it */
            all->held[all->held_count++] = value;
        if (!is_value(value, &one[n], sessions, writable))
            return 0;
        data[n] = data_of(value);
        if (all->keeps_lock || is_dict)
            continue;
        Py_INCREF(value);
        all->held[all->held_count++] = value;
    }
    return 1;
}

/* New ones, and what is returned: a dict where they are several. */
static int make_results(call *all, const end *one, Py_ssize_t count, const npy_intp *sessions) {
    PyObject *named = count > 1 ? PyDict_New() : NULL;
    if (count > 1 && !named)
        return 0;
    int failed = 0;
    for (Py_ssize_t n = 0; !failed && n < count; n++) {
        PyObject *value = new_value(&one[n], sessions);
        failed = !value || (named && PyDict_SetItem(named, one[n].name, value) < 0);
        if (value) {
            all->held[all->held_count++] = value;
            all->outputs[n] = data_of(value);
            all->result = value;
        }
    }
    if (named)
        all->result = named; /* where it failed, begin lets go of it */
    else
        Py_XINCREF(all->result);
    return !failed;
}

/*
 * Takes or makes all arrays; `finish` must follow. 0: nothing is held, and it must go the long way. keeps_lock:
 * whether Python's lock is kept until then.
 */
INLINED int begin(call *all, const ends *of, PyObject *given, PyObject *out,
                  const npy_intp *sessions, int keeps_lock) {
    const end *const outputs = of->all + of->input_count;
    all->keeps_lock = keeps_lock;
    all->held_count = 0;
    all->result = NULL;
    int is_taken = take_given(all, of->all, of->input_count, given, sessions, 0, all->inputs);
    if (is_taken && (!out || out == Py_None)) {
        is_taken = make_results(all, outputs, of->output_count, sessions);
    } else if (is_taken) {
        is_taken = take_given(all, outputs, of->output_count, out, sessions, 1, all->outputs);
        Py_INCREF(out);
        all->result = out;
    }
    if (is_taken)
        return 1;
    let_go(all);
    Py_CLEAR(all->result);
    PyErr_Clear(); /* the long way meets the same, and says it */
    return 0;
}

/* What the call returns; null, without an error set, where the long way is to say what the status means. */
INLINED PyObject *finish(call *all, lf_status status) {
    let_go(all);
    if (status != LF_OK)
        Py_CLEAR(all->result);
    return all->result;
}

#endif
