/* When a kernel that has a switch in the environment is taken, where it can be: what the switch says. */
#ifndef TS_CORE_CPU_POLICY_H
#define TS_CORE_CPU_POLICY_H

#include <stdlib.h>
#include <string.h>

typedef enum { TS_WHERE_IT_PAYS, TS_NEVER, TS_ALWAYS } ts_policy;

/* Of the variable: "0", never; "always"; else, and where it is not set, where it pays. */
static inline ts_policy ts_policy_of(const char *variable)
{
    const char *text = getenv(variable);
    if (!text)
        return TS_WHERE_IT_PAYS;
    return strcmp(text, "0") == 0 ? TS_NEVER : strcmp(text, "always") == 0 ? TS_ALWAYS : TS_WHERE_IT_PAYS;
}

#endif
