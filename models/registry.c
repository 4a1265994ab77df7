/* The kinds of models: one line each. */
#include <string.h>

#include "models/image_classic.h"
#include "models/image_small.h"
#include "models/model.h"
#include "models/motion_conv.h"

const ts_model_kind *const ts_model_kinds[] = {
    &ts_image_small_kind,
    &ts_image_classic_kind,
    &ts_motion_conv_kind,
    NULL,
};

const ts_model_kind *ts_model_find(const char *name)
{
    for (int i = 0; ts_model_kinds[i]; i++)
        if (strcmp(ts_model_kinds[i]->name, name) == 0)
            return ts_model_kinds[i];
    return NULL;
}
