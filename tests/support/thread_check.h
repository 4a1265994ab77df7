/* Results must not depend on how many threads computed them. */
#ifndef TS_TESTS_THREAD_CHECK_H
#define TS_TESTS_THREAD_CHECK_H

#include "tests/support/op_case.h"

/* Runs the case, value and gradients, on the CPU with 1 to 5 threads; asserts that all bytes are equal. */
void expect_thread_independent(const ts_op_case *c);

#endif
