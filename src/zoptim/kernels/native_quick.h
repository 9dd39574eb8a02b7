/* Small calls without ceremony: `form` of a few numbers straight from Python objects.

   What it is: the one part that needs Python's headers, compiled where they are (setup.py looks); the
   library is then also an extension module, whose functions take what `zoptim.kernels.form` takes.
   What it is not: a second edition, nor a place for errors: whatever is large, unusual or wrong is
   answered with False, and the caller goes the long way, which computes it or says what is wrong. */

#define Py_LIMITED_API 0x030B0000
#include <Python.h>

enum { QUICK_WORK = 1 << 15, QUICK_DRAWS = 128 };

static int64_t quick_isa = -1;
static uint64_t quick_table = 0; /* of normals; 0: not built yet */

/* Three addresses with their shapes, let go of together. */
typedef struct {
    Py_buffer of[3];
    int held;
} quick_held;

static const Py_buffer *quick_hold(quick_held *h, PyObject *array, int flags) {
    Py_buffer *view = &h->of[h->held];
    if (!PyObject_CheckBuffer(array)) return NULL;
    if (PyObject_GetBuffer(array, view, flags | PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)) {
        PyErr_Clear();
        return NULL;
    }
    h->held++;
    return view;
}

static void quick_release(quick_held *h) {
    while (h->held) PyBuffer_Release(&h->of[--h->held]);
}

/* ZO_F32, ZO_F64, or -1; a format of native numbers is one letter. */
static int64_t quick_dtype(const Py_buffer *view) {
    const char *f = view->format;
    if (!f || !f[0] || f[1]) return -1;
    return f[0] == 'd' ? ZO_F64 : f[0] == 'f' ? ZO_F32 : -1;
}

/* Pairs (t, i) of draws, whose first two fields those are; -1: not all are in range. */
static int64_t quick_draws(PyObject *draws, uint32_t *to) {
    const Py_ssize_t k = PyTuple_Check(draws) ? PyTuple_Size(draws) : -1;
    if (k < 0 || k > QUICK_DRAWS) return -1;
    for (Py_ssize_t j = 0; j < k; j++) {
        PyObject *draw = PyTuple_GetItem(draws, j);
        if (!PyTuple_Check(draw) || PyTuple_Size(draw) < 2) return -1;
        for (int side = 0; side < 2; side++) {
            PyObject *number = PyTuple_GetItem(draw, side);
            const long long n = PyLong_Check(number) ? PyLong_AsLongLong(number) : -1;
            if (n < 0 || n >= (side ? 1LL << 24 : 1LL << 32)) {
                PyErr_Clear(); /* of a number beyond 64 bits */
                return -1;
            }
            to[2 * j + side] = (uint32_t)n;
        }
    }
    return (int64_t)k;
}

/* What out, base and coefs have to be; fills sizes and addresses in. */
static int quick_shapes(zo_form *a, quick_held *h, PyObject *out, PyObject *base, PyObject *coefs) {
    const Py_buffer *o = quick_hold(h, out, PyBUF_WRITABLE);
    if (!o || o->ndim < 2 || (a->dtype = quick_dtype(o)) < 0) return 0;
    a->m = o->shape[0], a->nrows = o->shape[1], a->cols = 1;
    for (int s = 2; s < o->ndim; s++) a->cols *= o->shape[s];
    a->out = (uint64_t)(uintptr_t)o->buf;
    if (a->nrows * a->cols <= 0 || a->m <= 0) return 0;
    const Py_buffer *c = quick_hold(h, coefs, 0);
    if (!c || c->ndim != 2 || quick_dtype(c) != ZO_F64 || c->shape[0] != a->m || c->shape[1] != a->k) return 0;
    a->coefs = (uint64_t)(uintptr_t)c->buf;
    if (base == Py_None) return 1;
    const Py_buffer *b = quick_hold(h, base, 0);
    if (!b || b->ndim != o->ndim - 1 || quick_dtype(b) != a->dtype) return 0;
    for (int s = 0; s < b->ndim; s++)
        if (b->shape[s] != o->shape[s + 1]) return 0;
    a->base = (uint64_t)(uintptr_t)b->buf;
    const uint64_t bytes = (uint64_t)b->len;
    const int apart = a->base >= a->out + (uint64_t)o->len || a->out >= a->base + bytes;
    return apart || (a->m == 1 && a->base == a->out);
}

/* form(out, base, law, key, slot, rows, draws, coefs, scale) -> whether it is done. */
static PyObject *quick_form(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    (void)self;
    uint32_t draws[2 * QUICK_DRAWS];
    quick_held held = {.held = 0};
    Py_ssize_t start, stop, step;
    zo_form a = {.isa = quick_isa, .threads = 1, .t = -1, .table = quick_table};
    int done = 0;
    if (count != 9 || quick_isa < 0 || !PyUnicode_Check(args[2])) Py_RETURN_FALSE;
    a.law = PyUnicode_CompareWithASCIIString(args[2], "signs") ? ZO_NORMAL : ZO_SIGNS;
    if (a.law == ZO_NORMAL && (!quick_table || PyUnicode_CompareWithASCIIString(args[2], "normal"))) Py_RETURN_FALSE;
    if (!PyLong_Check(args[3]) || !PyLong_Check(args[4]) || !PySlice_Check(args[5])) Py_RETURN_FALSE;
    a.key = PyLong_AsUnsignedLongLong(args[3]);
    a.slot = PyLong_AsLongLong(args[4]);
    a.scale = PyFloat_Check(args[8]) ? PyFloat_AsDouble(args[8]) : NAN;
    if (PyErr_Occurred() || PySlice_Unpack(args[5], &start, &stop, &step)) {
        PyErr_Clear();
        Py_RETURN_FALSE;
    }
    a.k = quick_draws(args[6], draws);
    if (a.k >= 0 && a.slot >= 0 && a.slot < 1LL << 32 && start >= 0 && start < 1LL << 35 && step == 1 &&
        PyFloat_Check(args[8]) && quick_shapes(&a, &held, args[0], args[1], args[7])) {
        const int64_t total = a.nrows * a.cols;
        const int few = total <= QUICK_WORK && total * (a.m + a.k) <= QUICK_WORK;
        a.offset = few ? start * a.cols : 0;
        a.nrows = 1, a.cols = total; /* rows of a range are one run */
        done = few && (stop == PY_SSIZE_T_MAX || stop - start == held.of[0].shape[1]) &&
               a.offset + total <= 1LL << 35 && !zoptim_form(&a, draws, (const double *)(uintptr_t)a.coefs, NULL);
    }
    quick_release(&held);
    return PyBool_FromLong(done);
}

/* use(isa, table): the edition, -1 for none, and the address of the normal table, 0 while there is none. */
static PyObject *quick_use(PyObject *self, PyObject *args) {
    long long isa;
    unsigned long long table;
    (void)self;
    if (!PyArg_ParseTuple(args, "LK", &isa, &table)) return NULL;
    quick_isa = isa, quick_table = table;
    Py_RETURN_NONE;
}

static PyMethodDef quick_methods[] = {
    {"form", (PyCFunction)(void (*)(void))quick_form, METH_FASTCALL, NULL},
    {"use", quick_use, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef quick_module = {
    PyModuleDef_HEAD_INIT, "_native", "The native kernels; see zoptim.kernels.native.", -1, quick_methods,
    NULL, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModule_Create(&quick_module); }
