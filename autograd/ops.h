/* Every builder: what model code includes. */
#ifndef TS_AUTOGRAD_OPS_H
#define TS_AUTOGRAD_OPS_H

#include "autograd/attention.h"
#include "autograd/conv.h"
#include "autograd/elementwise.h"
#include "autograd/fsq.h"
#include "autograd/graph.h"
#include "autograd/index.h"
#include "autograd/loss.h"
#include "autograd/mask.h"
#include "autograd/matmul.h"
#include "autograd/nearest.h"
#include "autograd/norm.h"
#include "autograd/optim.h"
#include "autograd/random.h"
#include "autograd/reduce.h"
#include "autograd/resample.h"
#include "autograd/shape.h"
#include "autograd/softmax.h"
#include "autograd/surrogate.h"

#endif
