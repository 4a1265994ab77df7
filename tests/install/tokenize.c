/* tokenize WEIGHTS X.npy IDS.npy Y.npy
 *
 * The values in X.npy, images [N, H, W, C] or one clip of motion [frames, columns], to ids and back, with what was
 * trained: a checkpoint, or model.safetensors of tessera export. */
#include <stdio.h>
#include <stdlib.h>
#include <tessera/core/files/npy.h>
#include <tessera/models/codec.h>

static ts_status save(const char *path, ts_dtype type, ts_shape shape, void *data, ts_error *err)
{
    ts_tensor tensor = {type, shape, data};
    return ts_npy_write(path, &tensor, err);
}

/* There and back: x is images, or the frames of a clip. */
static ts_status tokenize(ts_session *session, const ts_codec_info *info, const ts_tensor *x, char **path,
                          ts_error *err)
{
    int64_t items = x->shape.rank == 4 ? x->shape.dim[0] : 1, frames = x->shape.rank == 2 ? x->shape.dim[0] : 0;
    int64_t tokens = ts_session_tokens(session, frames), rows = ts_session_frames(session, tokens);
    ts_shape all = frames ? ts_shape_of(1, rows, x->shape.dim[1]) : x->shape;
    int32_t *ids = calloc((size_t)(items * tokens * info->groups), sizeof *ids);
    float *y = calloc((size_t)ts_shape_count(all), sizeof *y);
    ts_status status;
    TS_GO(ts_session_encode(session, x->data, items, frames, ids, err));
    TS_GO(save(path[0], TS_I32, ts_shape_of(items, tokens, info->groups), ids, err));
    TS_GO(ts_session_decode(session, ids, items, frames ? tokens : 0, y, err));
    status = save(path[1], TS_F32, all, y, err);
out:
    free(ids);
    free(y);
    return status;
}

/* Are these values that the tokenizer takes? */
static int fits(const ts_tensor *x, const ts_codec_info *info)
{
    if (x->dtype != TS_F32 || x->shape.rank != info->item.rank + (info->item.rank == 3))
        return 0;
    for (int i = 1; i < x->shape.rank; i++)
        if (x->shape.dim[i] != info->item.dim[info->item.rank - x->shape.rank + i])
            return 0;
    return 1;
}

static ts_status run(char **path, ts_error *err)
{
    ts_codec *codec = NULL;
    ts_session *session = NULL;
    ts_npy x = {0};
    ts_status status;
    TS_GO(ts_codec_open(&codec, path[0], (ts_codec_options){.device = "cpu"}, err));
    TS_GO(ts_codec_session(codec, 4, &session, err));
    TS_GO(ts_npy_open(&x, path[1], err));
    if (fits(&x.tensor, ts_codec_info_of(codec)))
        status = tokenize(session, ts_codec_info_of(codec), &x.tensor, path + 2, err);
    else
        status = ts_fail(err, TS_ERR_DATA, "%s: expected floats of items %s", path[1],
                         ts_shape_print(ts_codec_info_of(codec)->item).text);
out:
    ts_npy_close(&x);
    ts_session_free(session);
    ts_codec_close(codec);
    return status;
}

int main(int count, char **words)
{
    ts_error err = {0};
    ts_status status = count == 5 ? run(words + 1, &err) : ts_fail(&err, TS_ERR_USAGE, "four files are expected");
    if (status != TS_OK)
        fprintf(stderr, "tokenize: %s\n", err.text);
    return status;
}
