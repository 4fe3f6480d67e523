/*
 * lstm_fast: an LSTM that is stepped one frame at a time. This is the only public header.
 *
 * The contract of arithmetic, for one layer with x [I], h [H], c [H], gates in the order i, f, g, o (what a
 * projection changes, which makes h [P], is with lf_cell_options):
 *
 *     a  = (b + sum_k W_ih[:,k] * x[k]) + (sum_k W_hh[:,k] * h[k])            b = b_ih + b_hh
 *     i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o);  g = tanh(a_g)
 *     c' = f * c + i * g;  h' = o * tanh(c')
 *
 * Numbers. Every value is a float32 of IEEE 754. Each +, -, *, / and sqrt is rounded on its own, and fma(a, b, c),
 * which is a * b + c, once: to nearest, ties to even, subnormal results kept. Zeros have their sign, and infinities and
 * NaN come about, as IEEE 754 says. Products and quotients come before sums, else formulas are computed from left to
 * right. c ? a : b is a where c holds, else b. No comparison holds for NaN. |x| clears the sign of x, and -x turns it. 0
 * is +0. Numbers with a p in them are C's, in hexadecimal: 0x1p3 is 8. 2^-100 and the like are float32, too.
 *
 * Sums. b is b_ih + b_hh, rounded, where one that is absent is +0. Each of the two sums is one chain of fma in ascending
 * k: s = fma(W[k], x[k], s). The first starts from b, the second from +0, and a is the one plus the other. c' is
 * fma(f, c, i * g), where i * g is rounded. sigmoid and tanh are those of lf_activation, to the bit.
 *
 * Canonical form. To make a value canonical is to replace a magnitude below 2^-126 by a zero of the same sign, and any
 * NaN by the quiet NaN 0x7FC00000. A frame is made canonical before anything else is done with it, and so are h and c
 * when they are set, h_0 and c_0; c' before tanh(c'), and h'. Nothing else is: not weights, not biases, not a, and not
 * what is between these lines. Which NaN an operation gives is left open; none but the canonical one comes out.
 *
 * The x of a layer above the first is the h' of the layer below it. That is all there is to the arithmetic, so every
 * instruction set returns the same bits, and so do step, run and any cut of a sequence between them. (As long as the
 * caller's floating-point environment is the usual one: round to nearest, subnormals not flushed by the CPU.)
 * tests/oracle is this text in exact integers.
 *
 * Every function that can fail returns an lf_status; on anything but LF_OK nothing has changed.
 * No function prints, sets errno on purpose, starts a thread or touches the floating-point
 * environment. step, run, reset, get_state, set_state and copy allocate nothing.
 *
 * Null: where it is not said what a null pointer means, it gives LF_ERR_ARGUMENT, or 0 or null from a function that
 * returns no status. An array of no elements may be null.
 *
 * Alignment: arrays of numbers (weights, frames, outputs, states, handles, lengths) and bytes may begin at any address.
 * Structs, arrays of pointers and of enum values, and what a single result is written to are aligned as C has them.
 *
 * Threads: an lf_model is immutable and may be shared. An lf_stream belongs to one caller at a
 * time; a second one gets LF_ERR_BUSY and neither is harmed. Destroying what is in use is a
 * caller's error.
 *
 * Forks: models, streams and pools may be used in the child of a fork as in the parent, and neither sees
 * what the other does. The child has none of the parent's other threads. Where one of them was inside a
 * call that writes a session's state, that state is half of a step in the child: each call on this session
 * gets LF_ERR_FORKED until it is reset, its state is set, or it is closed. All others go on to the bit, with
 * the same handles. This holds for fork(), which runs what pthread_atfork is given; a child of _Fork, vfork
 * or clone must not call anything here. A handle names a session of its process: the two may come to give the
 * same one to different sessions.
 */
#ifndef LSTM_FAST_H
#define LSTM_FAST_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The lines between the two marks are also what the Python binding is generated from. */
/* LF_CFFI_BEGIN */

enum { LF_MAX_SIZE = 268435456 }; /* 2^28: of an input, of a hidden state, and of a stack */

/* The values are pinned: they never change their meaning, new ones go to the end. */
typedef enum lf_status {
    LF_OK = 0,
    LF_ERR_ARGUMENT = 1,     /* a null pointer where one is needed, or an unknown enum value */
    LF_ERR_SHAPE = 2,        /* a size of zero, one too large, or a row too long for LF_INT8 */
    LF_ERR_MEMORY = 3,       /* the allocator said no */
    LF_ERR_NONFINITE = 4,    /* a weight, or b_ih + b_hh, is NaN or infinite */
    LF_ERR_ISA_UNKNOWN = 5,  /* no instruction set of that name was built in */
    LF_ERR_ISA_ABSENT = 6,   /* this CPU, or its OS, lacks what that instruction set needs */
    LF_ERR_OVERLAP = 7,      /* the output shares memory with the input */
    LF_ERR_BUSY = 8,         /* another thread is inside a call on this stream */
    LF_ERR_MODEL = 9,        /* the two streams belong to different models */
    LF_ERR_RANGE = 10,       /* a weight is too large for float16 */
    LF_ERR_HANDLE = 11,      /* a handle is stale, or of another pool, or was never given out */
    LF_ERR_REPEATED = 12,    /* a handle is given twice in one call */
    LF_ERR_FULL = 13,        /* every slot of the pool is taken */
    LF_ERR_FORKED = 14,      /* a fork came in the middle of a call on this session: see below */
    LF_ERR_FINGERPRINT = 15, /* the model was made without the fingerprint that a snapshot needs */
    LF_ERR_SNAPSHOT = 16,    /* not a snapshot, or damaged, or of another version */
    LF_ERR_WEIGHTS = 17,     /* the snapshot was taken with other weights, or of another model */
    LF_ERR_BITS = 18,        /* this build computes other bits: its flags change the arithmetic */
    LF_ERR_PROGRAM =
        19, /* these bytes are no .lfm file, are damaged, or no program that makes sense */
    LF_ERR_VERSION =
        20, /* a .lfm file of another version, or with an operation that is unknown here */
    LF_ERR_INDEX = 21, /* an index is beyond an embedding's table */
    LF_ERR_UNSUPPORTED =
        22, /* the core cannot compute this program: softplus in an LSTM's cell, int8 weights of
                        anything but an LSTM, or more values or operations than it takes */
    LF_ERR_KIND = 23 /* this model has other inputs or outputs than this call takes */
} lf_status;

/* The version of this library, such as "0.1.0"; a constant. */
const char *lf_version(void);

/* One constant sentence for a status; never null, also for values that are not an lf_status. */
const char *lf_status_text(int status);

/*
 * Instruction sets (ISAs) built into this library, best first. index < lf_isa_count().
 * lf_isa_missing: the CPU features that it needs and that are absent here, one per position from 0,
 * null past the last (so null at 0 where the ISA can run). The texts are constants of the library.
 * lf_isa_choose: the index of the ISA of that name, or,
 * for a null name, of the one in the environment variable LSTM_FAST_ISA, or else of the best.
 */
size_t lf_isa_count(void);
const char *lf_isa_name(size_t index);
const char *lf_isa_missing(size_t index, size_t position);
lf_status lf_isa_choose(const char *name, size_t *index);

/*
 * Whether the kernels of that ISA (as lf_isa_choose takes it) give the bits that they should: steps of small
 * models of each weight type against known ones, in about a millisecond. LF_ERR_BITS where they do not,
 * as in a build whose flags let the compiler fuse a multiplication with an addition.
 */
lf_status lf_self_test(const char *isa);

/*
 * How a model stores its weights: W_ih, W_hh and, where there is a projection, W_hr. Everything else, such as biases
 * and state, is float32 whatever the type is.
 *
 * LF_FLOAT16: each weight is rounded to a float16 of IEEE 754 when the model is made, to nearest, ties to even, with
 * float16's subnormals. A step widens it exactly, and the arithmetic is the float32 one above. A weight must not round
 * to infinity (65520 and more: LF_ERR_RANGE).
 *
 * LF_INT8: weights and what they are multiplied with become integers within +-127. round() is to the nearest integer,
 * ties to even; what stands in its brackets is computed in float32, as everywhere. clip() bounds to +-127.
 *
 *     weights   each row w of each of these matrices has a scale s of its own, s = max |w| / 127, and the integers
 *               round(w / s); where max |w| < 2^-100, s is 0 and so are they
 *     h         round(clip(h * 127)), with the scale t = 1 / 127
 *     a frame   round(clip(x * (127 / m))), with the scale t = m / 127, where m = max |x|; where m < 2^-100, t is 0 and
 *               so are they. That is x of the first layer. Above it x is the h of the layer below, and taken as that is
 *
 * Where a value of h or x is not finite, its t is NaN, whatever the integers are. S is the sum over k of the products of
 * these integers, a row's and those of x or h. It is exact; float(S) is S rounded to float32, which matters above 2^24,
 * so from rows of 1041 weights on. With 1 / 127, s_hh * t_h and s_ih * t_x rounded, too:
 *
 *     a = fma(float(S_hh), s_hh * t_h, fma(float(S_ih), s_ih * t_x, b))
 *
 * A product of scales that is infinite (weights times x above 5e42) may give NaN, as 0 times it is. Variants whose h may
 * leave [-1, 1] have another scale for it: see lf_cell_options. A row has 66311 weights at most (LF_ERR_SHAPE), so that
 * 32 bits hold S.
 */
typedef enum lf_weight_type { LF_FLOAT32 = 0, LF_FLOAT16 = 1, LF_INT8 = 2 } lf_weight_type;

/*
 * The activations, of x. Those with a name in brackets have these parameters. Of NaN each is NaN.
 *
 *     sigmoid                   y = 64 < x ? 64 : x;  s = fma(y, 0x1.715476p3, B);  n = s - B          B = 0x1.8007Fp23
 *                               d = fma(n, -0x1.62e43p-4, y);  r = fma(n, 0x1.05c61p-32, d)
 *                               z = fma(d, d, 2^-100);  p = fma(z, fma(d, 0x1.5556f8p-3, -0x1.000876p-1), r)
 *                               e = floor(n / 8);  u = E[n - 8 e] * 2^e, exactly
 *                               x < -0x1.5d589ep6 ? 0 : u / ((u + 1) - p)
 *       E[0] to E[7]            1, 0x1.172b84p0, 0x1.306fep0, 0x1.4bfdaep0, 0x1.6a09e6p0, 0x1.8ace54p0, 0x1.ae89fap0,
 *                               0x1.d5818ep0: the powers of 2^(1/8)
 *     tanh                      t = -|x|;  p and u of halves(t);  m = (p + (0.5 - u)) / (p + (0.5 + u))
 *                               t < -10 ? 1 : |m|, with the sign of x
 *       halves(t)               s = fma(t, -0x1.715476p1, B);  n = B - s;  r = fma(n, -0x1.62e43p-2, t)
 *                               z = -2^-60 < t ? 0 : r * r                                            B = 0x1.8000FCp23
 *                               q = fma(z, fma(z, 0x1.6bec04p-5, fma(r, 0x1.122768p-3, 0x1.555674p-2)),
 *                                       fma(r, 0x1.5554bp-1, 0x1.fffffep-1))
 *                               p = fma(z, q, r);  u = 2^(-n - 1)
 *     relu                      x < 0 ? 0 : x
 *     hard_sigmoid(alpha, beta) y = fma(alpha, x, beta);  y = y < 0 ? 0 : y;  1 < y ? 1 : y
 *     affine(alpha, beta)       fma(alpha, x, beta)
 *     leaky_relu(alpha)         x < 0 ? alpha * x : x
 *     thresholded_relu(alpha)   x < alpha ? 0 : x
 *     scaled_tanh(alpha, beta)  alpha * tanh(beta * x)
 *     elu(alpha)                p and u of halves(0.5 * (x < -20 ? -20 : x));  m = (p + (0.5 - u)) / u
 *                               x < 0 ? alpha * m : x
 *     softsign                  m = 2^60 < |x| ? 2^60 : |x|;  m / (1 + m), with the sign of x
 *
 * n is a whole number, since B, another one each time, is so large that its unit in the last place is 1. exp(2 t) is
 * (p + 0.5) / u of halves(t), so elu is alpha (exp(x) - 1).
 */
typedef enum lf_activation {
    LF_SIGMOID = 0,
    LF_TANH = 1,
    LF_HARD_SIGMOID = 2,
    LF_RELU = 3,
    LF_AFFINE = 4,
    LF_LEAKY_RELU = 5,
    LF_THRESHOLDED_RELU = 6,
    LF_SCALED_TANH = 7,
    LF_ELU = 8,
    LF_SOFTSIGN = 9
} lf_activation;

typedef struct lf_function {
    lf_activation name;
    float alpha, beta;
} lf_function;

/*
 * The cell where it is not the plain one; a struct of zeros but for `input` and `output`, which are
 * LF_TANH, is the plain one. These are done in this order, for all units of the layer. What is absent is left out.
 *
 *     1  a_i = fma(p_i, c, a_i);  a_f = fma(p_f, c, a_f)              p: peephole weights
 *     2  a_i, a_f and a_g are normalised, clipped to +-clip and activated:
 *        i = gate(a_i);  f = gate(a_f);  g = input(a_g)
 *     3  f = 1 - i with LF_FORGET_FROM_INPUT;  i = 1 - f with LF_INPUT_FROM_FORGET
 *     4  c' = fma(f, c, i * g), clipped to +-cell_clip, then made canonical
 *     5  a_o = fma(p_o, c', a_o);  a_o normalised, clipped to +-clip;  o = gate(a_o)
 *     6  r = o * output(c'), made canonical;  h' = r without a projection
 *     7  h' = sum_k W_hr[:,k] r[k], clipped to +-proj_clip, then made canonical
 *
 * The sum in 7 is one chain of fma in ascending k that starts from b_hr, or from +0 where that is absent. Clipping y to
 * +-bound, where bound > 0:  y = y < -bound ? -bound : y, then bound < y ? bound : y.
 *
 * Layer normalisation of a gate's H pre-activations a, with n its weights: both sums in a have started from +0, and
 *
 *     m = total(a) / H;  d = a - m;  v = 1 / sqrt(total of squares(d) / H + epsilon);  a = fma(n, d * v, b)
 *
 * A total is of sixteen sums: the r-th over the units j = r (mod 16) in ascending j from +0, all added in ascending r.
 * In that of squares each step is sum = fma(d, d, sum). H is rounded to float32.
 *
 * LF_INT8: h has the fixed scale only where it lives in [-1, 1]: without a projection and where gate and output are of
 * LF_SIGMOID, LF_TANH, LF_HARD_SIGMOID and LF_SOFTSIGN. Elsewhere h is scaled as a frame is, for its own layer and as x
 * of the one above. r, for W_hr, is always scaled as a frame is:  h' = fma(float(S_hr), s_hr * t_r, b_hr) in 7. With
 * layer normalisation b is +0 in the formula of a. A first layer with x_is_bounded has a frame scaled as an h in [-1, 1].
 */
typedef enum lf_coupling {
    LF_UNCOUPLED = 0,
    LF_FORGET_FROM_INPUT = 1,
    LF_INPUT_FROM_FORGET = 2
} lf_coupling;

typedef struct lf_cell_options {
    lf_function gate, input, output; /* of i, f and o; of g; of c' */
    float clip, cell_clip, proj_clip;
    lf_coupling coupling;
    float layer_norm_epsilon;
} lf_cell_options;

/* The weights of one layer, PyTorch's layout, gates i, f, g, o. Read during create only. P is
 * proj_size, or H where that is 0. What may be null is not there. */
typedef struct lf_layer_weights {
    const float *weight_ih; /* [4H][I] for layer 0, [4H][P] above it */
    const float *weight_hh; /* [4H][P] */
    const float *bias_ih;   /* [4H], or null for zeros */
    const float *bias_hh;   /* [4H], or null for zeros */
    /* From here on: variants, null without. */
    const float *weight_hr;  /* [P][H], where there is a proj_size */
    const float *bias_hr;    /* [P] */
    const float *peephole;   /* [3H], gates i, f, o */
    const float *layer_norm; /* [4H] */
    const float *h_0, *c_0;  /* [P], [H]: what a stream starts from, instead of zeros */
    int x_is_bounded; /* of layer 0: its input lives in [-1, 1], so LF_INT8 has a fixed scale */
    const lf_cell_options *cell; /* null for the plain one */
} lf_layer_weights;

typedef struct lf_model lf_model;   /* packed weights, immutable */
typedef struct lf_stream lf_stream; /* one session: its state and its scratch, nothing shared */

/*
 * Packs weights for one ISA (a name, or null: see lf_isa_choose). layers: [num_layers].
 * fingerprint: 32 bytes that stand for these weights, to which snapshots are bound, or null where none will be
 * taken. Python's `lstm.fingerprint` is those bytes in hexadecimal.
 * The model keeps no pointer into any of them. destroy(NULL) does nothing.
 * Weights that fit L2 and have a large page of their own are put where they are read most quickly, which takes about
 * a millisecond; with LSTM_FAST_PLACEMENT=0 in the environment nothing is timed. No bit depends on it.
 */
enum { LF_FINGERPRINT_BYTES = 32 };
lf_status lf_model_create(size_t input_size, size_t hidden_size, size_t proj_size,
                          size_t num_layers, const lf_layer_weights *layers, lf_weight_type type,
                          const char *isa, const unsigned char *fingerprint, lf_model **model);
void lf_model_destroy(lf_model *model);
/* I, H, P (H where there is no projection) and L. Of a null model all of these are 0, LF_FLOAT32 and null. */
size_t lf_model_input_size(const lf_model *model);
size_t lf_model_hidden_size(const lf_model *model);
size_t lf_model_output_size(const lf_model *model);
size_t lf_model_num_layers(const lf_model *model);
size_t lf_model_packed_bytes(const lf_model *model); /* what one step reads of the weights */
lf_weight_type lf_model_weight_type(const lf_model *model);
const char *lf_model_isa(const lf_model *model);

/*
 * The arithmetic of whole models. Numbers, formulas and the canonical form are those of the beginning. Every input, every
 * state and every constant is canonical, but the weights and biases of dense, conv, conv2d, gru and lstm, which stay as
 * they are; so is every float that an operation puts out. Operations that move values change none (the value that pad
 * puts around them is made canonical), and attributes are taken as they are given. No bit depends on the ISA, on the
 * other sessions of a call, or on where a sequence is cut. What operations there are, with the shapes of their tensors,
 * docs/lfm.md says.
 *
 *     dense   y = s + (b + 0), made canonical, b being +0 where there is none; s is one chain of fma in ascending k that
 *             starts from +0: s = fma(W[k], x[k], s)
 *     conv    the same, in ascending taps, the oldest first, and within a tap in ascending channels of the group. Tap j
 *             of position t meets x[t stride + j dilation - pad_begin]. A tap that meets padding is left out, or counts
 *             as zeros: the bits are the same, since b + 0 is no -0
 *     conv2d  the same along two axes: the chain runs over the rows of the kernel, over the taps in a row and over the
 *             channels of the group, each ascending; a tap that meets padding on either axis is left out
 *     lstm    a layer as above, with b_ih its one bias, and b_hh and what else is left out absent; x, h and c are its
 *             inputs. LF_INT8: x is scaled as a frame, also above another layer. A clip of 0 is none
 *     gru     a = W_ih x + b_ih and u = W_hh h + b_hh as dense has them, gates in the order r, z, n;
 *             r = sigmoid(a_r + u_r);  z = sigmoid(a_z + u_z)
 *             linear_before_reset:  n = tanh(a_n + r * u_n);  else u_n is that of r * h, made canonical, in place of h,
 *             and n = tanh(a_n + u_n).  h' = (1 - z) * n + z * h, made canonical
 *
 * LF_FLOAT16 rounds the weights of all five as it does those of an LSTM, and no bias. An activation that follows a
 * product gives the bits that it has alone.
 *
 * Operations of whole models, element by element
 *
 * The result of each formula is made canonical; what is between its lines stays as it is. ULP are the largest error over
 * all floats, of results of at least 2^-126.
 *
 *     relu, sigmoid, tanh, softsign, hard_sigmoid, leaky_relu, elu    as at lf_activation      2.70, 1.97 ULP
 *     abs, neg      of the sign bit alone; square  x * x;  reciprocal  1 / x;  sqrt  rounded once
 *     hard_swish    x * hard_sigmoid(x) with alpha = 0x1.555556p-3 and beta = 0.5
 *     clip          y = x < min ? min : x, then max < y ? max : y
 *     gelu          h = x * 0.5; fma(h, erf(x * 0x1.6a09e6p-1), h)
 *     gelu, tanh    h = x * 0.5; u = fma(x, x, 2^-100);
 *                   fma(h, tanh(x * fma(u, 0x1.2444f2p-5, 0x1.988454p-1)), h)
 *
 * gelu and hard_swish of -infinity are NaN, as the product of it and zero is.
 *
 *     scaled(w, s)  n = s - B;  m = B + 127 < s ? B + 127 : s                                B = 0x1.8000FEp23
 *                   u is the float whose 32 bits are those of m shifted left by 23
 *                   y = fma(w, u, u), then 127 < n ? y + y : y, then n < -126 ? 0 : y
 *     exp           a = 89 < x ? 89 : x;  s = fma(a, 0x1.715476p0, B);  n = s - B
 *                   r = fma(n, 0x1.05c61p-29, fma(n, -0x1.62e43p-1, a));  z = fma(r, r, 2^-100)
 *                   q = fma(z, fma(z, 0x1.6a5198p-10, fma(r, 0x1.12397cp-7, 0x1.5558acp-5)),
 *                           fma(r, 0x1.555492p-3, 0x1.fffffcp-2))
 *                   scaled(fma(z, q, r), s)                                                  1.1 ULP
 *     parts(x, k)   n = ((bits of x) - k) / 2^23, rounded down, all in integers, then as a float
 *                   f = g - 1, where g is the float whose bits are (bits of x) - n 2^23
 *     logs(n, f)    z = |f| < 2^-30 ? 0 : f * f;  z2 = z * z
 *                   lower = fma(z, fma(f, 0x1.99697ap-3, -0x1.000046p-2), fma(f, 0x1.5555a4p-2, -0.5))
 *                   upper = fma(z, fma(f, 0x1.acd728p-4, -0x1.0d9942p-3),
 *                               fma(f, 0x1.2883bep-3, -0x1.54ee28p-3))
 *                   q = fma(z2, fma(z2, -0x1.71a206p-5, upper), lower)
 *                   fma(n, 0x1.62e4p-1, f) + fma(z, q, n * 0x1.7f7d1cp-20)
 *     log           logs(n, f) of parts(x, 0x3F400000); NaN where x < 0, -infinity where x is a zero;
 *                   +infinity stays                                                           1.6 ULP
 *     softplus      e = exp(-|x|), not made canonical;  max = x < 0 ? 0 : x
 *                   max + (e < 0.5 ? logs(0, e) : logs(1, 0.5 * (e - 1)))                    2.2 ULP
 *     erf           a = |x|.  Where a < 1:  s = fma(x, x, 2^-100);  p = 0x1.4771fcp-14, then p = fma(s, p, c) for c =
 *                   -0x1.a3515ep-11, 0x1.53f224p-8, -0x1.b7f71ap-6, 0x1.ce2ce6p-4, -0x1.81273ep-2, 0x1.06eba8p-3;
 *                   fma(x, p, x).  Elsewhere:  b = 4 < a ? 4 : a;  t = -0x1.86debep-13, then t = fma(b, t, c) for c =
 *                   0x1.825bcap-9, -0x1.65cbdcp-6, 0x1.a65372p-4, 0x1.46bae6p-1, 0x1.2088ecp0, 0x1.661a16p-12;
 *                   1 - exp(-t), exp not made canonical, with the sign of x                  1.1 ULP
 *
 * Of two inputs, broadcast: add, sub, mul and div are rounded once.
 *
 *     minimum       a < b ? a : b < a ? b : the bitwise or of both;  so NaN where one is, and -0 of +0 and -0
 *     maximum       -minimum(-a, -b):  NaN where one is, and +0 of +0 and -0
 *     prelu         a < 0 ? b * a : a
 *     pow           By b, where it is one of these, for any a:  0: 1;  1: a;  2: a * a;  3: a * a * a;  -1: 1 / a;
 *                   -2: 1 / (a * a);  0.5: sqrt(a + 0), but +infinity of -infinity;  -0.5: 1 / that.  Any other b:
 *                   m = |a|;  n, f of parts(m, 0x3F3504F3);  t = 2 + f;  g = f - (t - 2);  s = f / t
 *                   r = fma(-s, g, fma(-s, t, f)) / t;  z = s * s;  q = fma(z, fma(z, fma(z, 0x1.58b61ep-2,
 *                   0x1.a5ceb2p-2), 0x1.2776e2p-1), 0x1.ec709ep-1);  h = s * C;                C = 0x1.715476p1
 *                   k = fma(s, C, -h) + fma(s, 0x1.4ae0cp-25, fma(r, C, z * s * q));  v = n + h
 *                   w = (h - (v - n)) + k;  high = v + w;  low = w - (high - v)
 *                   high is -infinity where m is 0, and m where it is infinite or NaN
 *                   p = b * high;  e = |p| < 150 ? fma(b, low, fma(b, high, -p)) : 0;  d = p kept within -150 and 128.25
 *                   s = d + B;  r = (d - (s - B)) + e;  q = 0x1.417aacp-13, then q = fma(r, q, c) for c =
 *                   0x1.5f094ap-10, 0x1.3b2dd2p-7, 0x1.c6af7ap-5, 0x1.ebfbdcp-3, 0x1.62e43p-1
 *                   scaled(r * q, s), with the sign of a where b is an odd integer; but NaN where a < 0 is finite and
 *                   b is finite and no integer; and 1 where a is 1, and where a is -1 and b is infinite.
 *                   That is C's pow for all special values.  1.2 ULP with |b| < 8, 6 ULP with any b (of samples)
 *
 * Along axes. A total is of sixteen sums: the r-th over j = r (mod 16) in ascending j from +0, added in ascending r; j
 * counts the elements of a row in C's order over the axes that it goes over, and count is how many they are, as a float.
 *
 *     sum           the total;  mean  total / count
 *     max, min      by maximum and minimum, which no order changes
 *     l2            sqrt(total), each of whose sums is fma(x, x, sum)
 *     softmax       e = exp(x - max), not made canonical, with max as above;  e / total of e
 *     log_softmax   (x - max) - log(total of e), the logarithm not made canonical
 *     layer_norm    d = x - total / count;  v = 1 / sqrt(total of squares / count + epsilon), each of whose sums is
 *                   fma(d, d, sum);  d * v, then * scale, then + bias, where there are any
 *
 * A NaN or +infinity in a row, and a row of -infinities, make softmax and log_softmax NaN throughout. An infinity or a
 * NaN makes layer_norm NaN throughout.
 *
 * Exactly: less, greater, equal (no comparison with NaN holds), logical_and, logical_or, logical_not, where, and all
 * that moves elements. cast: a float to int64 is cut off, and -2^63 where there is none (NaN, infinities, beyond);
 * int64 to float32 is rounded once; to bool it is whether it is not 0, so NaN is true.
 */

/*
 * Whole models: a program, as a .lfm file has it (docs/lfm.md), `size` bytes at any alignment, of which nothing is kept
 * and nothing trusted. Its recurrent layers and products have float32 weights, or those that types[operation] says
 * [count], in the order of the file; an operation without weights heeds none. LF_INT8 is for LSTM layers alone.
 * Streams and pools of a model take values by the position of its inputs, outputs and states: see lf_stream_step.
 */
lf_status lf_model_load(const void *bytes, size_t size, const char *isa, lf_model **model);
lf_status lf_model_load_as(const void *bytes, size_t size, const lf_weight_type *types,
                           size_t count, const char *isa, lf_model **model);

typedef enum lf_kind { LF_KIND_FLOAT32 = 0, LF_KIND_INT64 = 1, LF_KIND_BOOL = 2 } lf_kind;

/* One input, output or state. It and what it points to live as long as the model. bytes: of one value, in C's order. */
typedef struct lf_value_info {
    const char *name; /* UTF-8 */
    lf_kind kind;
    size_t rank;
    const size_t *shape; /* [rank] */
    size_t bytes;
} lf_value_info;

/* How many there are, and the nth; null where there are not so many. A model that lf_model_create made has the input
 * "x" [I], the output "y" [P], and the states "h" [L][P] and "c" [L][H]. The history of an input is a state. */
size_t lf_model_input_count(const lf_model *model);
size_t lf_model_output_count(const lf_model *model);
size_t lf_model_state_count(const lf_model *model);
const lf_value_info *lf_model_input(const lf_model *model, size_t n);
const lf_value_info *lf_model_output(const lf_model *model, size_t n);
const lf_value_info *lf_model_state(const lf_model *model, size_t n);

/* A stream starts from zeros, or from what the model says. It borrows the model, which must outlive it. */
lf_status lf_stream_create(const lf_model *model, lf_stream **stream);
void lf_stream_destroy(lf_stream *stream);

/*
 * Sizes from here on: I is input_size, H is hidden_size, P is proj_size, or H where that is 0.
 *
 * step: x [I] -> y [P], the last layer's h. run: xs [T][I] -> ys [T][P], the same bits as T steps.
 * Any alignment will do. The output must not share memory with the input (LF_ERR_OVERLAP). steps
 * may be 0. A NaN or an infinity in x spoils this stream until its reset, and no other.
 */
lf_status lf_stream_step_f32(lf_stream *stream, const float *x, float *y);
lf_status lf_stream_run_f32(lf_stream *stream, const float *xs, size_t steps, float *ys);

/*
 * The same for any model: inputs[n] and outputs[n] are the values of its nth input and output, [steps] of each one behind
 * the other in a run. An output must not share memory with an input or another output. A step that fails, as with
 * LF_ERR_INDEX, has changed no state, and neither has any run that a step failed in; outputs mean nothing then.
 * lf_stream_step_f32 and lf_stream_run_f32 are for models with one input and one output, both float32 (LF_ERR_KIND).
 */
lf_status lf_stream_step(lf_stream *stream, const void *const *inputs, void *const *outputs);
lf_status lf_stream_run(lf_stream *stream, const void *const *inputs, size_t steps,
                        void *const *outputs);

/*
 * Does what the next step can do before its frame is known: the recurrent half of every layer's sums;
 * and asks the cache for the weights that are left. The step after it gives the same bits as without
 * and takes about half the time. Optional; reset, set_state, restore and being the target of copy drop it.
 * Of a whole model it is that half of every LSTM and GRU layer whose h is a state or a part of one; where there is no
 * such layer nothing is done.
 */
lf_status lf_stream_prepare(lf_stream *stream);

/* State: h is [num_layers][P], c is [num_layers][H]. set_state makes what it stores canonical (see above). */
lf_status lf_stream_reset(lf_stream *stream);
lf_status lf_stream_get_state_f32(lf_stream *stream, float *h, float *c);
lf_status lf_stream_set_state_f32(lf_stream *stream, const float *h, const float *c);
/* states[n] is the nth state, as lf_model_state says. The two above are for models of lf_model_create (LF_ERR_KIND). */
lf_status lf_stream_get_states(lf_stream *stream, void *const *states);
lf_status lf_stream_set_states(lf_stream *stream, const void *const *states);
/* Makes target's state that of source; both must be streams of one model. */
lf_status lf_stream_copy(lf_stream *target, lf_stream *source);

/*
 * A pool: many streams of one model in one block of memory, stepped together in one pass over the
 * weights. Each gives the same bits as an lf_stream of its own, whoever else is in the call.
 *
 * A handle names a session from open to close and is never given out again within the process (a
 * serial number of 39 bits, scrambled, and the slot), so one that is stale, of another pool or made up
 * is found out: LF_ERR_HANDLE. It is never 0 and always below 2^63. Calls that take several handles
 * write the index of the offending one to *bad (unless bad is null; count where it is none of them)
 * and have changed nothing then.
 *
 * Threads: any number may call at once as long as no two use the same session; a call that meets another
 * one there gets LF_ERR_BUSY. grow moves the memory, so it gets LF_ERR_BUSY while any other call is inside, and a
 * call that meets grow gets it, too.
 *
 * Real time: a step, run or prepare waits where `threads` others compute; capacity, bytes, is_open and handles while
 * the pool grows; any call in the child of a fork while another one puts the pool in order. It lets others run a few
 * times and then sleeps until it is woken, so whoever it waits for can have its CPU, whatever their priorities are. No
 * priority is inherited: a third thread, of a priority between the two, may keep both from going on. With `threads` no
 * less than the number of callers no step, run or prepare ever waits. open, close, reset, and what reads or writes a
 * session's state wait for nobody.
 */
typedef struct lf_pool lf_pool;

/*
 * capacity: sessions, 1 .. LF_MAX_CAPACITY. prepared: how many of them can have a prepared half at the
 * same time. threads, at least 1: how many calls can compute at the same time; more wait their turn.
 * The pool borrows the model. grow adds that many sessions; handles stay valid.
 */
enum { LF_MAX_CAPACITY = 16777216 }; /* 2^24 */
lf_status lf_pool_create(const lf_model *model, size_t capacity, size_t prepared, size_t threads,
                         lf_pool **pool);
void lf_pool_destroy(lf_pool *pool);
lf_status lf_pool_grow(lf_pool *pool, size_t more);
size_t lf_pool_capacity(lf_pool *pool);
size_t lf_pool_open_count(lf_pool *pool);
/*
 * All memory that it holds. Two sessions take 112 bytes and their states: num_layers (P + H) floats each,
 * where P and H are rounded up to whole vectors of the ISA, and the product to 64 bytes. A prepared half
 * takes 4 bytes and 4 num_layers H floats, rounded likewise. The rest does not depend on their numbers. Of a whole
 * model a state is all of its states, each rounded to 64 bytes (64 where it has none), and twice that where it has an embedding;
 * and a prepared half takes 4 bytes, 4 H floats for each LSTM layer that lf_stream_prepare speaks of, and 3 H for each
 * GRU layer (2 H unless it is linear before the reset), rounded likewise.
 */
size_t lf_pool_bytes(lf_pool *pool);

/* Open starts as a stream does. Close zeroes all that the pool keeps of a session. */
lf_status lf_pool_open(lf_pool *pool, unsigned long long *handle);
lf_status lf_pool_close(lf_pool *pool, unsigned long long handle);
int lf_pool_is_open(lf_pool *pool, unsigned long long handle);
/* The handles of open sessions, at most `most` of them, none where handles is null; returns how many there were to write. */
size_t lf_pool_handles(lf_pool *pool, unsigned long long *handles, size_t most);

/*
 * One frame for each of count sessions: handles [count], xs [count][I] -> ys [count][P]. run: xs
 * [count][steps][I] -> ys [count][steps][P], of which stream n takes the first lengths[n] (null: all)
 * and has zeros after them. Any subset in any order; any alignment; the output must not share memory
 * with an input. No allocation, and no system call unless it has to wait its turn, or another call waits for it.
 */
lf_status lf_pool_step_f32(lf_pool *pool, const unsigned long long *handles, size_t count,
                           const float *xs, float *ys, size_t *bad);
lf_status lf_pool_run_f32(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t steps, const size_t *lengths, const float *xs, float *ys,
                          size_t *bad);
/* As lf_stream_prepare, for as many as there is room for; *ready (unless null) of them are prepared, none of a model
 * without such a layer. */
lf_status lf_pool_prepare(lf_pool *pool, const unsigned long long *handles, size_t count,
                          size_t *ready, size_t *bad);

/* As for a stream: h is [num_layers][P], c is [num_layers][H]. */
lf_status lf_pool_reset(lf_pool *pool, unsigned long long handle);
lf_status lf_pool_get_state_f32(lf_pool *pool, unsigned long long handle, float *h, float *c);
lf_status lf_pool_set_state_f32(lf_pool *pool, unsigned long long handle, const float *h,
                                const float *c);

/*
 * The same for any model, as lf_stream_step and lf_stream_get_states: inputs[n] is [count], in a run [count][steps]
 * values of the nth input. Where a frame cannot be taken (LF_ERR_INDEX, and *bad is one session of which that holds) no
 * session of the call has come a step; outputs mean nothing then. The calls above that have _f32 in their names are, as
 * those of streams, for models with such ends, and those for h and c for models of lf_model_create (LF_ERR_KIND).
 */
lf_status lf_pool_step(lf_pool *pool, const unsigned long long *handles, size_t count,
                       const void *const *inputs, void *const *outputs, size_t *bad);
lf_status lf_pool_run(lf_pool *pool, const unsigned long long *handles, size_t count, size_t steps,
                      const size_t *lengths, const void *const *inputs, void *const *outputs,
                      size_t *bad);
lf_status lf_pool_get_states(lf_pool *pool, unsigned long long handle, void *const *states);
lf_status lf_pool_set_states(lf_pool *pool, unsigned long long handle, const void *const *states);

/*
 * A session as bytes, from which it continues bit for bit in another process, on another CPU and in Python, and
 * the other way round: the layout is that of lstm_fast/snapshots.py. snapshot_bytes is the size of each snapshot
 * of a model, 0 without a fingerprint (LF_ERR_FINGERPRINT), which a whole model always has: that of its file. Writing:
 * size must be no less. Restoring: what does not fit in every byte is LF_ERR_SNAPSHOT or LF_ERR_WEIGHTS, and nothing has
 * changed; lf_pool_restore opens a session for it. Neither allocates. Types of weights are part of a model.
 */
size_t lf_snapshot_bytes(const lf_model *model);
lf_status lf_stream_snapshot(lf_stream *stream, void *bytes, size_t size);
lf_status lf_stream_restore(lf_stream *stream, const void *bytes, size_t size);
lf_status lf_pool_snapshot(lf_pool *pool, unsigned long long handle, void *bytes, size_t size);
lf_status lf_pool_restore(lf_pool *pool, const void *bytes, size_t size,
                          unsigned long long *handle);

/* LF_CFFI_END */

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
