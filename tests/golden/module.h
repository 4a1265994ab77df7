/* Golden cases of a quantizer by itself, of any kind with groups and layers around it: a forward and a backward pass,
 * or three of them with an update of the state after each.
 *
 *   in/x, in/r       [.., dim]; the differentiated scalar is sum(losses) + sum(quantized * r)
 *   in/more, in/hit, in/noise   recorded draws in the place of the graph's, in this order where the graph draws so
 *   in/mask          which tokens count
 *   init/NAME        each variable before
 *   out/quantized, out/indices, out/losses (one number, or several whose sum counts)
 *   grad/x, grad/param/NAME, after/NAME   of parameters; of all variables after the update
 *   eval/quantized, eval/indices          the same in evaluation
 *   probe/output     what decode makes of out/indices
 *   step0/in_x, step0/in_r ... step2/     three steps: quantized, indices, loss, grad_x, grad/NAME, after/NAME
 *
 * Attributes are the kind's options by their names or aliases. */
#ifndef TS_TESTS_GOLDEN_MODULE_H
#define TS_TESTS_GOLDEN_MODULE_H

#include "quant/quantizer.h"
#include "tests/golden/bench.h"

enum { GOLDEN_MAX_IGNORED = 4 };

typedef struct golden_module {
    const ts_quantizer_kind *kind;
    const char *preset; /* "key=value ..." over the kind's defaults, under the case's attributes; NULL: nothing */
    /* The NAME of a variable, where it is not its path. NULL: it always is. */
    const char *(*name_of)(golden_case *c, const char *variable);
    /* Adds what else is expected of the training graph. NULL: nothing. */
    void (*more)(golden_graph *g, const void *options, const ts_quantized *q);
    const char *ignored[GOLDEN_MAX_IGNORED]; /* tensors with this in their path are nothing of ours */
} golden_module;

/* The options of the case, in its memory. An attribute that the kind has no option for is left for somebody else. */
void *golden_module_options(golden_case *c, const golden_module *m);

void golden_module_check(golden_case *c, ts_device *device, const golden_module *m);

#endif
