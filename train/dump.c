#include "train/dump.h"

#include <stdio.h>
#include <string.h>

#include "core/files/hdf5.h"
#include "core/files/layout.h"
#include "core/memory.h"
#include "train/loader.h"

static ts_status write_named(ts_h5 *file, const char *group, const char *name, ts_tensor tensor, ts_error *err)
{
    char *path = ts_format("%s/%s", group, name);
    if (!path)
        return ts_out_of_memory(err, strlen(name));
    ts_named_tensor named = {path, tensor};
    ts_status status = ts_h5_write(file, &named, err);
    ts_free(path);
    return status;
}

static ts_status write_variable(ts_h5 *file, const ts_store *store, const ts_variable *v, ts_error *err)
{
    ts_tensor t = {v->type.dtype, v->type.shape, NULL};
    size_t bytes = ts_tensor_bytes(&t);
    char *memory = ts_alloc(2 * bytes);
    if (!memory)
        return ts_out_of_memory(err, 2 * bytes);
    ts_store_get(store, v, TS_BLOCK_VALUE, memory);
    t.data = memory;
    if (v->conv_layout) {
        t.data = memory + bytes;
        t.shape = ts_layout_torch_shape(t.shape);
        ts_layout_to_torch(v->type.dtype, v->type.shape, memory, t.data);
    }
    ts_status status = write_named(file, "param", v->path, t, err);
    ts_free(memory);
    return status;
}

static ts_status write_batches(ts_h5 *file, ts_experiment *e, int64_t batches, ts_error *err)
{
    ts_loader *loader;
    ts_status status;
    ts_loader_options options = {.batch = e->train->batch, .train = true, .seed = (uint64_t)e->top->seed};
    TS_TRY(ts_loader_open(&loader, e->train_data, options, err));
    for (int64_t i = 0; i < batches; i++) {
        ts_batch batch;
        char name[24];
        ts_shape shape = {.rank = e->tokenizer.item.rank + 1, .dim = {e->train->batch}};
        memcpy(shape.dim + 1, e->tokenizer.item.dim, sizeof shape.dim - sizeof shape.dim[0]);
        TS_GO(ts_loader_next(loader, &batch, err));
        snprintf(name, sizeof name, "%lld", (long long)i);
        TS_GO(write_named(file, "batch", name, (ts_tensor){TS_F32, shape, (void *)batch.data}, err));
        ts_tensor lengths = {TS_I32, ts_shape_of(e->train->batch), (void *)batch.lengths};
        if (batch.lengths)
            TS_GO(write_named(file, "lengths", name, lengths, err));
    }
    status = TS_OK;
out:
    ts_loader_close(loader);
    return status;
}

ts_status ts_dump_start(ts_experiment *e, const char *path, int64_t batches, ts_error *err)
{
    ts_h5 *file;
    ts_status status;
    TS_TRY(ts_h5_create(&file, path, 0, TS_ERR_RUNTIME, err));
    for (int i = 0; i < ts_store_count(e->store); i++)
        if (strncmp(ts_store_at(e->store, i)->path, "trainer.", 8) != 0)
            TS_GO(write_variable(file, e->store, ts_store_at(e->store, i), err));
    TS_GO(write_batches(file, e, batches, err));
    TS_GO(ts_h5_save(file, err));
out:
    ts_h5_close(file);
    return status;
}
