/* What the CPU kernels share: code for the widest vectors that the machine has, and when a second thread pays. */
#ifndef TS_CORE_CPU_SIMD_H
#define TS_CORE_CPU_SIMD_H

#include "core/device.h"

/* Before a hot static function: it is compiled for AVX-512, AVX2 and the baseline, and the loader picks one. The loops
 * in it should be ones that the compiler vectorises; reductions need `#pragma omp simd reduction`. The sanitizers' run
 * time is not there yet when the loader picks. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(TS_SANITIZED)
#define TS_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define TS_SIMD
#endif

/* Threads for a pass over so many elements: below 32k the start of a team costs more than it brings. */
static inline int ts_cpu_threads(const ts_call *call, int64_t elements)
{
    return elements < 32768 ? 1 : call->device->threads;
}

#endif
