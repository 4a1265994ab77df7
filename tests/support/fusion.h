/* Golden tests run folded and fused programs; with TESSERA_UNFUSED=1 in the environment, as they were built. */
#ifndef TS_TESTS_FUSION_H
#define TS_TESTS_FUSION_H

#include <stdlib.h>

#include "autograd/fold.h"
#include "autograd/fuse.h"

/* Before the graph is differentiated. */
static inline void fold_unless_told(ts_graph *graph)
{
    if (!getenv("TESSERA_UNFUSED"))
        ts_fold_upsampling(graph);
}

static inline void fuse_unless_told(ts_graph *graph)
{
    if (!getenv("TESSERA_UNFUSED"))
        ts_fuse(graph);
}

#endif
