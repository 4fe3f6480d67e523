/*
 * Everything one ISA does, written once in the vector vocabulary and included once per isa/X.c. The files stand in the
 * order in which they build on each other. What is static in them exists once per ISA; LF_KERNELS hands it to the
 * descriptor.
 */
#include "activations.h"
#include "probe.h"

#include "frames.h"
#include "quantise.h"

#include "matvec.h"
#include "matmat.h"

#include "cell.h"
#include "lstm.h"
#include "small.h"
#include "variant.h"

#include "layer.h"
#include "lstm_batch.h"

#include "exponentials.h"
#include "power.h"
#include "elementwise.h"
#include "along.h"

#include "product.h"
#include "gru.h"

#define LF_ENTRY_OF_LAYER_PASS(type, name, bytes, sums) [type] = layer_pass_##name,
#define LF_ENTRY_OF_BATCH_PASS(type, name, bytes, sums) [type] = batch_pass_##name,
#define LF_ENTRY_OF_MATVEC(type, name, bytes, sums) [type] = matvec_##name,
#define LF_ENTRY_OF_MATMAT(type, name, bytes, sums) [type] = matmat_##name,
#define LF_KERNELS                                                                                 \
    .lanes = LF_LANES, .wide_panel = LF_WIDE_PANEL, .has_narrow_panels = LF_HAS_NARROW_PANELS,     \
    .int8_group = LF_INT8_GROUP, .int8_offset = LF_INT8_OFFSET,                                    \
    .layer_pass = {LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_LAYER_PASS)},                                   \
    .batch_pass = {LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_BATCH_PASS)},                                   \
    .matvec = {LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_MATVEC)},                                           \
    .matmat = {LF_EACH_WEIGHT_TYPE(LF_ENTRY_OF_MATMAT)}, .product = product_pass, .unary = unary,  \
    .binary = binary, .along = along, .depthwise = depthwise_pass, .gru_reset = gru_reset,         \
    .gru_output = gru_output, .canonicalise_f32 = canonicalise_f32,                                \
    .take_frame_f32 = take_frame_f32, .measure_frame_f32 = measure_frame_f32,                      \
    .give_output_f32 = give_output_f32, .activate_f32 = activate_f32, .canary = canary,            \
    .probe_read = probe_read, .probe_fma = probe_fma
