/* A program of somebody else: quantizes one token with the installed library. z = 0 lies on the middle level of each
 * dim: 4 of 8, 3 of 6, 2 of 5, so the id is 4 + 8*3 + 48*2 = 124. */
#include <stdio.h>
#include <tessera/autograd/ops.h>
#include <tessera/autograd/program.h>
#include <tessera/core/files/container.h>
#include <tessera/models/tokenizer.h>

static ts_status quantize(const float *z, int32_t *id, ts_error *err)
{
    const ts_fsq_opts opts = {.count = 3, .level = {8, 6, 5}};
    ts_device *device;
    TS_TRY(ts_device_open("cpu", 1, &device, err));
    ts_graph *graph = ts_graph_new(TS_F32);
    ts_workspace *workspace = ts_workspace_new(device);
    ts_program *program = NULL;
    ts_value x = ts_input(graph, "x", TS_F32, ts_shape_of(1, 3));
    ts_value ids = ts_fsq(x, &opts).ids;
    ts_output(ids, "ids");
    ts_status status = ts_program_new(graph, workspace, &program, err);
    if (status == TS_OK) {
        ts_program_set(program, x, z);
        status = ts_program_run(program, err);
        ts_program_get(program, ids, id);
    }
    ts_program_free(program);
    ts_workspace_free(workspace);
    ts_graph_free(graph);
    ts_device_close(device);
    return status;
}

int main(void)
{
    ts_error err = {0};
    int32_t id = -1;
    if (!ts_quantizer_find("finite_scalar") || quantize((const float[]){0, 0, 0}, &id, &err) != TS_OK || id != 124) {
        fprintf(stderr, "expected id 124, found %d %s\n", (int)id, err.text);
        return 1;
    }
    printf("id %d\n", (int)id);
    return 0;
}
