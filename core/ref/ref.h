/* The reference kernels: each op as the plainest loop, the definition and the oracle of every other kernel. The sources
 * of this folder are built twice: TS_REF_DOUBLE makes `real` a double, for gradient checks. */
#ifndef TS_CORE_REF_REF_H
#define TS_CORE_REF_REF_H

#ifdef TS_REF_DOUBLE
typedef double real;
#define REF(name) ts_ref64_##name
#define R(x)      x
#else
typedef float real;
#define REF(name) ts_ref32_##name
#define R(x)      x##f
#endif

#endif
