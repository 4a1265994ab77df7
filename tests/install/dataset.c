/* dataset FILE.h5 NAME OUT.npy: one dataset of an HDF5 file as NumPy has it. */
#include <stdio.h>
#include <tessera/core/files/hdf5.h>
#include <tessera/core/files/npy.h>

static ts_status copy(char **word, ts_error *err)
{
    ts_h5 *file;
    ts_arena arena = {0};
    ts_tensor tensor;
    TS_TRY(ts_h5_open(&file, word[1], TS_ERR_DATA, err));
    ts_status status = ts_h5_read(file, word[2], &arena, &tensor, err);
    if (status == TS_OK)
        status = ts_npy_write(word[3], &tensor, err);
    ts_arena_clear(&arena);
    ts_h5_close(file);
    return status;
}

int main(int count, char **word)
{
    ts_error err = {0};
    ts_status status = count == 4 ? copy(word, &err) : ts_fail(&err, TS_ERR_USAGE, "expected FILE NAME OUT");
    if (status != TS_OK)
        fprintf(stderr, "dataset: %s\n", err.text);
    return status;
}
