#include "core/files/layout.h"

#include <string.h>

ts_shape ts_layout_torch_shape(ts_shape ours)
{
    ts_shape torch = ours;
    for (int i = 2; i < ours.rank; i++)
        torch.dim[i] = ours.dim[i - 1];
    if (ours.rank > 2)
        torch.dim[1] = ours.dim[ours.rank - 1];
    return torch;
}

/* For each of `outer` matrices: [rows, columns] -> [columns, rows], elements of `bytes`. */
static void transpose(const char *from, char *to, int64_t outer, int64_t rows, int64_t columns, size_t bytes)
{
    for (int64_t o = 0; o < outer;
         o++, from += (size_t)(rows * columns) * bytes, to += (size_t)(rows * columns) * bytes)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < columns; c++)
                memcpy(to + (size_t)(c * rows + r) * bytes, from + (size_t)(r * columns + c) * bytes, bytes);
}

static int64_t taps(ts_shape ours)
{
    int64_t n = 1;
    for (int i = 1; i < ours.rank - 1; i++)
        n *= ours.dim[i];
    return n;
}

void ts_layout_to_torch(ts_dtype dtype, ts_shape ours, const void *from, void *to)
{
    int64_t last = ours.rank > 1 ? ours.dim[ours.rank - 1] : 1;
    transpose(from, to, ours.rank ? ours.dim[0] : 1, taps(ours), last, ts_dtype_bytes(dtype));
}

void ts_layout_from_torch(ts_dtype dtype, ts_shape ours, const void *from, void *to)
{
    int64_t last = ours.rank > 1 ? ours.dim[ours.rank - 1] : 1;
    transpose(from, to, ours.rank ? ours.dim[0] : 1, last, taps(ours), ts_dtype_bytes(dtype));
}
